using System.Threading.RateLimiting;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

public static class SignInSlice
{
    /// <summary>The rate limit of everything that opens a sign-in.</summary>
    public const string RateLimit = "sign-in";

    internal static void AddSignIn(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<SignInPolicy>(policyDirectory, "sign-in");
        services.AddSingleton(new MenuEntry("受付番号を調べる", "/receipts", 44, ["sign-in.read-receipts"]));
        services.AddSingleton<BeginSignIn>().AddSingleton<SignInChecks>().AddSingleton<SignInSteps>().AddSingleton<CompleteSignIn>().AddSingleton<BrowserAttempts>().AddSingleton<PasskeyProof>().AddSingleton<TypedProof>().AddSingleton<Approvals.IConfirmation, Confirmation>().AddSingleton<SignInEndpoints>();
        services.AddSingleton<ITerminalRequest, ClaimHandle>().AddSingleton<ITerminalRequest, ProvePossession>().AddSingleton<ITerminalRequest, ReportPinFailure>()
            .AddSingleton<ITerminalRequest, ProveSignIn>().AddSingleton<ITerminalRequest, CancelSignIn>();
        services.AddSingleton(new Sweep("delete from sign_in.transactions where ctid in (select ctid from sign_in.transactions where expires_at < clock_timestamp() - interval '1 hour' limit 500)"));
        services.AddRateLimiter(limiter =>
        {
            limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
            limiter.AddPolicy(RateLimit, context => RateLimitPartition.GetFixedWindowLimiter(BeginSignIn.AddressOf(context), _ => new FixedWindowRateLimiterOptions
            {
                PermitLimit = context.RequestServices.GetRequiredService<Active<SignInPolicy>>().Now.AttemptsPerMinute,
                Window = TimeSpan.FromMinutes(1),
            }));
        });
    }

    internal static void MapSignIn(this IEndpointRouteBuilder app)
    {
        app.MapGet("/sign-in", async (HttpContext context, string? to, BeginSignIn begin, CancellationToken ct) =>
            Results.Redirect(await begin.RunAsync(context, null, "AccessBroker 管理画面", LocalPath.OrRoot(to), ct))).RequireRateLimiting(RateLimit);
        var transaction = app.MapGroup("/sign-in/{id}");
        transaction.MapGet("/state", (HttpContext context, string id, string? seen, SignInEndpoints endpoints, CancellationToken ct) => endpoints.StateAsync(context, id, seen, ct));
        transaction.MapPost("/handle", (HttpContext context, string id, SignInEndpoints endpoints, CancellationToken ct) => endpoints.MakeHandleAsync(context, id, ct)).WithMetadata(new AuditedAttribute("sign-in.make-handle"));
        transaction.MapPost("/passkey/options", (HttpContext context, string id, PasskeyProof proof, CancellationToken ct) => proof.BeginAsync(context, id, ct)).WithMetadata(new AuditedAttribute("sign-in.passkey")).RequireRateLimiting(RateLimit);
        transaction.MapPost("/passkey", (HttpContext context, string id, PasskeyProof.Posted posted, PasskeyProof proof, CancellationToken ct) => proof.RunAsync(context, id, posted, ct)).WithMetadata(new AuditedAttribute("sign-in.passkey")).RequireRateLimiting(RateLimit);
        transaction.MapPost("/typed", (HttpContext context, string id, TypedProof.Posted posted, TypedProof proof, CancellationToken ct) => proof.RunAsync(context, id, posted, ct)).WithMetadata(new AuditedAttribute("sign-in.typed")).RequireRateLimiting(RateLimit);
        transaction.MapPost("/new-password", (HttpContext context, string id, TypedProof.NewPosted posted, TypedProof proof, CancellationToken ct) => proof.SetNewAsync(context, id, posted, ct)).WithMetadata(new AuditedAttribute("passwords.first-set")).RequireRateLimiting(RateLimit);
        transaction.MapPost("/cancel", (HttpContext context, string id, PasskeyProof proof, CancellationToken ct) => proof.CancelAsync(context, id, ct)).WithMetadata(new AuditedAttribute("sign-in.cancel")).RequireRateLimiting(RateLimit);
        transaction.MapPost("/complete", (HttpContext context, string id, CompleteSignIn.Posted posted, SignInEndpoints endpoints, CancellationToken ct) => endpoints.CompleteAsync(context, id, posted, ct)).WithMetadata(new AuditedAttribute("sign-in.complete"));
        app.MapGet("/session", (HttpContext context) => Results.StatusCode(context.User.Identity?.IsAuthenticated == true ? StatusCodes.Status204NoContent : StatusCodes.Status401Unauthorized));
        app.MapPost("/sign-out", async (HttpContext context, LiveSessions sessions) =>
        {
            if (LiveSession.Of(context) is { } session) await sessions.EndAsync(session.Id, "sessions.signed-out");
            SessionCookie.Clear(context.Response);
            return Results.Redirect("/");
        }).WithMetadata(new AuditedAttribute("sessions.sign-out"));
    }
}
