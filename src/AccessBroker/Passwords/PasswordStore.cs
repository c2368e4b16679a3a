using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Passwords;

/// <summary>A password as stored.</summary>
/// <param name="TemporaryUntil">Good for setting another one until then; null: it is one's own.</param>
internal sealed record StoredPassword(string Hash, DateTimeOffset SetAt, DateTimeOffset? TemporaryUntil);

/// <summary>SQL of passwords.</summary>
internal static class PasswordStore
{
    internal static Question<StoredPassword?> Find(PersonId person) => Question.First($"select hash, set_at, temporary_until from passwords.current where person = {person}", r => new StoredPassword(r.GetString(0), r.GetFieldValue<DateTimeOffset>(1), r.IsDBNull(2) ? null : r.GetFieldValue<DateTimeOffset>(2)));

    /// <summary>Hashes of earlier passwords, newest first.</summary>
    internal static Question<List<string>> Former(PersonId person, int count) => Question.All($"select hash from passwords.former where person = {person} order by id desc limit {count}", r => r.GetString(0));

    /// <summary>Sets one in place of <paramref name="before"/>. False: it was changed meanwhile.</summary>
    internal static async Task<bool> SetAsync(UnitOfWork work, PersonId person, string? before, string hash, DateTimeOffset? temporaryUntil, int history, DateTimeOffset at, CancellationToken ct)
    {
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended({person}, 7))", ct);
        if ((await work.AskAsync(Find(person), ct))?.Hash != before) return false;
        await RetireAsync(work, person, at, ct);
        await work.ExecuteAsync($"insert into passwords.current (person, hash, set_at, temporary_until) values ({person}, {hash}, {at}, {temporaryUntil})", ct);
        await work.ExecuteAsync($"delete from passwords.former where person = {person} and id not in (select f.id from passwords.former f where f.person = {person} order by f.id desc limit {history})", ct);
        return true;
    }

    /// <summary>The current one opens nothing any more; one of one's own is kept for the history check. False: there was none.</summary>
    internal static async Task<bool> RetireAsync(UnitOfWork work, PersonId person, DateTimeOffset at, CancellationToken ct)
    {
        await work.ExecuteAsync($"insert into passwords.former (person, hash, set_at) select person, hash, {at} from passwords.current where person = {person} and temporary_until is null", ct);
        return await work.ExecuteAsync($"delete from passwords.current where person = {person}", ct) == 1;
    }

    /// <summary>The same password in a stronger form.</summary>
    internal static Task<int> ReplaceHashAsync(UnitOfWork work, PersonId person, string before, string hash, CancellationToken ct) => work.ExecuteAsync($"update passwords.current set hash = {hash} where person = {person} and hash = {before}", ct);
}
