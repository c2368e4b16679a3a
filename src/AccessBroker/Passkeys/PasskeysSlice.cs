using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Passkeys;

internal static class PasskeysSlice
{
    private sealed record Posted(string? Ceremony, JsonElement Credential, string? Name);

    internal static void AddPasskeys(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<PasskeysPolicy>(policyDirectory, "passkeys");
        services.AddSingleton<EnrolPasskey>().AddSingleton<IssuePasskey>().AddSingleton<RequestKind, IssuePasskeyKind>().AddSingleton<PasskeySignIn>().AddSingleton<IHealthReport, MetadataHealth>();
        services.AddSingleton(new MenuEntry("自分のパスキー", "/passkeys", 11, []));
        services.AddSingleton(new Sweep("delete from passkeys.ceremonies where ctid in (select ctid from passkeys.ceremonies where expires_at < clock_timestamp() - interval '1 hour' limit 500)"));
    }

    internal static void MapPasskeys(this IEndpointRouteBuilder app)
    {
        var passkeys = app.MapGroup("/passkeys").RequireAuthorization();
        passkeys.MapPost("/options", async (HttpContext context, long? request, EnrolPasskey enrol, IssuePasskey issue, CancellationToken ct) =>
        {
            if (LiveSession.Of(context) is not { } session) return Results.StatusCode(StatusCodes.Status401Unauthorized);
            var enrolment = request is { } id ? await issue.FindAsync(session, id, ct) : new(session.Person, session);
            if (enrolment is null) return Problems.Json(StatusCodes.Status403Forbidden, "passkeys.not-permitted", "この申請は実施できません。処理が済んでいるか、実施できる人ではありません。");
            var (ceremony, options, problem) = await enrol.BeginAsync(context, enrolment, ct);
            return problem is null ? Results.Json(new { ceremony, options = JsonElement.Parse(options) }) : Problems.Json(StatusCodes.Status403Forbidden, "passkeys.may-not-enrol", problem);
        }).WithMetadata(new AuditedAttribute("passkeys.enrol"));
        passkeys.MapPost("/register", async (HttpContext context, long? request, Posted posted, IssuePasskey issue, CancellationToken ct) =>
        {
            if (LiveSession.Of(context) is not { } session || posted.Credential.ValueKind != JsonValueKind.Object) return Results.StatusCode(StatusCodes.Status400BadRequest);
            var outcome = await issue.RegisterAsync(context, session, request, posted.Ceremony, posted.Credential, posted.Name, ct);
            return outcome.Code.Length == 0 ? Results.Json(new { done = true }) : Problems.Json(StatusCodes.Status422UnprocessableEntity, outcome.Code, outcome.Sentence);
        }).WithMetadata(new AuditedAttribute("passkeys.enrol"));
    }
}
