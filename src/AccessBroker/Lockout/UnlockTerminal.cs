using System.Diagnostics;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>The responsible person or an administrator clears a terminal's failures early; never one's own. Ours: the sources are silent on unlocking.</summary>
internal sealed class UnlockTerminal(Store store, TimeProvider time)
{
    internal enum Outcome { Unlocked, NotLocked, OwnFailures, ChangedMeanwhile }

    internal async Task<Outcome> RunAsync(TerminalId terminal, PersonId by, string reason, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var outcome = await TryAsync(work, LockoutStore.Terminal(terminal), by, ct);
        var entry = new HistoryEvent("lockout.unlock-terminal", HistoryOutcome.Done) { Person = by, Terminal = terminal, Details = new Dictionary<string, string> { ["why"] = reason } };
        work.Record(outcome switch
        {
            Outcome.Unlocked => entry,
            Outcome.NotLocked => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.not-locked" },
            Outcome.OwnFailures => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.own-failures" },
            Outcome.ChangedMeanwhile => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.changed-meanwhile" },
            _ => throw new UnreachableException($"{outcome}"),
        }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return outcome;
    }

    private static async Task<Outcome> TryAsync(UnitOfWork work, string subject, PersonId by, CancellationToken ct)
    {
        if (await LockoutStore.FindAsync(work, subject, ct) is not { Failures.Length: > 0 } counter) return Outcome.NotLocked;
        if (counter.LastBy == by) return Outcome.OwnFailures;
        return await LockoutStore.TryClearAsync(work, subject, counter.Version, ct) ? Outcome.Unlocked : Outcome.ChangedMeanwhile;
    }
}
