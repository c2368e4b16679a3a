using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>The second person of two-person work: sees what the worker sees, confirms steps, ends it. <clause>MIC 6.1(4)③</clause></summary>
[Authorize("privileged.witness"), Audited("privileged.witness")]
internal sealed class WatchModel(Store store, Permissions permissions, TwoPersonWork twoPerson, IConfirmation confirmation, SessionDirector director, Active<PrivilegedPolicy> policy, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Text { get; set; }
    [BindProperty(SupportsGet = true), StringLength(100)] public string? Confirmed { get; set; }
    /// <summary>Opens the stream of this page; null: not proven yet.</summary>
    public string? Seat { get; private set; }
    public PrivilegedSession Session { get; private set; } = null!;
    public string Plan { get; private set; } = "";
    public IReadOnlyList<StepCheck> Checks { get; private set; } = [];
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    private IReadOnlyDictionary<string, string> _names = new Dictionary<string, string>();
    public string Name(string person) => _names.GetValueOrDefault(person, person);
    public string WorkName => policy.Now.Work.GetValueOrDefault(Session.Work)?.Name ?? Session.Work;

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Find(id), ct) is not { Second: not null } session) return NotFound();
        if (!session.IsRunning) return Redirect($"/privileged/{id}");
        if (!TwoPersonWork.MayWatch(session, await permissions.OfAsync(work, PersonId.Of(User), ct))) return Forbid();
        Session = session;
        Checks = await work.AskAsync(TwoPersonWork.Checks(id), ct);
        if (session.Request is { } request) Plan = (await work.AskAsync(RequestDesk.Find(request), ct))?["plan"] ?? "";
        _names = await work.AskAsync(PeopleRegister.Names(Checks.Select(c => c.Person).Append(session.Person.Value), time.GetUtcNow()), ct);
        return Page();
    }

    public async Task<IActionResult> OnPostAsync(string id, CancellationToken ct)
    {
        if (await OnGetAsync(id, ct) is not PageResult page) return Session is null ? NotFound() : Forbid();
        Seat = await twoPerson.SitAsync(HttpContext, Session, Confirmed, ct);
        return Seat is not null ? page : Redirect(await confirmation.AskAsync(HttpContext, TwoPersonWork.Operation(Session), $"/privileged/{id}/watch", ct));
    }

    public async Task<IActionResult> OnPostCheckAsync(string id, CancellationToken ct)
    {
        var problem = await twoPerson.CheckAsync(id, PersonId.Of(User), Text, ct);
        (Succeeded, Message) = (problem is null, problem ?? "確認を記録しました。");
        if (problem is not null) Response.StatusCode = StatusCodes.Status422UnprocessableEntity;
        return await OnGetAsync(id, ct);
    }

    public async Task<IActionResult> OnPostEndAsync(string id, CancellationToken ct)
    {
        if (await OnGetAsync(id, ct) is not PageResult) return NotFound();
        if (Session.Second?.Present != PersonId.Of(User)) return Forbid();
        await director.EndAsync([Session], "privileged.revoked", LiveSession.Of(HttpContext));
        return Redirect($"/privileged/{id}");
    }
}
