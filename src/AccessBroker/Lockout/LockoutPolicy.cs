using AccessBroker.Policies;

namespace AccessBroker.Lockout;

/// <summary>One counter: so many failures within the window lock for a while. Values are ours: no source gives numbers. <clause>MOJ 第5-4(6)</clause></summary>
public sealed record LockoutLimit
{
    /// <summary>Failures within <see cref="Window"/> that lock, count.</summary>
    public required int Failures { get; init; }
    /// <summary>Sliding window in which failures count, 1 min..24 h.</summary>
    public required TimeSpan Window { get; init; }
    /// <summary>How long a lock lasts after the last counted failure, 1 min..24 h (一定の間).</summary>
    public required TimeSpan LockFor { get; init; }

    internal IEnumerable<string> Problems(string name, int most) =>
    [
        .. PolicyFiles.OutOfRange($"{name}.failures", Failures, 2, most),
        .. PolicyFiles.OutOfRange($"{name}.window", Window, TimeSpan.FromMinutes(1), TimeSpan.FromHours(24)),
        .. PolicyFiles.OutOfRange($"{name}.lock-for", LockFor, TimeSpan.FromMinutes(1), TimeSpan.FromHours(24)),
    ];
}

/// <summary>A limit for privileged people: stricter on every axis, and no lock ends by itself. <clause>MIC 6.2(1)③(オ)</clause></summary>
public sealed record PrivilegedLimit
{
    /// <summary>Failures within <see cref="Window"/> that lock; fewer than for others, at least 2.</summary>
    public required int Failures { get; init; }
    /// <summary>Sliding window, longer than for others, up to 24 h.</summary>
    public required TimeSpan Window { get; init; }

    /// <summary>Until somebody unlocks: ours, 100 years.</summary>
    internal static readonly TimeSpan UntilUnlocked = TimeSpan.FromDays(36_500);
    internal LockoutLimit Limit => new() { Failures = Failures, Window = Window, LockFor = UntilUnlocked };

    internal IEnumerable<string> Problems(string name, LockoutLimit ordinary)
    {
        if (Failures < 2 || Failures >= ordinary.Failures) yield return $"privileged.{name}.failures ({Failures}) must be 2 or more and fewer than {name}.failures ({ordinary.Failures}): LCK-03, PWD-08";
        if (Window <= ordinary.Window || Window > TimeSpan.FromHours(24)) yield return $"privileged.{name}.window must be longer than {name}.window and 24 h at most: LCK-03, PWD-08";
    }
}

/// <summary>Who is privileged, and their limits. <clause>MIC 6.2(1)③(オ)</clause></summary>
public sealed record PrivilegedLockout
{
    /// <summary>Roles of roles.yaml whose holders are privileged.</summary>
    public required List<string> Roles { get; init; }
    /// <summary>One privileged person at one terminal.</summary>
    public required PrivilegedLimit OperatorAtTerminal { get; init; }
    /// <summary>One privileged person at all terminals.</summary>
    public required PrivilegedLimit Operator { get; init; }
}

/// <summary>Limits on access failures. <clause>MOJ 第5-4(6)</clause> <clause>MIC 6.2(4)</clause></summary>
public sealed record LockoutPolicy : IPolicy
{
    /// <summary>One person at one terminal. Failures 2..10, default 3; below <see cref="CardLimit"/>.</summary>
    public required LockoutLimit OperatorAtTerminal { get; init; }
    /// <summary>Everyone's failures of every kind at one terminal. Failures 2..50, default 10.</summary>
    public required LockoutLimit Terminal { get; init; }
    /// <summary>One person at all terminals; only failures with the card proven present. Failures 2..20, default 5.</summary>
    public required LockoutLimit Operator { get; init; }
    /// <summary>Stricter limits for privileged people.</summary>
    public required PrivilegedLockout Privileged { get; init; }
    /// <summary>So many people failing at one terminal, or so many terminals at which one person fails, within <see cref="PatternWindow"/>, are looked at, 2..50. Default 3. <clause>MOJ 第5-9(3)</clause></summary>
    public required int Pattern { get; init; }
    /// <summary>Window of the pattern, 5 min..24 h. Default 1 h.</summary>
    public required TimeSpan PatternWindow { get; init; }
    /// <summary>Wrong PINs after which a card blocks itself, 3..15, default 6: what the cards are personalised with.</summary>
    public required int CardLimit { get; init; }
    /// <summary>Whom a locked-out operator asks; shown on the page.</summary>
    public required string UnlockContact { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems()
    {
        foreach (var problem in OperatorAtTerminal.Problems("operator-at-terminal", 10)) yield return problem;
        foreach (var problem in Terminal.Problems("terminal", 50)) yield return problem;
        foreach (var problem in Operator.Problems("operator", 20)) yield return problem;
        foreach (var problem in Privileged.OperatorAtTerminal.Problems("operator-at-terminal", OperatorAtTerminal)) yield return problem;
        foreach (var problem in Privileged.Operator.Problems("operator", Operator)) yield return problem;
        if (Privileged.Roles.Count == 0) yield return "privileged.roles is empty";
        foreach (var problem in PolicyFiles.OutOfRange("pattern", Pattern, 2, 50)) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("pattern-window", PatternWindow, TimeSpan.FromMinutes(5), TimeSpan.FromHours(24))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("card-limit", CardLimit, 3, 15)) yield return problem;
        if (OperatorAtTerminal.Failures >= CardLimit) yield return $"operator-at-terminal.failures ({OperatorAtTerminal.Failures}) must be below card-limit ({CardLimit}): the broker locks before the card blocks";
        if (string.IsNullOrWhiteSpace(UnlockContact)) yield return "unlock-contact is empty";
    }
}
