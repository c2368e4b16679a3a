using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>A lock in force: what is locked, and until when (UTC).</summary>
public sealed record Lock(string Reason, DateTimeOffset Until);

/// <summary>What other slices ask and tell: is this locked, and this failed. <clause>MOJ 第5-4(6)</clause> <clause>MIC 6.2(4)</clause></summary>
public sealed partial class AccessFailures(LockoutPolicy policy, TimeProvider time, ILogger<AccessFailures> log)
{
    /// <summary>Whom a locked-out operator asks.</summary>
    public string UnlockContact => policy.UnlockContact;

    /// <summary>The lock on a terminal for everyone, or null.</summary>
    public Question<Lock?> LockOf(TerminalId terminal) => Judge(LockoutStore.Terminal(terminal), policy.Terminal, "lockout.terminal-locked");

    /// <summary>The lock on a person at a terminal, or null.</summary>
    public Question<Lock?> LockOf(PersonId person, TerminalId terminal) => Judge(LockoutStore.OperatorAtTerminal(person, terminal), policy.OperatorAtTerminal, "lockout.operator-locked-at-terminal");

    /// <summary>The lock on a person everywhere, or null.</summary>
    public Question<Lock?> LockOf(PersonId person) => Judge(LockoutStore.Operator(person), policy.Operator, "lockout.operator-locked");

    /// <summary>
    /// Counts a failed access at a terminal. With <paramref name="proven"/> (card proven present and in good state) it also counts against
    /// that person; a failure on a lost, revoked or foreign card never does. Returns the locks that it brought about.
    /// </summary>
    public async Task<IReadOnlyList<Lock>> CountAsync(UnitOfWork work, TerminalId terminal, PersonId? proven, CancellationToken ct)
    {
        var locks = new List<Lock>();
        await CountAsync(work, LockoutStore.Terminal(terminal), policy.Terminal, "lockout.terminal-locked", terminal, proven, locks, ct);
        if (proven is not { } person) return locks;
        await CountAsync(work, LockoutStore.OperatorAtTerminal(person, terminal), policy.OperatorAtTerminal, "lockout.operator-locked-at-terminal", terminal, proven, locks, ct);
        await CountAsync(work, LockoutStore.Operator(person), policy.Operator, "lockout.operator-locked", terminal, proven, locks, ct);
        return locks;
    }

    /// <summary>A success clears this person's own failures at this terminal: not the terminal's, not those elsewhere, and no colleague's. <clause>MIC 6.2(4)</clause></summary>
    public static void Clear(UnitOfWork work, PersonId person, TerminalId terminal) => LockoutStore.Clear(work, LockoutStore.OperatorAtTerminal(person, terminal));

    /// <summary>Further failures of this person at this terminal until it is locked for them, at least 1.</summary>
    public async Task<int> LeftAsync(UnitOfWork work, PersonId person, TerminalId terminal, CancellationToken ct)
    {
        var counter = await work.AskAsync(LockoutStore.Find(LockoutStore.OperatorAtTerminal(person, terminal)), ct);
        return Math.Max(1, policy.OperatorAtTerminal.Failures - (counter?.Failures.Count(f => counter.Now - f < policy.OperatorAtTerminal.Window) ?? 0));
    }

    private async Task CountAsync(UnitOfWork work, string subject, LockoutLimit limit, string reason, TerminalId terminal, PersonId? person, List<Lock> locks, CancellationToken ct)
    {
        var counter = await LockoutStore.AddAsync(work, subject, person, limit, ct);
        if (LockoutRule.LockedUntil(counter.Failures, limit, counter.Now) is not { } until) return;
        locks.Add(new(reason, until));
        work.Record(new("lockout.lock", HistoryOutcome.Ended, reason) { Terminal = terminal, Person = person, Details = new Dictionary<string, string> { ["until"] = $"{until.ToUniversalTime():yyyy-MM-ddTHH:mm:ssZ}" } }, time.GetUtcNow());
        Locked(log, subject, until);
    }

    private static Question<Lock?> Judge(string subject, LockoutLimit limit, string reason) =>
        LockoutStore.Find(subject).Select(counter => counter is not null && LockoutRule.LockedUntil(counter.Failures, limit, counter.Now) is { } until ? new Lock(reason, until) : null);

    [LoggerMessage(LogLevel.Warning, "{Subject} is locked until {Until:O}")]
    private static partial void Locked(ILogger log, string subject, DateTimeOffset until);
}
