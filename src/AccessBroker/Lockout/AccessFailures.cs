using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>A lock in force: what is locked, and until when (UTC).</summary>
public sealed record Lock(string Reason, DateTimeOffset Until);

/// <summary>What other slices ask and tell: is this locked, and this failed. <clause>MOJ 第5-4(6)</clause> <clause>MIC 6.2(4)</clause></summary>
public sealed partial class AccessFailures(Active<LockoutPolicy> policy, Candidates candidates, TimeProvider time, ILogger<AccessFailures> log)
{
    /// <summary>Whom a locked-out operator asks.</summary>
    public string UnlockContact => policy.Now.UnlockContact;

    /// <summary>The lock on a terminal for everyone, or null.</summary>
    public Question<Lock?> LockOf(TerminalId terminal) => Judge(LockoutStore.Terminal(terminal), "lockout.terminal-locked");

    /// <summary>The lock on a person at a terminal, or null.</summary>
    public Question<Lock?> LockOf(PersonId person, TerminalId terminal) => Judge(LockoutStore.OperatorAtTerminal(person, terminal), "lockout.operator-locked-at-terminal");

    /// <summary>The lock on a person everywhere, or null.</summary>
    public Question<Lock?> LockOf(PersonId person) => Judge(LockoutStore.Operator(person), "lockout.operator-locked");

    /// <summary>
    /// Counts a failed access at a terminal. With <paramref name="proven"/> (card proven present and in good state) it also counts against
    /// that person; a failure on a lost, revoked or foreign card never does. Returns the locks that it brought about.
    /// </summary>
    public async Task<IReadOnlyList<Lock>> CountAsync(UnitOfWork work, TerminalId terminal, PersonId? proven, CancellationToken ct)
    {
        var locks = new List<Lock>();
        await CountAsync(work, LockoutStore.Terminal(terminal), policy.Now.Terminal, "lockout.terminal-locked", terminal, proven, locks, ct);
        if (proven is { } person)
        {
            var privileged = await work.AskAsync(LockoutStore.IsPrivileged(person, Privileged), ct);
            await CountAsync(work, LockoutStore.OperatorAtTerminal(person, terminal), privileged ? policy.Now.Privileged.OperatorAtTerminal.Limit : policy.Now.OperatorAtTerminal, "lockout.operator-locked-at-terminal", terminal, proven, locks, ct);
            await CountAsync(work, LockoutStore.Operator(person), privileged ? policy.Now.Privileged.Operator.Limit : policy.Now.Operator, "lockout.operator-locked", terminal, proven, locks, ct);
        }
        if (locks.Count > 0 || proven is not null) await LookForPatternsAsync(work, terminal, proven, ct);
        return locks;
    }

    /// <summary>A success clears this person's own failures at this terminal: not the terminal's, not those elsewhere, and no colleague's. <clause>MIC 6.2(4)</clause></summary>
    public static void Clear(UnitOfWork work, PersonId person, TerminalId terminal) => LockoutStore.Clear(work, LockoutStore.OperatorAtTerminal(person, terminal));

    /// <summary>Failures of this person everywhere within the window of its counter.</summary>
    public Question<int> FailuresOf(PersonId person) => LockoutStore.Find(LockoutStore.Operator(person), Privileged).Select(c => c?.Failures.Count(f => c.Now - f < policy.Now.Operator.Window) ?? 0);

    /// <summary>Further failures of this person at this terminal until it is locked for them, at least 1.</summary>
    public async Task<int> LeftAsync(UnitOfWork work, PersonId person, TerminalId terminal, CancellationToken ct)
    {
        var counter = await work.AskAsync(LockoutStore.Find(LockoutStore.OperatorAtTerminal(person, terminal), Privileged), ct);
        var limit = counter is { Privileged: true } ? policy.Now.Privileged.OperatorAtTerminal.Limit : policy.Now.OperatorAtTerminal;
        return Math.Max(1, limit.Failures - (counter?.Failures.Count(f => counter.Now - f < limit.Window) ?? 0));
    }

    private async Task CountAsync(UnitOfWork work, string subject, LockoutLimit limit, string reason, TerminalId terminal, PersonId? person, List<Lock> locks, CancellationToken ct)
    {
        var (counter, newly) = await LockoutStore.AddAsync(work, subject, person, limit, ct);
        if (counter.Locked is not { } until) return;
        locks.Add(new(reason, until));
        if (!newly) return;
        work.Record(new("lockout.lock", HistoryOutcome.Ended, reason) { Terminal = terminal, Person = person, Details = new Dictionary<string, string> { ["until"] = $"{until.ToUniversalTime():yyyy-MM-ddTHH:mm:ssZ}" } }, time.GetUtcNow());
        Locked(log, subject, until);
    }

    private Question<Lock?> Judge(string subject, string reason) =>
        LockoutStore.Find(subject, Privileged).Select(counter => counter?.Locked is { } until ? new Lock(reason, until) : null);

    private string[] Privileged => [.. policy.Now.Privileged.Roles];

    /// <summary>Many people at one terminal, or one at many: somebody looks at it. <clause>MOJ 第5-9(3), TAG 第3章1(A)</clause></summary>
    private async Task LookForPatternsAsync(UnitOfWork work, TerminalId terminal, PersonId? person, CancellationToken ct)
    {
        var (operators, terminals) = (await work.AskAsync(LockoutStore.Patterns(terminal, person, policy.Now.PatternWindow), ct))[0];
        if (operators >= policy.Now.Pattern) await candidates.RaiseAsync(work, "many-operators-at-a-terminal", 1, terminal.Value, terminal, null, null, new Dictionary<string, string> { ["人数"] = $"{operators}" }, ct);
        if (person is { } one && terminals >= policy.Now.Pattern) await candidates.RaiseAsync(work, "operator-at-many-terminals", 2, one.Value, terminal, one, null, new Dictionary<string, string> { ["端末の数"] = $"{terminals}" }, ct);
    }

    [LoggerMessage(LogLevel.Warning, "{Subject} is locked until {Until:O}")]
    private static partial void Locked(ILogger log, string subject, DateTimeOffset until);
}
