using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>The PIN manager clears early what locks a person, everywhere; never themselves. Ours: the sources are silent on unlocking.</summary>
internal sealed class UnlockOperator(Store store, Active<LockoutPolicy> policy, Permissions permissions, Separation separation, TimeProvider time)
{
    internal enum Outcome { Unlocked, NotLocked, OwnLock, ChangedMeanwhile }

    internal async Task<Outcome> RunAsync(PersonId person, PersonId by, string reason, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var entry = new HistoryEvent("lockout.unlock-operator", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["why"] = reason } };
        async Task<Outcome> RefuseAsync(string why, Outcome outcome)
        {
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = why }, time.GetUtcNow(), ct);
            return outcome;
        }
        if (await separation.JudgeAsync(work, Act.Unlock, await permissions.OfAsync(work, by, ct), new(null, [], person.Value), null, person.Value, null, ct) is Separation.Verdict.Forbidden) return await RefuseAsync("lockout.own-failures", Outcome.OwnLock);
        var locked = (await LockoutStore.OfOperatorAsync(work, person, [.. policy.Now.Privileged.Roles], ct)).Where(c => c.Locked is not null).ToList();
        if (locked.Count == 0) return await RefuseAsync("lockout.not-locked", Outcome.NotLocked);
        foreach (var counter in locked) if (!await LockoutStore.TryClearAsync(work, counter.Subject, counter.Version, ct)) return await RefuseAsync("lockout.changed-meanwhile", Outcome.ChangedMeanwhile);
        work.Record(entry with { Details = entry.Details.Append(new("what", string.Join(' ', locked.Select(c => c.Subject)))).ToDictionary() }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Outcome.Unlocked;
    }
}
