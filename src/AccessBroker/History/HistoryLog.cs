using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.History;

/// <summary>
/// The INSERT-only table of events. Each row carries its canonical bytes and their RFC 6962 leaf hash (SHA-256 of 00 ‖ bytes), and the
/// transaction that wrote it, so that a later integrator can order and commit rows to a Merkle tree without touching them.
/// </summary>
public static class HistoryLog
{
    /// <summary>Writes an event with the unit of work that makes it true: both commit, or neither.</summary>
    public static void Record(this UnitOfWork work, HistoryEvent entry, DateTimeOffset at)
    {
        work.BeforeCommit(Insert(entry, at, "live"));
        work.AfterCommit(() => Operations.Add(1, new("operation", entry.Operation), new("outcome", Name(entry.Outcome)), new("reason", entry.Reason)));
    }

    private static readonly Counter<long> Operations = Instruments.Meter.CreateCounter<long>("accessbroker.operations", description: "Operations recorded in the history, by name, outcome and reason.");

    /// <summary>Writes events on their own: refusals, which have no other effect. Throws when the database is away.</summary>
    public static async Task RecordAsync(this Store store, HistoryEvent entry, DateTimeOffset at, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        work.Record(entry, at);
        await work.CommitAsync(ct);
    }

    internal static Sql Insert(HistoryEvent entry, DateTimeOffset at, string origin)
    {
        var body = Canonical(entry, at, origin);
        var leaf = SHA256.HashData([0x00, .. body]);
        return $"""
            insert into history.events (at, operation, outcome, reason, person, terminal, card, session, client, address, receipt, details, count, origin, body, leaf)
            values ({at}, {entry.Operation}, {Name(entry.Outcome)}, {entry.Reason}, {entry.Person}, {entry.Terminal}, {entry.Card}, {entry.Session},
                    {entry.Client}, {entry.Address}, {entry.Receipt}, {JsonSerializer.Serialize(entry.Details):json}, {entry.Count}, {origin}, {body}, {leaf})
            """;
    }

