using System.Diagnostics;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.Lockout;

/// <summary>
/// The responsible person or an administrator clears early what locks a terminal, for everyone or for single operators there; never what
/// one's own failures locked. Ours: the sources are silent on unlocking. A lock on an operator everywhere, or of a privileged one, is the PIN manager's to lift.
/// </summary>
internal sealed class UnlockTerminal(Store store, Active<LockoutPolicy> policy, Permissions permissions, TimeProvider time)
{
    internal enum Outcome { Unlocked, NoSuchTerminal, NotLocked, OwnFailures, NotResponsible, ChangedMeanwhile }

    internal async Task<Outcome> RunAsync(TerminalId terminal, PersonId by, string reason, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(TerminalRegister.FindLine(terminal), ct) is not { } line) return Outcome.NoSuchTerminal;
        var locked = (await LockoutStore.OfTerminalAsync(work, terminal, [.. policy.Now.Privileged.Roles], ct)).Where(c => c.Locked is not null && (!c.Privileged || c.Subject == LockoutStore.Terminal(terminal))).ToList();
        // Whoever is responsible for terminals unlocks their own only; administrators unlock any.
        var may = await permissions.OfAsync(work, by, ct);
        var responsible = line.Responsible == by || may.Roles.Allows(may.Person?.Roles.Where(r => r != "responsible-person") ?? [], "terminals.unlock");
        var outcome = !responsible ? Outcome.NotResponsible : await TryAsync(work, locked, terminal, by, ct);
        var entry = new HistoryEvent("lockout.unlock-terminal", HistoryOutcome.Done) { Person = by, Terminal = terminal, Details = new Dictionary<string, string> { ["why"] = reason, ["what"] = string.Join(' ', locked.Select(c => c.Subject)) } };
        if (outcome == Outcome.ChangedMeanwhile)
        {
            // Some counters may be cleared in this transaction already: nothing of it is kept.
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.changed-meanwhile" }, time.GetUtcNow(), ct);
            return outcome;
        }
        work.Record(outcome switch
        {
            Outcome.Unlocked => entry,
            Outcome.NotLocked => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.not-locked" },
            Outcome.NotResponsible => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.not-responsible" },
            Outcome.OwnFailures => entry with { Outcome = HistoryOutcome.Refused, Reason = "lockout.own-failures" },
            _ => throw new UnreachableException($"{outcome}"),
        }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return outcome;
    }

    private static async Task<Outcome> TryAsync(UnitOfWork work, List<LockoutStore.Counter> locked, TerminalId terminal, PersonId by, CancellationToken ct)
    {
        if (locked.Count == 0) return Outcome.NotLocked;
        if (locked.Exists(c => c.FailedBy.Contains(by.Value) || c.Subject == LockoutStore.OperatorAtTerminal(by, terminal))) return Outcome.OwnFailures;
        foreach (var counter in locked)
            if (!await LockoutStore.TryClearAsync(work, counter.Subject, counter.Version, ct)) return Outcome.ChangedMeanwhile;
        return Outcome.Unlocked;
    }
}
