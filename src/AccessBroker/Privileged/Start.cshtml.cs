using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>The last look before approved work begins, and the button. <clause>MIC 6.2(6)</clause></summary>
[Authorize("privileged.execute-session"), Audited("privileged.start")]
internal sealed class StartModel(Store store, StartSession start, IConfirmation confirmation, Active<PrivilegedPolicy> policy) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(100)] public string? Confirmed { get; set; }
    public Request Asked { get; private set; } = null!;
    public Work Rules { get; private set; } = null!;
    public string TargetName => policy.Now.Targets[Rules.Target].Name;
    public DateTimeOffset? StartBy => start.StartBy(Asked);
    public string? Message { get; private set; }

    public async Task<IActionResult> OnGetAsync(long id, CancellationToken ct)
    {
        if (await store.AskAsync(RequestDesk.Find(id), ct) is not { Kind: "privileged.session" } request || request.RequestedBy != PersonId.Of(User) || !policy.Now.Work.TryGetValue(request["work"], out var rules)) return NotFound();
        (Asked, Rules) = (request, rules);
        return Page();
    }

    public async Task<IActionResult> OnPostAsync(long id, CancellationToken ct)
    {
        switch (await start.RunAsync(HttpContext, id, Confirmed, ct))
        {
            case StartSession.Outcome.Started started: return Redirect($"/privileged/{started.Session}");
            case StartSession.Outcome.Unconfirmed unconfirmed: return Redirect(await confirmation.AskAsync(HttpContext, unconfirmed.Operation, $"/privileged/start/{id}", ct));
            case StartSession.Outcome.NotPermitted: return Forbid();
            case StartSession.Outcome.Problem problem: (Message, Response.StatusCode) = (problem.Sentence, StatusCodes.Status422UnprocessableEntity); break;
        }
        return await OnGetAsync(id, ct);
    }
}
