using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Staff;

/// <summary>An id that nobody has used for long, or that the roster does not know.</summary>
public sealed record DormantLine(PersonLine Person, DateTimeOffset? LastSignIn, DateTimeOffset? OrphanSince);

/// <summary>Unused ids and those HR does not know, to be settled; what is not settled is told again. <clause>MIC 6.2(1)②(ウ)</clause></summary>
internal sealed class DormantIds(Store store, Active<PostsPolicy> policy, TimeProvider time)
{
    internal async Task<List<DormantLine>> FindAsync(UnitOfWork work, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        var people = (await work.AskAsync(PeopleRegister.Search("", now, 50_000), ct)).Where(p => p.Standing is "valid").ToList();
        var last = (await work.QueryAsync($"select who, sessions.last_of(who) from unnest({people.Select(p => p.Id.Value).ToArray()}) as who", r => (r.GetString(0), r.IsDBNull(1) ? (DateTimeOffset?)null : r.GetFieldValue<DateTimeOffset>(1)), ct)).ToDictionary();
        var orphans = (await work.QueryAsync($"select person, found_at from staff.orphans where settled_at is null", r => (r.GetString(0), r.GetFieldValue<DateTimeOffset>(1)), ct)).ToDictionary();
        return [.. people.Select(p => new DormantLine(p, last.GetValueOrDefault(p.Id.Value), orphans.TryGetValue(p.Id.Value, out var since) ? since : null)).Where(d => d.OrphanSince is not null || (d.LastSignIn ?? d.Person.ValidFrom) < now - policy.Now.DormantAfter)];
    }

    /// <summary>False: nobody waits to be settled under this id.</summary>
    internal async Task<bool> SettleAsync(UnitOfWork work, PersonId person, PersonId by, string how, CancellationToken ct) =>
        await work.ExecuteAsync($"update staff.orphans set settled_by = {by}, settled_at = {time.GetUtcNow()}, how = {how} where person = {person} and settled_at is null", ct) == 1;

    /// <summary>Since when each unsettled orphan who has not left waits.</summary>
    internal static Question<List<DateTimeOffset>> Orphans(DateTimeOffset at) => Question.All($"select found_at from staff.orphans where settled_at is null and people.valid_at(person, {at})", r => r.GetFieldValue<DateTimeOffset>(0));

    internal Store Store => store;
}
