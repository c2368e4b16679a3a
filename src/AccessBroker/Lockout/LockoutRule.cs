namespace AccessBroker.Lockout;

/// <summary>The whole decision, pure.</summary>
internal static class LockoutRule
{
    /// <summary>Judges the next attempt on one counter.</summary>
    /// <param name="failures">Instants of its failures, UTC, newest last; older ones may be missing.</param>
    /// <param name="limit">Limits, validated.</param>
    /// <param name="now">Time of the attempt, UTC, by the database's clock.</param>
    /// <returns>The instant until which it is locked (UTC), or null: open.</returns>
    /// <remarks>Never throws. <clause>MOJ 第5-4(6)</clause></remarks>
    internal static DateTimeOffset? LockedUntil(ReadOnlySpan<DateTimeOffset> failures, LockoutLimit limit, DateTimeOffset now)
    {
        if (failures.Length < limit.Failures) return null;
        if (failures[^1] - failures[^limit.Failures] > limit.Window) return null;
        var until = failures[^1] + limit.LockFor;
        return now < until ? until : null;
    }
}
