using System.Security.Claims;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>The first page of the console: who is here, and what this person may do.</summary>
internal sealed class HomeModel(Store store, IAuthorizationService authorization, TimeProvider time) : PageModel
{
    public string? Name { get; private set; }
    public string TerminalName { get; private set; } = "";
    public IReadOnlyList<HeldPost> Posts { get; private set; } = [];
    public bool MayReadHistory { get; private set; }
    public bool MayUnlock { get; private set; }

    public async Task OnGetAsync(CancellationToken ct)
    {
        if (User.Identity?.IsAuthenticated != true) return;
        await using var work = await store.BeginAsync(ct);
        var person = await PeopleRegister.FindValidAsync(work, PersonId.Of(User), time.GetUtcNow(), ct);
        (Name, Posts) = (person?.Name ?? PersonId.Of(User).Value, person?.Posts ?? []);
        TerminalName = (await TerminalRegister.FindAsync(work, TerminalId.Parse(User.FindFirstValue("terminal")!), ct))?.Name ?? "";
        MayReadHistory = (await authorization.AuthorizeAsync(User, "history.read")).Succeeded;
        MayUnlock = (await authorization.AuthorizeAsync(User, "terminals.unlock")).Succeeded;
    }
}
