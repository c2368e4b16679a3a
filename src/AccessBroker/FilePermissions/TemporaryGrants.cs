using System.Globalization;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.FilePermissions;

/// <summary>A permission that lives as long as privileged work does, approved with it. <clause>MIC 6.2(6)</clause></summary>
public sealed class TemporaryGrants(FileDecisions decisions, Wakeups wakeups, TimeProvider time)
{
    /// <summary>Allows, from now until then, in the caller's unit of work. Returns why it cannot be, in Japanese; null: done.</summary>
    /// <param name="holder">The work it belongs to: it is ended by this name.</param>
    public async Task<string?> AddAsync(UnitOfWork work, string holder, string path, IReadOnlyList<string> actions, PersonId person, string reason, IEnumerable<string> approvers, DateTimeOffset until, CancellationToken ct)
    {
        if (await work.AskAsync(FileRegister.FindSet(path), ct) is null) return FileRequest.UnknownPlace;
        var now = time.GetUtcNow();
        var grant = new FileGrant(0, path, $"person:{person}", [.. actions], false, 3, new Dictionary<string, JsonElement>(), now, until);
        var id = await FileRegister.AddGrantAsync(work, grant, $"{holder}: {reason}", person.Value, string.Join(' ', approvers), null, ct, holder);
        work.Enter(FileRequest.Register, $"grant-{id.ToString(CultureInfo.InvariantCulture)}", "特権作業のための許可", person.Value, FileRequest.Entry(grant, reason), now);
        work.Record(new("files.add-grant", HistoryOutcome.Done) { Person = person, Details = new Dictionary<string, string> { ["grant"] = $"{id}", ["path"] = path, ["privileged"] = holder, ["actions"] = string.Join(' ', actions), ["until"] = JapaneseTime.Precise(until) } }, now);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }

    /// <summary>The work lasts longer, and its permission with it.</summary>
    public async Task ExtendAsync(UnitOfWork work, string holder, DateTimeOffset until, CancellationToken ct)
    {
        await work.ExecuteAsync($"update file_permissions.grants set valid_until = {until} where holder = {holder} and ended_at is null and valid_until > clock_timestamp()", ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
    }

    /// <inheritdoc cref="FileDecisions.Forget"/>
    internal void Forget(IReadOnlyCollection<(string Holder, PersonId Person)> over) => decisions.Forget(over);

    /// <summary>Ends what belongs to these works, in the caller's unit of work. The events of <see cref="EndedAsync"/> follow, in this one or the next.</summary>
    public async Task EndAsync(UnitOfWork work, IReadOnlyCollection<string> holders)
    {
        await work.ExecuteAsync($"update file_permissions.grants set ended_at = least(clock_timestamp(), valid_until), ended_by = 'privileged' where holder = any({holders.ToArray()}) and ended_at is null", CancellationToken.None);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
    }

    /// <summary>The events of their end by <see cref="EndAsync"/>.</summary>
    public Task<List<Narrowed>> EndedAsync(UnitOfWork work, IReadOnlyCollection<string> holders, string reason) => work.QueryAsync($"select id, subject, holder from file_permissions.grants where holder = any({holders.ToArray()}) and ended_at is not null",
        r => new Narrowed(new("files.end-grant", HistoryOutcome.Ended, "files.ended") { Person = PersonOf(r.GetString(1)), Details = new Dictionary<string, string> { ["grant"] = r.GetInt64(0).ToString(CultureInfo.InvariantCulture), ["privileged"] = r.GetString(2), ["why"] = reason } }, time.GetUtcNow()), CancellationToken.None);

    private static PersonId PersonOf(string subject) => PersonId.Parse(subject["person:".Length..]);
}
