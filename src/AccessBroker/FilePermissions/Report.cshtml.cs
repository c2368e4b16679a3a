using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.FilePermissions;

/// <summary>Everybody who used a file, or anything in a folder, in a period, from the history itself; looking is an operation too. <clause>MIC 2(2)①, INA 第20-1</clause></summary>
[Authorize("files.read-report"), Audited("files.read-report")]
internal sealed class ReportModel(Store store, Exports exports, TimeProvider time) : PageModel
{
    /// <summary>Ours: the newest 500 events are listed; the sums count all.</summary>
    internal const int MostEvents = 500;

    public string? Path { get; private set; }
    public DateOnly From { get; private set; }
    public DateOnly Until { get; private set; }
    public string? Problem { get; private set; }
    public IReadOnlyList<PathUse> Uses { get; private set; } = [];
    public IReadOnlyList<PathEvent> Events { get; private set; } = [];
    internal Subjects Names { get; private set; } = Subjects.None;

    internal static string Operation(string operation) => operation switch
    {
        "files.read" => "閲覧",
        "files.write" => "更新",
        "files.print" => "印刷",
        "files.export" => "持出し",
        "files.delete" => "削除",
        "files.cut" => "転送の打切り",
        "files.list" => "一覧",
        "files.add-grant" => "許可・拒否の登録",
        "files.end-grant" => "許可の終了",
        "files.review" => "許可の見直し",
        "files.set-class" => "登録・格付",
        "files.begin-batch" => "一括処理の開始",
        "files.commit-batch" => "一括処理の確定",
        "files.end-batch" => "一括処理の解除",
        "files.alert-batch" => "一括処理の遅れ",
        "files.read-report" => "この報告の閲覧",
        _ => operation,
    };
    internal static string Outcome(string outcome) => outcome switch { "done" => "実施", "refused" => "拒否", _ => "終了" };

    /// <summary>Days that a history can have.</summary>
    private static DateOnly Within(DateOnly day) => day.Year < 2000 ? new(2000, 1, 1) : day.Year > 2200 ? new(2200, 1, 1) : day;

    public async Task<IActionResult> OnGetAsync([StringLength(1000)] string? path, DateOnly? from, DateOnly? until, string? format, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        Until = Within(until ?? JapaneseTime.DayOf(now));
        From = Within(from ?? Until.AddMonths(-1));
        if (string.IsNullOrWhiteSpace(path)) return Page();
        if (FilePath.Parse(path.Trim()) is not { } canonical) { Problem = FileRequest.BadPath; return Page(); }
        if (Until < From || Until > From.AddYears(8)) { Problem = "期間を確かめてください。"; return Page(); }
        Path = canonical;
        var (start, end) = (JapaneseTime.StartOf(From), JapaneseTime.EndOf(Until));
        await using var work = await store.BeginAsync(ct);
        var (uses, events) = (HistoryLog.UsesOf(canonical, start, end), HistoryLog.EventsOf(canonical, start, end, MostEvents));
        await work.AskAsync(ct, uses, events);
        (Uses, Events) = (uses.Answer, events.Answer);
        Names = await Subjects.OfAsync(work, Uses.Select(u => u.Person).Distinct(), now, ct);
        work.Record(new("files.read-report", HistoryOutcome.Done) { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["path"] = canonical, ["from"] = $"{From:yyyy-MM-dd}", ["until"] = $"{Until:yyyy-MM-dd}" } }, now);
        await work.CommitAsync(ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "file-report", ["職員番号・ID", "氏名", "操作", "結果", "回数", "ファイル数", "最初", "最後"],
            [.. Uses.Select(u => new[] { u.Person, Names.Person(u.Person), Operation(u.Operation), Outcome(u.Outcome), $"{u.Count}", $"{u.Paths}", JapaneseTime.Precise(u.First), JapaneseTime.Precise(u.Last) })], ct);
    }
}
