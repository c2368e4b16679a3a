using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>One privileged session: for whoever works in it, whoever watches over it, and whoever reviews it. <clause>MIC 6.1(4), 7.1注2</clause></summary>
[Authorize, Audited("privileged.show")]
internal sealed class ShowModel(Store store, Permissions permissions, SessionDirector director, ConnectSession connect, FinishSession finish, Exports exports, Active<PrivilegedPolicy> policy, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(4000)] public string? Text { get; set; }
    /// <summary>The reviewer has found something that is not right; null: not said.</summary>
    [BindProperty] public bool? Concern { get; set; }
    public PrivilegedSession Session { get; private set; } = null!;
    public bool IsMine { get; private set; }
    public bool MayEnd { get; private set; }
    public bool MayReview { get; private set; }
    public bool MayClose { get; private set; }
    /// <summary>Something that was signed can be taken along.</summary>
    public bool IsSigned { get; private set; }
    public bool MayWatch { get; private set; }
    /// <summary>What was asked for and approved: whoever works, watches or reviews has it beside what was done. Null: an emergency.</summary>
    public Request? Asked { get; private set; }
    public IReadOnlyList<StepCheck> Checks { get; private set; } = [];
    /// <summary>Shown once, in the answer that made it.</summary>
    public string? Code { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    private LiveSession By => LiveSession.Of(HttpContext)!;
    private IReadOnlyDictionary<string, string> _names = new Dictionary<string, string>();
    public string Name(string person) => _names.GetValueOrDefault(person, person);
    public string WorkName => policy.Now.Work.GetValueOrDefault(Session.Work)?.Name ?? Session.Work;
    public string TargetName => policy.Now.Targets.GetValueOrDefault(Session.Target)?.Name ?? Session.Target;
    public string Path => policy.Now.Work.GetValueOrDefault(Session.Work)?.Path ?? "";

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Find(id), ct) is not { } session) return NotFound();
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        IsMine = session.Person == PersonId.Of(User);
        MayWatch = TwoPersonWork.MayWatch(session, may);
        if (!IsMine && !MayWatch && !may.Allows("privileged.read-all")) return await RefuseAsync(session, "privileged.show", ct);
        Session = session;
        MayEnd = session.State is "opening" or "open" && (IsMine || may.Allows("privileged.end-any"));
        MayReview = session.Result is not null && session.ReviewedAt is null && FinishSession.MayReview(session, may);
        MayClose = FinishSession.MayClose(session, may);
        Asked = session.Request is { } request ? await work.AskAsync(RequestDesk.Find(request), ct) : null;
        IsSigned = session.Request is not null || await work.AskAsync(Question.Any($"select from privileged.signatures where session = {id}"), ct);
        if (session.Second is not null) Checks = await work.AskAsync(TwoPersonWork.Checks(id), ct);
        _names = await work.AskAsync(PeopleRegister.Names(session.Approvers.Concat(session.Second?.Witnesses ?? []).Append(session.Second?.Present?.Value ?? "").Append(session.Person.Value).Append(session.ReviewedBy ?? "").Append(session.Closed?.By ?? ""), time.GetUtcNow()), ct);
        return Page();
    }

    /// <summary>What its approvers and whoever began it signed, for whoever may see it. <clause>MIC 6.2(1)③(オ)</clause></summary>
    public async Task<IActionResult> OnGetSignaturesAsync(string id, CancellationToken ct)
    {
        if (await OnGetAsync(id, ct) is not PageResult) return Session is null ? NotFound() : Forbid();
        await using var work = await store.ReadAsync(ct);
        List<SignedApproval> signed = [.. Session.Request is { } request ? await work.AskAsync(ApprovalSignatures.Of(request), ct) : [], .. await work.AskAsync(PrivilegedStore.StartOf(id), ct)];
        return signed.Count == 0 ? NotFound() : await exports.FileAsync(HttpContext, $"{id}-signatures", signed.Count, SignatureFile.Write(signed), "application/zip", "zip", ct);
    }

    /// <summary>For the page's script: has anything changed.</summary>
    public async Task<IActionResult> OnGetStateAsync(string id, CancellationToken ct) => await OnGetAsync(id, ct) is PageResult ? new JsonResult(new { state = Session.State, second = SecondNow(Session) }) : Session is null ? NotFound() : Forbid();

    internal static string SecondNow(PrivilegedSession session) => session.Second is { } second ? $"{second.Present?.Value} {second.HeldAt is null}" : "";

    public Task<IActionResult> OnPostEndAsync(string id, CancellationToken ct)
    {
        var asked = time.GetUtcNow();
        return ActAsync(id, async session => MayEnd ? await director.EndAsync([session], "privileged.revoked", By, decided: asked) > 0 ? null : "この作業は、すでに終わっています。" : "", "終わらせました。", ct);
    }

    public Task<IActionResult> OnPostCodeAsync(string id, CancellationToken ct) => ActAsync(id, async session =>
        !IsMine ? "" : session.Second is { Present: null } ? "二人作業です。立会人が見ている間だけ接続できます。" : (Code = await connect.MakeCodeAsync(session, ct)) is null ? "この作業は、実施中ではありません。" : null, null, ct);

    public Task<IActionResult> OnPostResultAsync(string id, CancellationToken ct) => ActAsync(id, _ => finish.ReportAsync(id, PersonId.Of(User), Text, ct), "結果を記録しました。ほかの人が確認します。", ct);

    public Task<IActionResult> OnPostCloseAsync(string id, CancellationToken ct) => ActAsync(id, _ => finish.CloseAsync(id, By, Text, ct), "閉じました。", ct);

    public Task<IActionResult> OnPostReviewAsync(string id, CancellationToken ct) => ActAsync(id, _ => finish.ReviewAsync(id, By, Text, Concern, ct), "確認を記録しました。", ct);

    /// <param name="act">Null: done; empty: not permitted; else the sentence that says why not.</param>
    private async Task<IActionResult> ActAsync(string id, Func<PrivilegedSession, Task<string?>> act, string? done, CancellationToken ct)
    {
        if (await OnGetAsync(id, ct) is not PageResult) return Session is null ? NotFound() : Forbid();
        var problem = await act(Session);
        if (problem is "") return await RefuseAsync(Session, "privileged.act", ct);
        (Succeeded, Message) = (problem is null, problem ?? done);
        if (problem is not null) Response.StatusCode = StatusCodes.Status422UnprocessableEntity;
        // What was typed stays until it has counted.
        else (Text, Concern) = (null, null);
        return await OnGetAsync(id, ct);
    }

    private async Task<IActionResult> RefuseAsync(PrivilegedSession session, string operation, CancellationToken ct)
    {
        await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["privileged"] = session.Id } }, time.GetUtcNow(), ct);
        return Forbid();
    }
}
