using System.Globalization;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.FilePermissions;

/// <summary>Every grant is looked at again each half-year, with when it was last used; nobody judges their own. <clause>MIC 6.2(1), MOJ 第5-4(4)</clause></summary>
internal sealed class FileReviews(Store store, Permissions permissions, TimeProvider time)
{
    /// <summary>Ours: each half-year; unused means 90 days.</summary>
    internal static readonly TimeSpan Every = TimeSpan.FromDays(183), Unused = TimeSpan.FromDays(90);

    /// <summary>Since when a grant has not been looked at.</summary>
    internal static DateTimeOffset Since(GrantLine line) => line.ReviewedAt ?? line.Grant.From;

    internal static bool IsUnused(GrantLine line, DateTimeOffset now) => !line.Grant.Deny && (line.UsedAt ?? line.Grant.From) < now - Unused;

    /// <summary>The condition on grants g.</summary>
    internal static Sql IsDue(DateTimeOffset now) => $"g.ended_at is null and g.valid_from <= {now} and g.valid_until > {now} and coalesce(g.reviewed_at, g.valid_from) < {now - Every}";

    private static Sql IsUnusedSince(DateTimeOffset day) => $"not g.deny and g.valid_from < {day} and not exists (select from file_permissions.uses u where u.grant_id = g.id and u.used_at >= {day})";

    /// <summary>What waits for this person's review.</summary>
    internal async Task<List<GrantLine>> DueAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        var own = await OwnAsync(work, may.Person!.Id, ct);
        return [.. (await work.AskAsync(FileRegister.LinesWhere(IsDue(time.GetUtcNow()), time.GetUtcNow()), ct)).Where(l => !IsOwn(l, own))];
    }

    /// <summary>Grants in force that nobody has used for 90 days.</summary>
    internal Question<List<GrantLine>> UnusedNow() => FileRegister.LinesWhere(IsUnusedSince(time.GetUtcNow() - Unused), time.GetUtcNow());

    /// <summary>As whom a person would judge themselves: by name, and by the post held. Everybody of a section is not one's own.</summary>
    internal async Task<HashSet<string>> OwnAsync(UnitOfWork work, PersonId person, CancellationToken ct) =>
        [.. (await work.AskAsync(FileRegister.Subjects(person, time.GetUtcNow()), ct)).Subjects.Where(s => !s.StartsWith("section:", StringComparison.Ordinal)), $"person:{person}"];

    internal static bool IsOwn(GrantLine line, IReadOnlySet<string> own) => own.Contains(line.Grant.Subject);

    /// <summary>These go on: how many. Not permitted, over, or one's own: not counted.</summary>
    internal async Task<int> KeepAsync(IReadOnlyCollection<long> grants, PersonId by, string reason, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        if (!(await permissions.OfAsync(work, by, ct)).Allows("files.review")) return 0;
        var own = await OwnAsync(work, by, ct);
        var kept = await work.QueryAsync($"""
            update file_permissions.grants set reviewed_at = {now}, reviewed_by = {by}
            where id = any({grants.ToArray()}) and ended_at is null and valid_until > {now} and subject <> all({own.ToArray()}) returning id, resource, subject
            """, r => (Id: r.GetInt64(0), Resource: r.GetString(1), Subject: r.GetString(2)), ct);
        foreach (var (id, resource, subject) in kept)
        {
            work.Enter(FileRequest.Register, $"grant-{id.ToString(CultureInfo.InvariantCulture)}", "見直し(継続)", by.Value, new Dictionary<string, string> { ["path"] = resource, ["subject"] = subject, ["reason"] = reason }, now);
            work.Record(new("files.review", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["grant"] = $"{id}", ["path"] = resource, ["to"] = subject, ["why"] = reason } }, now);
        }
        await work.CommitAsync(ct);
        return kept.Count;
    }
}
