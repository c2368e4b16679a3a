using AccessBroker.Database;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>While the agent works on a card: what is going on, and what became of it.</summary>
[Authorize]
internal sealed class WorkModel(Store store, BrokerOptions options) : PageModel
{
    public CardWork Work { get; private set; } = null!;
    /// <summary>Fresh from the button that asked for it: begun at once. A page that is loaded again waits for a press.</summary>
    public bool Auto => Work.State == "open" && Request.Query.ContainsKey("go");
    public string Agents => string.Join(' ', options.AgentOrigins);
    public string Back => Work.Request is { } request ? $"/cards/station?request={request}" : "/cards/mine";

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        if (LiveSession.Of(HttpContext) is not { } session || !Secret.Fits(id) || await store.AskAsync(CardWork.Find(id, session.Person, session.Terminal), ct) is not { } work) return NotFound();
        Work = work;
        return Page();
    }
}
