using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Sessions;

/// <summary>Who sat at a terminal on a day, from when to when. <clause>INA 第20</clause></summary>
[Authorize("terminals.read"), Audited("sessions.read-usage")]
internal sealed class UsageModel(Store store, Exports exports, TimeProvider time) : PageModel
{
    internal sealed record Row(string Person, DateTimeOffset From, DateTimeOffset? Until, string? Reason);

    [BindProperty(SupportsGet = true)] public DateOnly? Day { get; set; }
    public Terminal Terminal { get; private set; } = null!;
    public DateOnly Shown { get; private set; }
    public IReadOnlyList<Row> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();

    public async Task<IActionResult> OnGetAsync(TerminalId id, string? format, CancellationToken ct)
    {
        Shown = Day ?? JapaneseTime.DayOf(time.GetUtcNow());
        var (from, until) = (JapaneseTime.StartOf(Shown), JapaneseTime.EndOf(Shown));
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(TerminalRegister.Find(id), ct) is not { } terminal) return NotFound();
        Terminal = terminal;
        Rows = await work.QueryAsync($"""
            select person, started_at, ended_at, end_reason from sessions.sessions where terminal = {id} and started_at < {until} and (ended_at is null or ended_at >= {from}) order by started_at
            """, r => new Row(r.GetString(0), r.GetFieldValue<DateTimeOffset>(1), r.IsDBNull(2) ? null : r.GetFieldValue<DateTimeOffset>(2), r.IsDBNull(3) ? null : r.GetString(3)), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.Select(r => r.Person), from), ct);
        work.Record(new("sessions.read-usage", HistoryOutcome.Done) { Person = PersonId.Of(User), Terminal = id, Details = new Dictionary<string, string> { ["day"] = $"{Shown:yyyy-MM-dd}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        if (format != "csv") return Page();
        return await exports.CsvAsync(HttpContext, $"usage-{id}", ["利用者", "開始", "終了", "終わった理由"], [.. Rows.Select(r => new[] { $"{Names.GetValueOrDefault(r.Person, "")} ({r.Person})", JapaneseTime.Precise(r.From), r.Until is { } end ? JapaneseTime.Precise(end) : "", ReasonName(r.Reason) })], ct);
    }

    internal static string ReasonName(string? reason) => reason switch
    {
        null => "利用中",
        "sessions.card-removed" => "カードを抜いた",
        "sessions.signed-out" => "サインアウト",
        "sessions.idle-time-out" => "操作がなく時間切れ",
        "sessions.absolute-time-out" => "利用時間の上限",
        "sessions.lease-lost" or "sessions.agent-restarted" or "sessions.reader-lost" => "端末との通信が切れた",
        "sessions.replaced" => "別の人がサインイン",
        "sessions.card-lost" => "カードの紛失届",
        "sessions.card-revoked" => "カードの取消",
        "sessions.person-suspended" => "権限の停止",
        "sessions.person-not-valid" => "在籍・役職の終了",
        "sessions.grant-ended" => "利用許可の終了",
        "sessions.card-not-usable" => "カードの期限",
        "sessions.policy-changed" => "方針の変更",
        "sessions.terminal-isolated" => "端末の切離し",
        "sessions.terminal-lost" => "端末の紛失",
        "sessions.terminal-disabled" => "端末の利用停止",
        _ => reason,
    };
}
