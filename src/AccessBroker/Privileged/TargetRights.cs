using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;

namespace AccessBroker.Privileged;

/// <summary>Something that a target's agent found that somebody may do there, beside what was granted for a time.</summary>
/// <param name="Line">As the agent says it: a role's attribute, a membership, a key, a sudoers file.</param>
public sealed record TargetRight(string Target, string Line, DateTimeOffset FoundAt, string? AcceptedBy, DateTimeOffset? AcceptedAt, string? Note, DateTimeOffset? GoneAt);

/// <summary>
/// The difference between what is approved at a target and what is really there: every minute the agent says who may do what; whatever nobody has accepted
/// is told at once. <clause>MIC 6.2解(1)</clause>
/// </summary>
internal sealed class TargetRights(Store store, PrivilegedNotices notices, TimeProvider time)
{
    internal static Question<List<TargetRight>> All() => Question.All($"select target, line, found_at, accepted_by, accepted_at, note, gone_at from privileged.rights where gone_at is null or gone_at > clock_timestamp() - interval '90 days' order by target, accepted_at nulls first, line limit 2000", r =>
        new TargetRight(r.GetString(0), r.GetString(1), r.GetFieldValue<DateTimeOffset>(2), r.IsDBNull(3) ? null : r.GetString(3), r.IsDBNull(4) ? null : r.GetFieldValue<DateTimeOffset>(4), r.IsDBNull(5) ? null : r.GetString(5), r.IsDBNull(6) ? null : r.GetFieldValue<DateTimeOffset>(6)));

    internal static Question<List<(string Target, DateTimeOffset At)>> Reports() => Question.All($"select target, at from privileged.rights_reports order by target", r => (r.GetString(0), r.GetFieldValue<DateTimeOffset>(1)));

    /// <summary>Takes a report. Throws <see cref="InvalidOperationException"/> or <see cref="KeyNotFoundException"/> for what is malformed.</summary>
    internal async Task TakeAsync(string target, JsonElement message, CancellationToken ct)
    {
        string[] found = [.. message.GetProperty("lines").EnumerateArray().Select(l => l.GetString()!).Select(Recording.Visible).Where(l => l.Length is > 0 and <= 300).Distinct().Take(500)];
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync($"insert into privileged.rights_reports (target, at) values ({target}, {now}) on conflict (target) do update set at = excluded.at", ct);
        var gone = await work.QueryAsync($"update privileged.rights set gone_at = {now} where target = {target} and gone_at is null and not (line = any({found})) returning line", r => r.GetString(0), ct);
        // What comes back is looked at anew.
        var fresh = await work.QueryAsync($"""
            insert into privileged.rights (target, line, found_at) select {target}, line, {now} from unnest({found}) line
            on conflict (target, line) do update set found_at = {now}, gone_at = null, accepted_by = null, accepted_at = null, note = null where privileged.rights.gone_at is not null
            returning line
            """, r => r.GetString(0), ct);
        foreach (var line in fresh) work.Record(Event(target, line, "privileged.find-right", HistoryOutcome.Refused, "privileged.right-not-accepted"), now);
        foreach (var line in gone) work.Record(Event(target, line, "privileged.lose-right", HistoryOutcome.Ended), now);
        if (fresh.Count > 0) await notices.TellAsync(work, "privileged.review", "対象の機器に、確かめていない権限があります", $"{target}: {fresh[0]}{(fresh.Count > 1 ? $" +{fresh.Count - 1}" : "")}", "/privileged/rights", ct);
        await work.CommitAsync(ct);
    }

    /// <summary>Somebody answers for it. Null: done; else why not, in Japanese.</summary>
    internal async Task<string?> AcceptAsync(string target, string[] lines, PersonId by, string? text, CancellationToken ct)
    {
        if (text?.Trim() is not { Length: >= 2 and <= 400 } note || !People.FreeText.Fits(note, lines: false)) return "認める理由を2〜400文字で書いてください。";
        await using var work = await store.BeginAsync(ct);
        var accepted = await work.QueryAsync($"update privileged.rights set accepted_by = {by}, accepted_at = {time.GetUtcNow()}, note = {note} where target = {target} and line = any({lines}) and accepted_at is null and gone_at is null returning line", r => r.GetString(0), ct);
        foreach (var line in accepted) work.Record(Event(target, line, "privileged.accept-rights", HistoryOutcome.Done) with { Person = by }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return accepted.Count > 0 ? null : "確かめる権限を選んでください。";
    }

    private static HistoryEvent Event(string target, string line, string operation, HistoryOutcome outcome, string reason = "") => new(operation, outcome, reason) { Details = new Dictionary<string, string> { ["target"] = target, ["right"] = line } };
}
