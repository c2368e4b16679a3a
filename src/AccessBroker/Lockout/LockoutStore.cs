using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Lockout;

/// <summary>SQL of the counters, on the caller's unit of work.</summary>
internal static class LockoutStore
{
    /// <summary>One counter as the database sees it: failures, newest last, and its own clock.</summary>
    internal sealed record Counter(string Subject, DateTimeOffset[] Failures, string[] FailedBy, long Version, DateTimeOffset Now);

    internal static string Terminal(TerminalId terminal) => $"terminal:{terminal}";
    internal static string Operator(PersonId person) => $"operator:{person}";
    internal static string OperatorAtTerminal(PersonId person, TerminalId terminal) => $"operator-at-terminal:{person}@{terminal}";

    internal static Question<Counter?> Find(string subject) => Question.First($"select subject, failures, failed_by, version, clock_timestamp() from lockout.counters where subject = {subject}", ReadCounter);

    /// <summary>The counters of a terminal: its own, and those of persons at it.</summary>
    internal static Task<List<Counter>> OfTerminalAsync(UnitOfWork work, TerminalId terminal, CancellationToken ct) => work.QueryAsync(
        $"select subject, failures, failed_by, version, clock_timestamp() from lockout.counters where subject = {Terminal(terminal)} or (subject like 'operator-at-terminal:%' and split_part(subject, '@', 2) = {terminal}) order by subject", ReadCounter, ct);

    /// <summary>All counters with failures.</summary>
    internal static Task<List<Counter>> AllAsync(UnitOfWork work, CancellationToken ct) => work.QueryAsync(
        $"select subject, failures, failed_by, version, clock_timestamp() from lockout.counters where cardinality(failures) > 1 order by subject limit 1000", ReadCounter, ct);

    /// <summary>
    /// Adds a failure and returns the counter after it. One statement: parallel failures queue on the row and none is lost. A failure while
    /// the counter is locked is not added (the caller checks first; a racing one must not prolong the lock).
    /// </summary>
    internal static async Task<Counter> AddAsync(UnitOfWork work, string subject, PersonId? by, LockoutLimit limit, CancellationToken ct) =>
        (await work.FindAsync($"""
            insert into lockout.counters as c (subject, failures, failed_by) values ({subject}, array[clock_timestamp()], array[coalesce({by}, '')])
            on conflict (subject) do update set
                (failures, failed_by, version) = (select
                    case when locked then c.failures else (array_append(c.failures, clock_timestamp()))[first:] end,
                    case when locked then c.failed_by else (c.failed_by || excluded.failed_by)[first:] end,
                    c.version + 1
                    from (select greatest(1, cardinality(c.failures) + 2 - {limit.Failures}) as first,
                        cardinality(c.failures) >= {limit.Failures}
                        and c.failures[cardinality(c.failures)] - c.failures[cardinality(c.failures) - {limit.Failures} + 1] <= {limit.Window}
                        and clock_timestamp() < c.failures[cardinality(c.failures)] + {limit.LockFor} as locked) as judged)
            returning subject, failures, failed_by, version, clock_timestamp()
            """, ReadCounter, ct))!;

    internal static void Clear(UnitOfWork work, string subject) =>
        work.Write($"update lockout.counters set failures = array[]::timestamptz[], failed_by = array[]::text[], version = version + 1 where subject = {subject} and cardinality(failures) > 0");

    /// <summary>False: someone changed the row, nothing written.</summary>
    internal static async Task<bool> TryClearAsync(UnitOfWork work, string subject, long version, CancellationToken ct) =>
        await work.ExecuteAsync($"""
            update lockout.counters set failures = array[]::timestamptz[], failed_by = array[]::text[], version = version + 1
            where subject = {subject} and version = {version}
            """, ct) == 1;

    private static Counter ReadCounter(Npgsql.NpgsqlDataReader r) => new(r.GetString(0), r.GetFieldValue<DateTimeOffset[]>(1),
        r.GetFieldValue<string[]>(2), r.GetInt64(3), r.GetFieldValue<DateTimeOffset>(4));
}
