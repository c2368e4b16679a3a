using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>SQL of the counters, on the caller's unit of work.</summary>
internal static class LockoutStore
{
    /// <summary>One counter as the database sees it: failures, newest last, and its own clock.</summary>
    /// <param name="Privileged">The person of the counter is privileged now.</param>
    /// <param name="LockedUntil">Until when it is locked, judged when the last failure came; null: it never was.</param>
    internal sealed record Counter(string Subject, DateTimeOffset[] Failures, string[] FailedBy, long Version, DateTimeOffset Now, bool Privileged, DateTimeOffset? LockedUntil)
    {
        /// <summary>The end of the lock in force, or null: open.</summary>
        internal DateTimeOffset? Locked => LockedUntil > Now ? LockedUntil : null;
    }

    internal static string Terminal(TerminalId terminal) => $"terminal:{terminal}";
    internal static string Operator(PersonId person) => $"operator:{person}";
    internal static string OperatorAtTerminal(PersonId person, TerminalId terminal) => $"operator-at-terminal:{person}@{terminal}";

    internal static Question<Counter?> Find(string subject, string[] privileged) => Question.First($"{Columns(privileged)} where subject = {subject}", ReadCounter);

    /// <summary>A counter's person is the part between ':' and '@' of its subject.</summary>
    private static Sql Columns(string[] privileged) => $"""
        select subject, failures, failed_by, version, clock_timestamp(), subject not like 'terminal:%' and people.holds_any(split_part(split_part(subject, ':', 2), '@', 1), {privileged}, clock_timestamp()), locked_until from lockout.counters
        """;

    /// <summary>Whether a person is privileged now.</summary>
    internal static Question<bool> IsPrivileged(PersonId person, string[] privileged) => Question.All($"select people.holds_any({person}, {privileged}, clock_timestamp())", r => r.GetBoolean(0)).Select(r => r[0]);

    /// <summary>People who failed at a terminal, and terminals at which a person failed, within a window.</summary>
    internal static Question<List<(long Operators, long Terminals)>> Patterns(TerminalId terminal, PersonId? person, TimeSpan window) => Question.All($"""
        select count(distinct split_part(split_part(subject, ':', 2), '@', 1)) filter (where split_part(subject, '@', 2) = {terminal}), count(distinct split_part(subject, '@', 2)) filter (where {person} is not null and subject like 'operator-at-terminal:' || {person} || '@%')
        from lockout.counters where subject like 'operator-at-terminal:%' and cardinality(failures) > 0 and failures[cardinality(failures)] > clock_timestamp() - {window}
        """, r => (r.GetInt64(0), r.GetInt64(1)));

    /// <summary>The counters of a terminal: its own, and those of persons at it.</summary>
    internal static Task<List<Counter>> OfTerminalAsync(UnitOfWork work, TerminalId terminal, string[] privileged, CancellationToken ct) => work.QueryAsync(
        $"{Columns(privileged)} where subject = {Terminal(terminal)} or (subject like 'operator-at-terminal:%' and split_part(subject, '@', 2) = {terminal}) order by subject", ReadCounter, ct);

    /// <summary>The counters of a person: everywhere, and at each terminal.</summary>
    internal static Task<List<Counter>> OfOperatorAsync(UnitOfWork work, PersonId person, string[] privileged, CancellationToken ct) => work.QueryAsync(
        $"{Columns(privileged)} where subject = {Operator(person)} or subject like {"operator-at-terminal:" + person.Value + "@%"} order by subject", ReadCounter, ct);

    /// <summary>All counters that are locked.</summary>
    internal static Task<List<Counter>> AllAsync(UnitOfWork work, string[] privileged, CancellationToken ct) => work.QueryAsync(
        $"{Columns(privileged)} where locked_until > clock_timestamp() order by subject limit 1000", ReadCounter, ct);

    /// <summary>
    /// Adds a failure and returns the counter after it, and whether this failure locked it. Parallel failures queue on the row and none is lost. A
    /// failure while the counter is locked is not added (the caller checks first; a racing one must not prolong the lock).
    /// </summary>
    internal static async Task<(Counter Counter, bool Locks)> AddAsync(UnitOfWork work, string subject, PersonId? by, LockoutLimit limit, CancellationToken ct)
    {
        var counter = (await work.FindAsync($"""
            insert into lockout.counters as c (subject, failures, failed_by) values ({subject}, array[clock_timestamp()], array[coalesce({by}, '')])
            on conflict (subject) do update set
                (failures, failed_by, version) = (select
                    case when locked then c.failures else (array_append(c.failures, clock_timestamp()))[first:] end,
                    case when locked then c.failed_by else (c.failed_by || excluded.failed_by)[first:] end,
                    c.version + 1
                    from (select greatest(1, cardinality(c.failures) + 2 - {limit.Failures}) as first, coalesce(c.locked_until > clock_timestamp(), false) as locked) as judged)
            returning subject, failures, failed_by, version, clock_timestamp(), false, locked_until
            """, ReadCounter, ct))!;
        if (counter.Locked is not null || LockoutRule.LockedUntil(counter.Failures, limit, counter.Now) is not { } until) return (counter, false);
        await work.ExecuteAsync($"update lockout.counters set locked_until = {until} where subject = {subject}", ct);
        return (counter with { LockedUntil = until }, true);
    }

    internal static void Clear(UnitOfWork work, string subject) =>
        work.Write($"update lockout.counters set failures = array[]::timestamptz[], failed_by = array[]::text[], locked_until = null, version = version + 1 where subject = {subject} and cardinality(failures) > 0");

    /// <summary>False: someone changed the row, nothing written.</summary>
    internal static async Task<bool> TryClearAsync(UnitOfWork work, string subject, long version, CancellationToken ct) =>
        await work.ExecuteAsync($"""
            update lockout.counters set failures = array[]::timestamptz[], failed_by = array[]::text[], locked_until = null, version = version + 1
            where subject = {subject} and version = {version}
            """, ct) == 1;

    private static Counter ReadCounter(Npgsql.NpgsqlDataReader r) => new(r.GetString(0), r.GetFieldValue<DateTimeOffset[]>(1),
        r.GetFieldValue<string[]>(2), r.GetInt64(3), r.GetFieldValue<DateTimeOffset>(4), r.GetBoolean(5), r.IsDBNull(6) ? null : r.GetFieldValue<DateTimeOffset>(6));
}
