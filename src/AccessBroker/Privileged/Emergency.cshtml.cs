using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>Without prior approval: short, loud, reported afterwards. <clause>MIC 7.4(2)</clause></summary>
[Authorize("privileged.begin-emergency"), Audited("privileged.begin-emergency")]
internal sealed class EmergencyModel(Permissions permissions, StartSession start, IConfirmation confirmation, Active<PrivilegedPolicy> policy) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(100)] public string? Confirmed { get; set; }
    [BindProperty(SupportsGet = true), StringLength(64)] public string? Work { get; set; }
    [BindProperty, StringLength(400)] public string? Reason { get; set; }
    public IReadOnlyList<KeyValuePair<string, Work>> Offered { get; private set; } = [];
    public double Minutes => policy.Now.Emergency.Longest.TotalMinutes;
    public string? Message { get; private set; }

    public async Task OnGetAsync(CancellationToken ct)
    {
        Reason ??= await confirmation.DraftAsync(HttpContext, Confirmed, ct);
        Offered = (await permissions.OfAsync(User, ct)).Person is { IsContractor: false } person ? [.. policy.Now.Work.Where(w => w.Value.Emergency && person.Roles.Any(w.Value.Requesters.Contains))] : [];
    }

    public async Task<IActionResult> OnPostAsync(CancellationToken ct)
    {
        if (Reason?.Trim() is not { Length: >= 10 } reason || !FreeText.Fits(reason, lines: true)) (Message, Response.StatusCode) = ("いま承認を待てない理由を10文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else
            switch (await start.EmergencyAsync(HttpContext, Work ?? "", reason, Confirmed, ct))
            {
                case StartSession.Outcome.Started started: return Redirect($"/privileged/{started.Session}");
                case StartSession.Outcome.Unconfirmed unconfirmed: return Redirect(await confirmation.AskAsync(HttpContext, unconfirmed.Operation, $"/privileged/emergency?work={Uri.EscapeDataString(Work ?? "")}", ct, reason));
                case StartSession.Outcome.NotPermitted: return Forbid();
                case StartSession.Outcome.Problem problem: (Message, Response.StatusCode) = (problem.Sentence, StatusCodes.Status422UnprocessableEntity); break;
            }
        await OnGetAsync(ct);
        return Page();
    }
}
