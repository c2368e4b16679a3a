using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Passwords;

/// <summary>The PIN manager makes a temporary password and hands it over: it is shown once, to be written down or printed. <clause>MIC 5.4(3)⑥</clause></summary>
[Authorize("passwords.execute-reset"), Audited("passwords.issue")]
internal sealed class IssueModel(Store store, RequestDesk desk, LiveSessions sessions, Active<PasswordsPolicy> policy, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(40)] public string? Identity { get; set; }
    [BindProperty, StringLength(1000)] public string? Unavoidable { get; set; }

    public Request Asked { get; private set; } = null!;
    public string HolderName { get; private set; } = "";
    /// <summary>The value, in this one answer only.</summary>
    public string? Made { get; private set; }
    public DateTimeOffset Until { get; private set; }
    public string? Message { get; private set; }
    public bool Blocked { get; private set; }

    public async Task<IActionResult> OnGetAsync([FromQuery(Name = "request")] long request, CancellationToken ct) => await LoadAsync(request, ct) ? Page() : NotFound();

    public async Task<IActionResult> OnPostAsync([FromQuery(Name = "request")] long request, CancellationToken ct)
    {
        if (!await LoadAsync(request, ct)) return NotFound();
        if (IdentityCheck.Choices.All(i => i.Value != Identity)) return Problem("本人確認の方法を選んでください。", StatusCodes.Status422UnprocessableEntity);
        var (value, hash) = await SetPassword.MakeTemporaryAsync(ct);
        var (by, person, now) = (LiveSession.Of(HttpContext)!, Asked.Subject!.Value, time.GetUtcNow());
        await using var work = await store.BeginAsync(ct);
        var (refusal, open) = await desk.BeginExecutionAsync(work, by.Person, request, Unavoidable, ct);
        switch (refusal)
        {
            case RequestDesk.Outcome.NotPermitted: return Forbid();
            case RequestDesk.Outcome.Separated separated:
                Blocked = separated.MayBeUnavoidable;
                return Problem(string.Concat(separated.Rules.Select(Separation.Sentence)), StatusCodes.Status403Forbidden);
            case RequestDesk.Outcome.Problem problem: return Problem(problem.Sentence, StatusCodes.Status422UnprocessableEntity);
            case not null: return Problem("この申請は、すでに処理されたか、この操作ができない状態です。", StatusCodes.Status409Conflict);
        }
        if (await desk.CompleteAsync(work, open!, by.Person, Identity!, ct) is { } sentence) return Problem(sentence, StatusCodes.Status422UnprocessableEntity);
        var before = await work.AskAsync(PasswordStore.Find(person), ct);
        if (!await PasswordStore.SetAsync(work, person, before?.Hash, hash, now + policy.Now.TemporaryLifetime, policy.Now.History, now, ct)) return Problem("パスワードが同時に変更されました。もう一度発行してください。", StatusCodes.Status409Conflict);
        // What the old one opened ends with it.
        foreach (var one in await sessions.EndWithinAsync(work, SessionFilter.OfPerson(person), "sessions.password-reset")) work.Record(one.Event, one.At);
        work.Notify([person], "仮パスワードが発行されました", "頼んでいないときは、直ちに情報セキュリティ管理者へ連絡してください。", "/password", now);
        work.Record(new("passwords.issue", HistoryOutcome.Done) { Person = by.Person, Terminal = by.Terminal, Session = by.Id, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["request"] = $"{request}", ["identity"] = Identity! } }, now);
        await work.CommitAsync(ct);
        (Made, Until) = (value, now + policy.Now.TemporaryLifetime);
        return Page();
    }

    private PageResult Problem(string sentence, int status)
    {
        (Message, Response.StatusCode) = (sentence, status);
        return Page();
    }

    private async Task<bool> LoadAsync(long id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (await work.AskAsync(RequestDesk.Find(id), ct) is not { Kind: "passwords.reset" } request || request.Subject is not { } person) return false;
        (Asked, HolderName) = (request, (await work.AskAsync(PeopleRegister.Find(person, time.GetUtcNow()), ct))?.Name ?? person.Value);
        return true;
    }
}
