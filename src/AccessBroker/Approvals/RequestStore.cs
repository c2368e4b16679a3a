using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>SQL of requests, decisions and exceptions.</summary>
internal static class RequestStore
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly string Columns = """
        r.id, r.kind, r.fields, r.reason, r.requested_by, r.requested_at, r.due_at, r.state, r.closed_at,
        coalesce((select json_agg(json_build_object('Step', d.step, 'By', d.by, 'At', d.at, 'Note', d.note, 'Exception', d.exception) order by d.at, d.step)::text from approvals.decisions d where d.request = r.id), '[]')
        """;

    internal static Task<Request?> LockAsync(UnitOfWork work, long id, CancellationToken ct) => work.AskAsync(Question.First($"select {Text(Columns)} from approvals.requests r where r.id = {id} for update", Read), ct);

    internal static Question<Request?> Find(long id) => Question.First($"select {Text(Columns)} from approvals.requests r where r.id = {id}", Read);

    /// <summary>Requests still under way, oldest first.</summary>
    internal static Question<List<Request>> Pending() => Question.All($"select {Text(Columns)} from approvals.requests r where r.state in ('open', 'approved') order by r.due_at, r.id limit 1000", Read);

    /// <summary>Open requests whose next approvers nobody has looked for yet, and those that have waited: the interval doubles with each reminder, up to 32 times. At most 20, the longest waiting first.</summary>
    internal static Question<List<(long Id, int Reminders, bool HasWaited)>> ToRemind(TimeSpan after) => Question.All($"""
        select * from (
          select r.id, r.reminders, coalesce(r.reminded_at, greatest(r.requested_at, (select max(d.at) from approvals.decisions d where d.request = r.id))) + {after} * power(2, least(r.reminders, 5)) <= clock_timestamp() as waited,
            r.looked_at <> (select count(*) from approvals.decisions d where d.request = r.id) as fresh
          from approvals.requests r where r.state = 'open') r
        where waited or fresh order by waited, id limit 20
        """, r => (r.GetInt64(0), r.GetInt32(1), r.GetBoolean(2)));

    /// <summary>The latest requests, newest first; of one person's making when <paramref name="by"/> is given.</summary>
    internal static Question<List<Request>> Latest(PersonId? by, int count) => Question.All($"select {Text(Columns)} from approvals.requests r where {by} is null or r.requested_by = {by} order by r.id desc limit {count}", Read);

    internal static Question<List<Request>> By(PersonId person, string kind, string state) => Question.All($"select {Text(Columns)} from approvals.requests r where r.requested_by = {person} and r.kind = {kind} and r.state = {state} order by r.id desc limit 50", Read);

    /// <summary>Requests about a person, card or terminal, newest first.</summary>
    internal static Question<List<Request>> About(string? person, string? card, string? terminal) => Question.All($"""
        select {Text(Columns)} from approvals.requests r where r.person = {person} or r.card = {card} or r.terminal = {terminal} order by r.id desc limit 100
        """, Read);

    internal static async Task<long> AddAsync(UnitOfWork work, string kind, IReadOnlyDictionary<string, string> fields, string reason, PersonId by, DateTimeOffset at, DateTimeOffset due, CancellationToken ct) =>
        await work.AskAsync(Question.All($"""
            insert into approvals.requests (kind, person, card, terminal, fields, reason, requested_by, requested_at, due_at)
            values ({kind}, {Value(fields, "person")}, {Value(fields, "card")}, {Value(fields, "terminal")}, {JsonSerializer.Serialize(fields, Format):json}, {reason}, {by}, {at}, {due}) returning id
            """, r => r.GetInt64(0)).Select(rows => rows[0]), ct);

    internal static void Decide(UnitOfWork work, long request, string step, PersonId by, DateTimeOffset at, string note, long? exception) => work.Write($"""
        insert into approvals.decisions (request, step, by, at, note, exception) values ({request}, {step}, {by}, {at}, {note}, {exception?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint)
        """);

    internal static void Move(UnitOfWork work, long request, string state, DateTimeOffset? closed) => work.Write($"update approvals.requests set state = {state}, closed_at = {closed} where id = {request}");

    internal static async Task<long> ExceptAsync(UnitOfWork work, string rules, Act act, PersonId by, long? request, string about, string reason, DateTimeOffset at, DateTimeOffset expires, DateTimeOffset reviewBy, string[] involved, CancellationToken ct) =>
        await work.AskAsync(Question.All($"""
            insert into approvals.exceptions (rules, act, by, request, about, reason, at, expires_at, review_by, involved)
            values ({rules}, {act.ToString().ToLowerInvariant()}, {by}, {request?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {about}, {reason}, {at}, {expires}, {reviewBy}, {involved}) returning id
            """, r => r.GetInt64(0)).Select(rows => rows[0]), ct);

    /// <summary>An exception of this person waits for its review beyond its day.</summary>
    internal static Question<bool> HasOverdueReview(PersonId by, DateTimeOffset at) => Question.Any($"select 1 from approvals.exceptions where by = {by} and reviewed_at is null and review_by < {at}");

    internal static Question<List<SetAside>> Exceptions(bool open) => Question.All($"""
        select id, rules, act, by, request, about, reason, at, expires_at, review_by, involved, reviewed_by, reviewed_at, finding from approvals.exceptions where {!open} or reviewed_at is null order by reviewed_at is not null, review_by limit 500
        """, ReadException);

    internal static Question<List<SetAside>> ExceptionsOf(long request) => Question.All($"""
        select id, rules, act, by, request, about, reason, at, expires_at, review_by, involved, reviewed_by, reviewed_at, finding from approvals.exceptions where request = {request}
        """, ReadException);

    internal static Question<SetAside?> LockException(long id) => Question.First($"""
        select id, rules, act, by, request, about, reason, at, expires_at, review_by, involved, reviewed_by, reviewed_at, finding from approvals.exceptions where id = {id} for update
        """, ReadException);

    private static string? Value(IReadOnlyDictionary<string, string> fields, string name) => fields.GetValueOrDefault(name) is { Length: > 0 } value ? value : null;

    private static Sql Text(string sql)
    {
        var part = new Sql(sql.Length, 0);
        part.AppendLiteral(sql);
        return part;
    }

    private static Request Read(Npgsql.NpgsqlDataReader r) => new(r.GetInt64(0), r.GetString(1), JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(2))!, r.GetString(3), PersonId.Parse(r.GetString(4)),
        r.GetFieldValue<DateTimeOffset>(5), r.GetFieldValue<DateTimeOffset>(6), r.GetString(7), r.IsDBNull(8) ? null : r.GetFieldValue<DateTimeOffset>(8), JsonSerializer.Deserialize<List<Decision>>(r.GetString(9))!);

    private static SetAside ReadException(Npgsql.NpgsqlDataReader r) => new(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3), r.IsDBNull(4) ? null : r.GetInt64(4), r.GetString(5), r.GetString(6), r.GetFieldValue<DateTimeOffset>(7),
        r.GetFieldValue<DateTimeOffset>(8), r.GetFieldValue<DateTimeOffset>(9), r.GetFieldValue<string[]>(10), r.IsDBNull(11) ? null : r.GetString(11), r.IsDBNull(12) ? null : r.GetFieldValue<DateTimeOffset>(12), r.IsDBNull(13) ? null : r.GetString(13));
}

/// <summary>A rule of separation that was set aside, and what an independent person found. <clause>MIC 1(8)①</clause></summary>
public sealed record SetAside(long Id, string Rules, string Act, string By, long? Request, string About, string Reason, DateTimeOffset At, DateTimeOffset ExpiresAt, DateTimeOffset ReviewBy, IReadOnlyList<string> InvolvedPeople, string? ReviewedBy, DateTimeOffset? ReviewedAt, string? Finding);
