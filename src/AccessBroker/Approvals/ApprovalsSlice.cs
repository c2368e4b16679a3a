using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

internal static class ApprovalsSlice
{
    internal static void AddApprovals(this IServiceCollection services, string policyDirectory)
    {
        Policies.PolicyFiles.AddPolicy<ApprovalsPolicy>(services, policyDirectory, "approvals");
        services.AddSingleton<Separation>().AddSingleton<RequestDesk>().AddSingleton<ApprovalLadder>().AddSingleton<ReviewException>();
        services.AddSingleton<ITaskSource, RequestTasks>().AddSingleton<IFieldOptions, PersonOptions>();
        services.AddSingleton<RequestClock>().AddHostedService(p => p.GetRequiredService<RequestClock>());
        services.AddSingleton(new Web.MenuEntry("申請する・申請の状況", "/requests", 20, []));
        services.AddSingleton(new Web.MenuEntry("例外の事後確認", "/reviews", 60, ["approvals.review", "approvals.read-reviews"]));
    }

    /// <summary>What fits while somebody types into a field of a form: values and labels, for whoever may ask for that kind.</summary>
    internal static void MapApprovals(this IEndpointRouteBuilder app) => app.MapGet("/requests/new/{kind}/found", async (HttpContext context, string kind, string field, string? text, Store store, RequestDesk desk, Permissions permissions, IEnumerable<IFieldOptions> options, TimeProvider time, CancellationToken ct) =>
    {
        if (desk.Kind(kind) is not { } known || known.Fields.FirstOrDefault(f => f.Name == field) is not { } asked || options.FirstOrDefault(o => o.Type == asked.Type) is not { } finder) return Results.NotFound();
        if (!(await permissions.OfAsync(context.User, ct)).Allows(known.RequestOperation)) return Results.Forbid();
        if (text?.Trim() is not { Length: > 0 and <= 200 } typed) return Results.Json(Array.Empty<object>());
        await using var work = await store.ReadAsync(ct);
        return Results.Json((await known.OfferableAsync(work, asked, await finder.FindAsync(work, typed, time.GetUtcNow(), ct), PersonId.Of(context.User), ct)).Select(f => new { value = f.Value, label = f.Label }));
    }).RequireAuthorization();
}
