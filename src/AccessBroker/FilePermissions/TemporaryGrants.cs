using System.Globalization;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.FilePermissions;

/// <summary>A permission that lives as long as privileged work does, approved with it. <clause>MIC 6.2(6)</clause></summary>
public sealed class TemporaryGrants(Wakeups wakeups, TimeProvider time)
{
    /// <summary>Allows, from now until then, in the caller's unit of work. Returns why it cannot be, in Japanese; null: done.</summary>
    /// <param name="holder">The work it belongs to: it is ended by this name.</param>
    public async Task<string?> AddAsync(UnitOfWork work, string holder, string path, IReadOnlyList<string> actions, PersonId person, string reason, IEnumerable<string> approvers, DateTimeOffset until, CancellationToken ct)
    {
        if (await work.AskAsync(FileRegister.FindSet(path), ct) is null) return FileRequest.UnknownPlace;
        var now = time.GetUtcNow();
        var grant = new FileGrant(0, path, $"person:{person}", [.. actions], false, 3, new Dictionary<string, JsonElement>(), now, until);
        var id = await FileRegister.AddGrantAsync(work, grant, $"{holder}: {reason}", person.Value, string.Join(' ', approvers), null, ct);
        work.Enter(FileRequest.Register, $"grant-{id.ToString(CultureInfo.InvariantCulture)}", "特権作業のための許可", person.Value, FileRequest.Entry(grant, reason), now);
        work.Record(new("files.add-grant", HistoryOutcome.Done) { Person = person, Details = new Dictionary<string, string> { ["grant"] = $"{id}", ["path"] = path, ["privileged"] = holder, ["actions"] = string.Join(' ', actions), ["until"] = JapaneseTime.Precise(until) } }, now);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }

    /// <summary>The work lasts longer, and its permission with it.</summary>
    public async Task ExtendAsync(UnitOfWork work, string holder, PersonId person, DateTimeOffset until, CancellationToken ct)
    {
        var (subject, prefix) = ($"person:{person}", holder + ": ");
        await work.ExecuteAsync($"update file_permissions.grants set valid_until = {until} where subject = {subject} and ended_at is null and starts_with(reason, {prefix})", ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
    }

    /// <summary>Ends what belongs to this work, in the caller's unit of work.</summary>
    public async Task EndAsync(UnitOfWork work, string holder, PersonId person, string reason)
    {
        var (now, subject, prefix) = (time.GetUtcNow(), $"person:{person}", holder + ": ");
        foreach (var id in await work.QueryAsync($"select id from file_permissions.grants where subject = {subject} and ended_at is null and starts_with(reason, {prefix})", r => r.GetInt64(0), CancellationToken.None))
        {
            await FileRegister.EndAsync(work, id, denial: false, person.Value, now, CancellationToken.None);
            work.Record(new("files.end-grant", HistoryOutcome.Ended, "files.ended") { Person = person, Details = new Dictionary<string, string> { ["grant"] = id.ToString(CultureInfo.InvariantCulture), ["privileged"] = holder, ["why"] = reason } }, now);
        }
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
    }
}
