using System.ComponentModel.DataAnnotations;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Passwords;

/// <summary>One's own password: set it, change it, say that somebody may know it. Nobody ever reads one. <clause>MIC 5.4(3)①②④</clause></summary>
[Authorize, Audited("passwords.set")]
internal sealed class MineModel(Store store, SetPassword set, SuspectedLeak leak, Active<PasswordsPolicy> policy, Active<AssurancePolicy> assurance, BrokerOptions options, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(512)] public string? New { get; set; }
    [BindProperty, StringLength(512)] public string? Again { get; set; }

    public StoredPassword? Current { get; private set; }
    /// <summary>Why none can be set now.</summary>
    public string? Problem { get; private set; }
    public bool MaySignInAgain => Problem?.Contains("サインイン", StringComparison.Ordinal) == true;
    public int MinLength => policy.Now.MinLength;
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var session = LiveSession.Of(HttpContext)!;
        var (current, person) = (PasswordStore.Find(session.Person), PeopleRegister.FindValid(session.Person, time.GetUtcNow()));
        await work.AskAsync(ct, current, person);
        (Current, Problem) = (current.Answer, ProblemOf(session, person.Answer));
    }

    /// <clause>MIC 6.2(1)注1</clause>
    private string? ProblemOf(LiveSession session, ValidPerson? person) =>
        SelfService.Problem(session, person, ResetPasswordKind.NotHereOf(assurance.Now, options), policy.Now.ChangeAfterSignIn, strong: false, time.GetUtcNow());

    public async Task<IActionResult> OnPostAsync(string act, CancellationToken ct)
    {
        await OnGetAsync(ct);
        var session = LiveSession.Of(HttpContext)!;
        if (act == "leak")
        {
            if (!await leak.RunAsync(session, "パスワード", "passwords.report-leak", async work => await PasswordStore.RetireAsync(work, session.Person, time.GetUtcNow(), CancellationToken.None))) return NotFound();
            SessionCookie.Clear(Response);
            return Redirect("/?reported");
        }
        if (act != "set") return NotFound();
        var (made, problem) = Problem is { } why ? (null, why) : New != Again ? (null, "二つの入力が違います。") : await set.PrepareAsync(store, session.Person, New ?? "", ct);
        if (made is not null)
        {
            await using var work = await store.BeginAsync(ct);
            if (await set.SetAsync(work, session.Person, made, ct))
            {
                work.Notify([session.Person], "パスワードを設定しました", "心当たりがないときは、直ちに「自分のパスワード」で漏えいの疑いを届け出てください。", "/password", time.GetUtcNow());
                work.Record(Event(session, HistoryOutcome.Done, ""), time.GetUtcNow());
                await work.CommitAsync(ct);
                (Succeeded, Message) = (true, "設定しました。");
            }
            else problem = "パスワードが同時に変更されました。もう一度設定してください。";
        }
        if (!Succeeded)
        {
            await store.RecordAsync(Event(session, HistoryOutcome.Refused, "passwords.refused"), time.GetUtcNow(), ct);
            (Message, Response.StatusCode) = (problem, StatusCodes.Status422UnprocessableEntity);
        }
        await OnGetAsync(ct);
        return Page();
    }

    private static HistoryEvent Event(LiveSession session, HistoryOutcome outcome, string reason) => new("passwords.set", outcome, reason) { Person = session.Person, Terminal = session.Terminal, Session = session.Id };
}
