using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.FilePermissions;

/// <summary>Bulk updates under way, and what a lost one left hidden. <clause>MOJ 第5-8(2)ア</clause></summary>
[Authorize("files.read"), Audited("files.end-batch")]
internal sealed class BatchesModel(Store store, Permissions permissions, FileBatches batches, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }
    public IReadOnlyList<FileBatch> Rows { get; private set; } = [];
    public bool MayEnd { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public bool IsOverdue(FileBatch batch) => batch.DueAt < time.GetUtcNow();

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        MayEnd = (await permissions.OfAsync(work, PersonId.Of(User), ct)).Allows("files.end-batch");
        Rows = await work.AskAsync(FileBatches.Open(overdue: false, time.GetUtcNow()), ct);
    }

    public async Task<IActionResult> OnPostAsync(long batch, CancellationToken ct)
    {
        if (!(await permissions.OfAsync(User, ct)).Allows("files.end-batch"))
        {
            await store.RecordAsync(new("files.end-batch", HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
            return Forbid();
        }
        if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) (Message, Response.StatusCode) = ("確かめたことを2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else if (await batches.ReleaseAsync(batch, PersonId.Of(User), Reason.Trim(), ct)) (Succeeded, Message) = (true, "解除しました。この場所は、また使えます。");
        else (Message, Response.StatusCode) = ("この一括処理は、すでに終わっています。", StatusCodes.Status409Conflict);
        await OnGetAsync(ct);
        return Page();
    }
}
