using System.ComponentModel.DataAnnotations;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Setup;

/// <summary>The first day at the station: two codes, two cards. Without a first day in progress, or elsewhere, there is no such page. <clause>MIC 6.2(1)③(カ)</clause></summary>
[Audited("setup.enter")]
internal sealed class SetupModel(FirstDay day, Store store, BrokerOptions options, TimeProvider time) : PageModel
{
    internal const string Cookie = "__Host-setup";

    [BindProperty, StringLength(100)] public string? AdministratorCode { get; set; }
    [BindProperty, StringLength(100)] public string? PinManagerCode { get; set; }
    public FirstDay.State State { get; private set; } = null!;
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public string? Work { get; private set; }
    public string? Problem { get; private set; }
    public string Agents => string.Join(' ', options.AgentOrigins);

    public async Task<IActionResult> OnGetAsync(CancellationToken ct) => await LoadAsync(ct) ? Page() : NotFound();

    public async Task<IActionResult> OnPostAsync(string act, PersonId? person, CancellationToken ct)
    {
        if (!await LoadAsync(ct)) return NotFound();
        if (act == "enter")
        {
            if (await day.EnterAsync(AdministratorCode?.Trim(), PinManagerCode?.Trim(), ct) is not { } cookie)
            {
                (Problem, Response.StatusCode) = ("コードが違うか、すでに使われています。二人のコードを同時に入力してください。", StatusCodes.Status403Forbidden);
                return Page();
            }
            Response.Cookies.Append(Cookie, cookie, new CookieOptions { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Strict, Path = "/" });
            return Redirect("/setup");
        }
        if (!State.InSession) return Forbid();
        if (act == "close" && State.Missing.Count == 0)
        {
            await day.CloseAsync(ct);
            return Redirect("/");
        }
        if (act != "card" || person is not { } whom || !State.Missing.Contains(whom)) return NotFound();
        await using var work = await store.BeginAsync(ct);
        Work = FirstCards.Open(work, whom, State.Terminal);
        await work.CommitAsync(ct);
        ViewData["Person"] = whom.Value;
        return Page();
    }

    private async Task<bool> LoadAsync(CancellationToken ct)
    {
        if (await day.FindAsync(Request.Cookies[Cookie], HttpContext.Connection.RemoteIpAddress?.ToString(), ct) is not { } state) return false;
        State = state;
        Names = await store.AskAsync(PeopleRegister.Names([state.Administrator.Value, state.PinManager.Value], time.GetUtcNow()), ct);
        return true;
    }
}

internal static class SetupSlice
{
    internal static void AddSetup(this IServiceCollection services) => services.AddSingleton<FirstDay>();

    internal static void MapSetup(this IEndpointRouteBuilder app)
    {
        app.MapPost("/setup/works/{person}/{id}/handle", async (HttpContext context, PersonId person, string id, FirstDay day, Store store, CancellationToken ct) =>
            await day.FindAsync(context.Request.Cookies[SetupModel.Cookie], context.Connection.RemoteIpAddress?.ToString(), ct) is { InSession: true } state && await FirstCards.MakeHandleAsync(store, id, person, state.Terminal, ct) is { } handle
                ? Results.Json(new { handle }) : Results.StatusCode(StatusCodes.Status409Conflict)).WithMetadata(new AuditedAttribute("setup.card"));
        app.MapGet("/setup/works/{person}/{id}/state", async (HttpContext context, PersonId person, string id, string? seen, FirstDay day, Store store, CancellationToken ct) =>
        {
            if (await day.FindAsync(context.Request.Cookies[SetupModel.Cookie], context.Connection.RemoteIpAddress?.ToString(), ct) is not { InSession: true } state) return Results.StatusCode(StatusCodes.Status404NotFound);
            for (var waited = 0; ; waited++)
            {
                if (await FirstCards.FindAsync(store, id, person, state.Terminal, ct) is not { } work) return Results.StatusCode(StatusCodes.Status404NotFound);
                if (work.State != seen || waited >= 20) return Results.Json(new { value = work.State, told = work.Told });
                await Task.Delay(TimeSpan.FromSeconds(1), ct);
            }
        });
    }
}
