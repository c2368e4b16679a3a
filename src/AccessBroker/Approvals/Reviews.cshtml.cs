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

namespace AccessBroker.Approvals;

/// <summary>The queue of exceptions: what was set aside, why, and what somebody independent found. <clause>MIC 7.1注2</clause></summary>
[Authorize("approvals.read-reviews"), Audited("approvals.review")]
internal sealed class ReviewsModel(Store store, ReviewException review, Permissions permissions, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(1000)] public string? Finding { get; set; }
    public IReadOnlyList<SetAside> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public bool MayReview { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public string Name(string? id) => id is null ? "" : Names.GetValueOrDefault(id, id);
    public bool IsInvolved(SetAside row) => row.InvolvedPeople.Contains(PersonId.Of(User).Value);

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await LoadAsync(ct);
        if (format != "csv") return Page();
        return await exports.CsvAsync(HttpContext, "exceptions", ["番号", "規則", "行為", "行った人", "対象", "理由", "日時", "確認の期限", "確認した人", "所見"],
            [.. Rows.Select(r => new[] { $"{r.Id}", r.Rules, r.Act, Name(r.By), r.About, r.Reason, JapaneseTime.Precise(r.At), JapaneseTime.Precise(r.ReviewBy), Name(r.ReviewedBy), r.Finding ?? "" })], ct);
    }

    public async Task<IActionResult> OnPostAsync(long exception, CancellationToken ct)
    {
        var outcome = await review.RunAsync(PersonId.Of(User), exception, Finding ?? "", ct);
        if (outcome == ReviewException.Outcome.NotFound) return NotFound();
        if (outcome == ReviewException.Outcome.NotPermitted) return Forbid();
        (Succeeded, Message, Response.StatusCode) = outcome switch
        {
            ReviewException.Outcome.Reviewed => (true, "確認を記録しました。", StatusCodes.Status200OK),
            ReviewException.Outcome.Involved => (false, "関わった方は、その確認ができません。", StatusCodes.Status403Forbidden),
            ReviewException.Outcome.ReviewedAlready => (false, "すでに確認されています。", StatusCodes.Status409Conflict),
            _ => (false, "所見を2〜1000文字で書いてください。", StatusCodes.Status422UnprocessableEntity),
        };
        await LoadAsync(ct);
        return Page();
    }

    private async Task LoadAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        MayReview = (await permissions.OfAsync(work, PersonId.Of(User), ct)).Allows("approvals.review");
        Rows = await work.AskAsync(RequestStore.Exceptions(open: false), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.SelectMany(r => new[] { r.By, r.ReviewedBy ?? "" }), time.GetUtcNow()), ct);
    }
}
