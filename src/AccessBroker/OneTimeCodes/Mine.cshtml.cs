using System.ComponentModel.DataAnnotations;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.OneTimeCodes;

/// <summary>One's own tokens, and the enrolment of an app: the seed as a picture and as text, once, then the first code. <clause>MIC 4.4注2</clause></summary>
[Authorize, Audited("one-time-codes.enrol")]
internal sealed class MineModel(Store store, EnrolToken enrol, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(12)] public string? Code { get; set; }
    [BindProperty, StringLength(100)] public string? Name { get; set; }

    public IReadOnlyList<(TokenRow Token, Card Card)> Tokens { get; private set; } = [];
    /// <summary>Why nothing can be enrolled now.</summary>
    public string? Problem { get; private set; }
    public bool MaySignInAgain => Problem?.Contains("サインイン", StringComparison.Ordinal) == true;
    public EnrolToken.Shown? Shown { get; private set; }
    /// <summary>A seed was shown and waits for its code.</summary>
    public bool IsWaiting { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    private ValidPerson? _person;

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var session = LiveSession.Of(HttpContext)!;
        var (tokens, media, person, card, pending) = (TokenRegister.OfPerson(session.Person), CardRegister.MediaOfPerson(session.Person), PeopleRegister.FindValid(session.Person, time.GetUtcNow()), CardRegister.Find(session.Card), TokenRegister.Pending(session.Person));
        await work.AskAsync(ct, tokens, media, person, card, pending);
        Tokens = [.. tokens.Answer.Join(media.Answer, t => t.Card, m => m.Id, (t, m) => (t, m))];
        (_person, IsWaiting, Problem) = (person.Answer, pending.Answer is not null, enrol.Problem(session, person.Answer, card.Answer));
    }

    public async Task<IActionResult> OnPostAsync(string act, CancellationToken ct)
    {
        await OnGetAsync(ct);
        var session = LiveSession.Of(HttpContext)!;
        if (Problem is not null)
        {
            await store.RecordAsync(new("one-time-codes.enrol", HistoryOutcome.Refused, "one-time-codes.may-not-enrol") { Person = session.Person, Terminal = session.Terminal, Session = session.Id }, time.GetUtcNow(), ct);
            Response.StatusCode = StatusCodes.Status403Forbidden;
            return Page();
        }
        if (act == "begin")
        {
            (Shown, IsWaiting) = (await enrol.BeginAsync(session, _person!, ct), true);
            return Page();
        }
        if (act != "confirm") return NotFound();
        if (await enrol.ConfirmAsync(session, OneTimeCodeRule.Typed(Code), Name, ct) is { } sentence) (Message, Response.StatusCode) = (sentence, StatusCodes.Status422UnprocessableEntity);
        else (Succeeded, Message) = (true, "登録しました。次のサインインから使えます。");
        await OnGetAsync(ct);
        return Page();
    }
}