    /// <summary>One event, one sequence of bytes: members in this order, no white space, UTF-8. Version 1.</summary>
    internal static byte[] Canonical(HistoryEvent entry, DateTimeOffset at, string origin)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteNumber("v", 1);
            // PostgreSQL keeps microseconds: what is hashed is what can be read back.
            json.WriteString("at", at.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.ffffffZ", System.Globalization.CultureInfo.InvariantCulture));
            json.WriteString("operation", entry.Operation);
            json.WriteString("outcome", Name(entry.Outcome));
            json.WriteString("reason", entry.Reason);
            foreach (var (name, value) in Fields(entry)) if (value is not null) json.WriteString(name, value);
            json.WriteStartObject("details");
            foreach (var (name, value) in entry.Details.OrderBy(d => d.Key, StringComparer.Ordinal)) json.WriteString(name, value);
            json.WriteEndObject();
            json.WriteNumber("count", entry.Count);
            json.WriteString("origin", origin);
            json.WriteEndObject();
        }
        return bytes.ToArray();
    }

    private static (string, string?)[] Fields(HistoryEvent entry) =>
    [
        ("person", entry.Person?.Value), ("terminal", entry.Terminal?.Value), ("card", entry.Card?.Value), ("session", entry.Session?.Value),
        ("client", entry.Client), ("address", entry.Address), ("receipt", entry.Receipt),
    ];

    internal static string Name(HistoryOutcome outcome) => outcome switch
    {
        HistoryOutcome.Done => "done",
        HistoryOutcome.Refused => "refused",
        HistoryOutcome.Ended => "ended",
        _ => throw new ArgumentOutOfRangeException(nameof(outcome)),
    };

    /// <summary>How many refused attempts of a person were recorded since an instant. <clause>MIC 6.2(4)</clause></summary>
    public static Question<long> CountRefusals(PersonId person, DateTimeOffset since) => Question.All(
        $"select count(*) from history.events where person = {person} and at > {since} and outcome = 'refused' and operation in ('sign-in.pin', 'sign-in.possession', 'sign-in.proof', 'sign-in.complete', 'sign-in.typed', 'sign-in.passkey')",
        r => r.GetInt64(0)).Select(rows => rows[0]);

    /// <summary>The refusal that gave a receipt number; null: none did.</summary>
    public static Question<ReceiptLine?> FindReceipt(string receipt) => Question.First($"select at, reason, person, terminal, card from history.events where receipt = {receipt} order by id desc limit 1",
        r => new ReceiptLine(r.GetFieldValue<DateTimeOffset>(0), r.GetString(1), r.IsDBNull(2) ? null : r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3), r.IsDBNull(4) ? null : r.GetString(4)));

    /// <summary>Who did what with a path, or anything below it, in a period: each person, operation and outcome once. <clause>MIC 2(2)①</clause></summary>
    public static Question<List<PathUse>> UsesOf(string path, DateTimeOffset from, DateTimeOffset until) => Question.All($"""
        select coalesce(person, ''), operation, outcome, sum(count), count(distinct details->>'path'), min(at), max(at) from history.events
        where {OnPath(path)} and at >= {from} and at < {until} group by 1, 2, 3 order by 1, 2, 3
        """, r => new PathUse(r.GetString(0), r.GetString(1), r.GetString(2), r.GetInt64(3), r.GetInt64(4), r.GetFieldValue<DateTimeOffset>(5), r.GetFieldValue<DateTimeOffset>(6)));

    /// <summary>The same, event by event, newest first.</summary>
    public static Question<List<PathEvent>> EventsOf(string path, DateTimeOffset from, DateTimeOffset until, int count) => Question.All($"""
        select at, coalesce(person, ''), coalesce(terminal, ''), operation, outcome, reason, details->>'path' from history.events
        where {OnPath(path)} and at >= {from} and at < {until} order by id desc limit {count}
        """, r => new PathEvent(r.GetFieldValue<DateTimeOffset>(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetString(4), r.GetString(5), r.GetString(6)));

    /// <summary>"/" is followed by "0": everything between is below.</summary>
    private static Sql OnPath(string path)
    {
        var below = path == "/" ? "" : path;
        return $"details ? 'path' and (details->>'path' = {path} or (details->>'path' ~>=~ {below + "/"} and details->>'path' ~<~ {below + "0"})) and operation like 'files.%'";
    }

    /// <summary>The newest events, newest first, at most <paramref name="count"/>. The read itself is an operation: the page records it.</summary>
    internal static async Task<List<HistoryRow>> LatestAsync(UnitOfWork work, int count, CancellationToken ct) =>
        await work.QueryAsync($"""
            select id, at, operation, outcome, reason, person, terminal, card, client, receipt, details, count, origin
            from history.events order by id desc limit {count}
            """, ReadRow, ct);

    private static HistoryRow ReadRow(NpgsqlDataReader r)
    {
        string? Text(int column) => r.IsDBNull(column) ? null : r.GetString(column);
        return new(r.GetInt64(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2), r.GetString(3), r.GetString(4), Text(5), Text(6), Text(7), Text(8), Text(9),
            JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(10)) ?? [], r.GetInt32(11), r.GetString(12));
    }
}

/// <summary>What is known of a refusal by its receipt number.</summary>
public sealed record ReceiptLine(DateTimeOffset At, string Reason, string? Person, string? Terminal, string? Card);

/// <summary>What one person did with a place in a period.</summary>
/// <param name="Count">How often.</param>
/// <param name="Paths">With how many different files.</param>
public sealed record PathUse(string Person, string Operation, string Outcome, long Count, long Paths, DateTimeOffset First, DateTimeOffset Last);

/// <summary>One event about a path.</summary>
public sealed record PathEvent(DateTimeOffset At, string Person, string Terminal, string Operation, string Outcome, string Reason, string Path);

/// <summary>A stored event as the list of latest events shows it.</summary>
internal sealed record HistoryRow(long Id, DateTimeOffset At, string Operation, string Outcome, string Reason, string? Person, string? Terminal, string? Card,
    string? Client, string? Receipt, IReadOnlyDictionary<string, string> Details, int Count, string Origin);
