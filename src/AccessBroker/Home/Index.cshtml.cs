using System.Security.Claims;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Home;

/// <summary>The first page of the console: what waits for me, what I should know, where I can go.</summary>
internal sealed class IndexModel(Store store, Permissions permissions, IEnumerable<ITaskSource> sources, IEnumerable<MenuEntry> menu, TimeProvider time) : PageModel
{
    public string? Name { get; private set; }
    public string? StaffNumber { get; private set; }
    public string TerminalName { get; private set; } = "";
    public IReadOnlyList<HeldPost> Posts { get; private set; } = [];
    public IReadOnlyList<WaitingTask> Tasks { get; private set; } = [];
    public IReadOnlyList<Notice> Notices { get; private set; } = [];
    public IReadOnlyList<MenuEntry> Menu { get; private set; } = [];
    public bool IsOverdue(WaitingTask task) => task.Due < time.GetUtcNow();

    public async Task OnGetAsync(CancellationToken ct)
    {
        if (User.Identity?.IsAuthenticated != true) return;
        await using var work = await store.ReadAsync(ct);
        var me = PersonId.Of(User);
        var (terminal, notices, line) = (TerminalRegister.Find(TerminalId.Parse(User.FindFirstValue("terminal")!)), NoticeBox.Of(me), PeopleRegister.Find(me, time.GetUtcNow()));
        await work.AskAsync(ct, terminal, notices, line);
        StaffNumber = line.Answer?.StaffNumber;
        var may = await permissions.OfAsync(work, me, ct);
        (Name, Posts, TerminalName, Notices) = (may.Person?.Name ?? me.Value, may.Person?.Posts ?? [], terminal.Answer?.Name ?? "", [.. notices.Answer.Take(20)]);
        var tasks = new List<WaitingTask>();
        if (may.Person is not null) foreach (var source in sources) tasks.AddRange(await source.OfAsync(work, may, ct));
        Tasks = [.. tasks.OrderBy(t => t.Due ?? DateTimeOffset.MaxValue)];
        Menu = [.. menu.Where(m => m.Operations.Count == 0 || m.Operations.Any(may.Allows)).OrderBy(m => m.Order)];
    }
}

internal static class HomeSlice
{
    internal static void MapHome(this IEndpointRouteBuilder app) => app.MapPost("/notices/{notice:long}/read", async (HttpContext context, long notice, string? to, Store store, TimeProvider time, CancellationToken ct) =>
    {
        await using var work = await store.BeginAsync(ct);
        NoticeBox.MarkRead(work, PersonId.Of(context.User), notice, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.Redirect(LocalPath.OrRoot(to));
    }).RequireAuthorization().WithMetadata(new AuditedAttribute("notices.read"));
}
