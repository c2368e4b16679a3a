using System.ComponentModel.DataAnnotations;
using System.Text.Json.Nodes;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>The issuing station for one request: make the card, hand it over; or set a PIN anew. <clause>INA 第7-1</clause></summary>
[Authorize("cards.use-station"), Audited("cards.use-station")]
internal sealed class StationModel(Store store, RequestDesk desk, Active<CardsPolicy> policy, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(1000)] public string? Unavoidable { get; set; }
    [BindProperty, StringLength(40)] public string? Identity { get; set; }
    [BindProperty] public bool Slip { get; set; }

    public Request Asked { get; private set; } = null!;
    public string Title { get; private set; } = "";
    public string HolderName { get; private set; } = "";
    public Card? Made { get; private set; }
    /// <summary>make, hand-over, unblock or done.</summary>
    public string Next { get; private set; } = "";
    public string? HandOverProblem { get; private set; }
    /// <summary>What the holder still needs to use the card.</summary>
    public (string Sentence, string Url)? Hint { get; private set; }
    public string? Message { get; private set; }
    public bool Blocked { get; private set; }

    public async Task<IActionResult> OnGetAsync([FromQuery(Name = "request")] long request, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        return await LoadAsync(work, request, ct) ? Page() : NotFound();
    }

    public async Task<IActionResult> OnPostAsync([FromQuery(Name = "request")] long request, string act, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (!await LoadAsync(work, request, ct)) return NotFound();
        var session = LiveSession.Of(HttpContext)!;
        if (act != Next) return StatusCode(StatusCodes.Status409Conflict);
        var (refusal, open) = await desk.BeginExecutionAsync(work, session.Person, request, Unavoidable, ct);
        if (open is null) return Refused(refusal!);
        if (act == "hand-over" && (HandOverProblem is not null || IdentityCheck.Choices.All(i => i.Value != Identity)))
        {
            (Message, Response.StatusCode) = (HandOverProblem ?? "本人確認の方法を選んでください。", StatusCodes.Status422UnprocessableEntity);
            return Page();
        }
        var data = new JsonObject();
        if (act == "make")
        {
            if (open.Kind == "cards.temporary") data["temporary"] = TonightOf(time.GetUtcNow()).ToString("O");
            if (CardRequest.Replaced(open) is { } old) data["replaces"] = old.Value;
        }
        else (data["identity"], data["slip"]) = (Identity ?? open["identity"], Slip ? true : null);
        var id = CardWork.Open(work, act switch { "make" => "personalise", "hand-over" => "hand-over", _ => "unblock" }, request, open.Subject!.Value, act == "make" ? null : Made!.Id, session.Person, session.Terminal, data);
        work.Record(new("cards.use-station", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Card = Made?.Id, Details = new Dictionary<string, string> { ["act"] = act, ["request"] = $"{request}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Redirect($"/cards/works/{id}?go");
    }

    private IActionResult Refused(RequestDesk.Outcome refusal)
    {
        switch (refusal)
        {
            case RequestDesk.Outcome.NotPermitted: return Forbid();
            case RequestDesk.Outcome.Separated separated:
                (Message, Response.StatusCode, Blocked) = (string.Concat(separated.Rules.Select(Separation.Sentence)), StatusCodes.Status403Forbidden, separated.MayBeUnavoidable);
                return Page();
            case RequestDesk.Outcome.Problem problem: (Message, Response.StatusCode) = (problem.Sentence, StatusCodes.Status422UnprocessableEntity); return Page();
            default: (Message, Response.StatusCode) = ("この申請は、すでに処理されたか、この操作ができない状態です。", StatusCodes.Status409Conflict); return Page();
        }
    }

    /// <summary>Today's end of work; tomorrow's when that is over already.</summary>
    private DateTimeOffset TonightOf(DateTimeOffset now) => JapaneseTime.StartOf(JapaneseTime.DayOf(now)).Add(policy.Now.TemporaryEnd.ToTimeSpan()) is var end && end > now ? end : JapaneseTime.EndOf(JapaneseTime.DayOf(now));

    private async Task<bool> LoadAsync(UnitOfWork work, long id, CancellationToken ct)
    {
        if (await work.AskAsync(RequestDesk.Find(id), ct) is not { } request || desk.Kind(request.Kind) is not { } kind || kind.ExecutedAt(request) is null || request.Subject is not { } person) return false;
        (Asked, Title) = (request, kind.Title);
        HolderName = (await work.AskAsync(PeopleRegister.Find(person, time.GetUtcNow()), ct))?.Name ?? person.Value;
        if (request.Kind == "cards.unblock") Made = CardId.TryParse(request["card"], null, out var card) ? await work.AskAsync(CardRegister.Find(card), ct) : null;
        else Made = (await work.AskAsync(CardRegister.OfPerson(person), ct)).Find(c => c.Request == id && c.State is "personalised" or "handed-over");
        Next = !request.IsPending ? "done" : request.Kind == "cards.unblock" ? "unblock" : Made is null ? "make" : "hand-over";
        Hint = await kind.HintAsync(work, request, ct);
        if (Next == "hand-over") HandOverProblem = await CardRequest.HandOverProblemAsync(work, request, person, time.GetUtcNow(), ct);
        return true;
    }
}
