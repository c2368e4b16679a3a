using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>One's own card: change its PIN, or say that it is lost. <clause>INA 第16-4, MIC 5.4(1)①(ウ)</clause></summary>
[Authorize, Audited("cards.mine")]
internal sealed class MineModel(Store store, CardChange change, SuspectedLeak leak, HistorySpool history, Active<CardsPolicy> policy, TimeProvider time) : PageModel
{
    public IReadOnlyList<Card> Cards { get; private set; } = [];
    public CardId Inserted => LiveSession.Of(HttpContext)!.Card;
    public string? Message { get; private set; }

    public async Task OnGetAsync(CancellationToken ct) => Cards = await store.AskAsync(CardRegister.MediaOfPerson(PersonId.Of(User)), ct);

    public async Task<IActionResult> OnPostAsync(string act, CardId? card, CancellationToken ct)
    {
        await OnGetAsync(ct);
        var session = LiveSession.Of(HttpContext)!;
        if (act == "change-pin" && Cards.FirstOrDefault(c => c.Id == session.Card) is { Kind: "piv-card" })
        {
            await using var work = await store.BeginAsync(ct);
            var id = CardWork.Open(work, "change-pin", null, session.Person, session.Card, session.Person, session.Terminal, new JsonObject());
            await work.CommitAsync(ct);
            return Redirect($"/cards/works/{id}?go");
        }
        // The PIN that somebody may know still sets another one, at the next sign-in and today only; it opens nothing before. <clause>MIC 5.4(3)④</clause>
        if (act == "leak" && Cards.FirstOrDefault(c => c.Id == card) is { Kind: "piv-card", Usable: true } known)
        {
            if (!await leak.RunAsync(session, "暗証番号", "cards.report-leak", async work => await CardRegister.RequireNewPinAsync(work, known.Id, time.GetUtcNow() + policy.Now.FirstPinLifetime)))
            {
                (Message, Response.StatusCode) = ("このカードは、届け出られる状態ではありません。", StatusCodes.Status409Conflict);
                return Page();
            }
            SessionCookie.Clear(Response);
            return Redirect("/?reported");
        }
        if (act != "lost" || Cards.FirstOrDefault(c => c.Id == card) is not { } own) return NotFound();
        Message = await CardChange.NarrowAsync(change, history, own.Id, "report-lost", "紛失届(本人)", session.Person, new Dictionary<string, string>()) ? "紛失を届け出ました。暗証番号管理者へ連絡してください。" : "このカードは、届け出られる状態ではありません。";
        await OnGetAsync(ct);
        return Page();
    }
}
