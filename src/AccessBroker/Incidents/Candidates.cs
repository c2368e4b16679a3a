using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;

namespace AccessBroker.Incidents;

/// <summary>Something that may be an incident, with a provisional level. <clause>TAG 第3章1(A)</clause></summary>
public sealed record Candidate(long Id, string Kind, int Level, string Subject, DateTimeOffset At, string? Terminal, string? Person, string? ReportedBy, IReadOnlyDictionary<string, string> Items, string? ClosedBy, DateTimeOffset? ClosedAt, string? Finding);

/// <summary>Raises candidates and tells the incident leads; a person judges each. <clause>MOJ 第5-9(3)</clause></summary>
public sealed class Candidates(Permissions permissions, TimeProvider time)
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Raises one in the caller's unit of work; the same kind and subject once an hour only. <paramref name="level"/>: 1 to 3, provisional.
    /// </summary>
    public async Task RaiseAsync(UnitOfWork work, string kind, int level, string subject, TerminalId? terminal, PersonId? person, PersonId? reportedBy, IReadOnlyDictionary<string, string> items, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        if (reportedBy is null && await work.AskAsync(Question.Any($"select 1 from incidents.candidates where kind = {kind} and subject = {subject} and at > {now.AddHours(-1)}"), ct)) return;
        work.Write($"""
            insert into incidents.candidates (kind, level, subject, at, terminal, person, reported_by, items) values ({kind}, {level}, {subject}, {now}, {terminal}, {person}, {reportedBy}, {JsonSerializer.Serialize(items, Format):json})
            """);
        work.Record(new("incidents.raise", HistoryOutcome.Done) { Person = reportedBy ?? person, Terminal = terminal, Details = new Dictionary<string, string> { ["kind"] = kind, ["level"] = $"{level}", ["subject"] = subject } }, now);
        var leads = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("incidents.judge"), now), ct);
        work.Notify(leads.Select(l => l.Id), $"確認が必要な事象: {KindName(kind)}", $"暫定レベル {level}。{subject}", "/incidents", now);
    }

    /// <summary>The open ones, or all; newest first.</summary>
    internal static Question<List<Candidate>> All(bool open) => Question.All($"""
        select id, kind, level, subject, at, terminal, person, reported_by, items, closed_by, closed_at, finding from incidents.candidates where {!open} or closed_at is null order by closed_at is not null, id desc limit 500
        """, r => new Candidate(r.GetInt64(0), r.GetString(1), r.GetInt32(2), r.GetString(3), r.GetFieldValue<DateTimeOffset>(4), Text(r, 5), Text(r, 6), Text(r, 7), JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(8))!, Text(r, 9), r.IsDBNull(10) ? null : r.GetFieldValue<DateTimeOffset>(10), Text(r, 11)));

    private static string? Text(Npgsql.NpgsqlDataReader r, int column) => r.IsDBNull(column) ? null : r.GetString(column);

    internal static string KindName(string kind) => kind switch
    {
        "many-operators-at-a-terminal" => "一つの端末で多くの人が失敗",
        "operator-at-many-terminals" => "一人が多くの端末で失敗",
        "not-me" => "身に覚えがないとの届出",
        "cloned-key" => "複製の疑いがあるパスキー",
        "suspected-leak" => "暗証番号・パスワードの漏えいの疑い",
        "unusable-card" => "使えないはずのカードの使用",
        _ => kind,
    };
}

/// <summary>Candidates that wait for a judgement.</summary>
internal sealed class IncidentTasks : ITaskSource
{
    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct) => !may.Allows("incidents.judge") ? []
        : (await work.AskAsync(Candidates.All(open: true), ct)).Where(c => c.Person != may.Person!.Id.Value && c.ReportedBy != may.Person.Id.Value).Select(c => new WaitingTask("事象の確認", $"{Candidates.KindName(c.Kind)} — {c.Subject}", $"/incidents#candidate-{c.Id}", c.At.AddDays(1)));
}

internal static class IncidentsSlice
{
    internal static void AddIncidents(this IServiceCollection services) => services.AddSingleton<Candidates>().AddSingleton<ITaskSource, IncidentTasks>()
        .AddSingleton(new Web.MenuEntry("確認が必要な事象", "/incidents", 50, ["incidents.judge", "incidents.read"]));
}
