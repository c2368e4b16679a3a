using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.FilePermissions;

/// <summary>The half-yearly review of grants, and the report of rights that nobody uses. <clause>MIC 6.2(1), MOJ 第5-4(4)</clause></summary>
[Authorize("files.read"), Audited("files.review")]
internal sealed class ReviewModel(Store store, Permissions permissions, FileReviews reviews, EndGrants end, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }
    [BindProperty] public long[] Grants { get; set; } = [];
    public IReadOnlyList<GrantLine> Rows { get; private set; } = [];
    public bool UnusedOnly { get; private set; }
    public bool MayReview { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    internal Subjects Names { get; private set; } = Subjects.None;
    public bool IsUnused(GrantLine line) => FileReviews.IsUnused(line, time.GetUtcNow());
    private IReadOnlySet<string> _own = new HashSet<string>();
    public bool IsOwn(GrantLine line) => FileReviews.IsOwn(line, _own);

    /// <param name="show">"unused": the report of unused rights; else what is due.</param>
    public async Task<IActionResult> OnGetAsync(string? show, string? format, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        (UnusedOnly, MayReview) = (show == "unused", may.Allows("files.review"));
        _own = await reviews.OwnAsync(work, PersonId.Of(User), ct);
        Rows = UnusedOnly ? await work.AskAsync(reviews.UnusedNow(), ct) : await reviews.DueAsync(work, may, ct);
        Names = await Subjects.OfAsync(work, Rows.SelectMany(r => new[] { r.Grant.Subject, r.RequestedBy, r.ReviewedBy ?? "" }), time.GetUtcNow(), ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, UnusedOnly ? "file-rights-unused" : "file-rights-due", ["番号", "場所", "相手", "できること", "開始", "終了", "理由", "最後の利用", "前回の見直し"],
            [.. Rows.Select(r => new[] { $"{r.Grant.Id}", r.Grant.Resource, Names.Subject(r.Grant.Subject), FileRequest.Words(r.Grant.Actions), JapaneseTime.Precise(r.Grant.From), JapaneseTime.Precise(r.Grant.Until), r.Reason, r.UsedAt is { } used ? JapaneseTime.Precise(used) : "", r.ReviewedAt is { } at ? JapaneseTime.Precise(at) : "" })], ct);
    }

    /// <param name="act">"keep" or "end".</param>
    public async Task<IActionResult> OnPostAsync(string act, string? show, CancellationToken ct)
    {
        var may = await permissions.OfAsync(User, ct);
        if (!may.Allows("files.review") || (act == "end" && !may.Allows("files.end-grant")))
        {
            await store.RecordAsync(new(act == "end" ? "files.end-grant" : "files.review", HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
            return Forbid();
        }
        if (Grants.Length is 0 or > 2000) (Message, Response.StatusCode) = ("許可を選んでください。", StatusCodes.Status422UnprocessableEntity);
        else if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) (Message, Response.StatusCode) = ("所見を2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else if (act == "end") (Succeeded, Message) = (true, await end.RunAsync(Grants, PersonId.Of(User), Reason.Trim()) > 0 ? "選んだ許可を終了しました。" : "この許可は、すでに終わっています。");
        else (Succeeded, Message) = (true, await reviews.KeepAsync(Grants, PersonId.Of(User), Reason.Trim(), ct) > 0 ? "選んだ許可の継続を記録しました。" : "続けられる許可はありませんでした(本人の許可は、ほかの人が見直します)。");
        return await OnGetAsync(show, null, ct);
    }
}
