using System.Net;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>What pages of this terminal may ask: which terminal is this, and please redeem this handle. Exact Host, exact Origin, JSON only.</summary>
internal static class LoopbackEndpoint
{
    private sealed record Handle(string Value)
    {
        internal bool Fits => Value is { Length: >= 22 and <= 86 } && Value.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');
    }

    private sealed record SignInRequest(string? Handle);

    internal static void Map(WebApplication app, AgentOptions options)
    {
        var operatorUser = options.OperatorUser.Length == 0 ? null : LoopbackCaller.IdOf(options.OperatorUser);
        app.Use((context, next) => RefuseStrangers(context, next, options, operatorUser));
        app.MapGet("/terminal", (BrokerStream broker) => Results.Json(new { terminal = broker.Terminal?.Id, name = broker.Terminal?.Name, attached = broker.Terminal is not null }));
        app.MapPost("/card-work", async (HttpContext context, CardWork work) => await HandleAsync(context) is not { } handle ? Malformed(context) : await work.RunAsync(handle, context.RequestAborted) switch
        {
            CardWork.Outcome.Done => Results.Json(new { done = true }),
            CardWork.Outcome.Busy => Problem(StatusCodes.Status409Conflict, "agent.busy"),
            CardWork.Outcome.NotAttached => Problem(StatusCodes.Status503ServiceUnavailable, "agent.not-attached"),
            CardWork.Outcome.Failed => Problem(StatusCodes.Status410Gone, "agent.failed"),
            var other => throw new System.Diagnostics.UnreachableException($"{other}"),
        });
        app.MapPost("/sign-in", async (HttpContext context, CardSignIn signIn) => await HandleAsync(context) is { } handle ? Answer(await signIn.RunAsync(handle, context.RequestAborted)) : Malformed(context));
        // For passkeys: this page is at this terminal, and nothing more.
        app.MapPost("/seat", async (HttpContext context, CardSignIn signIn) => await HandleAsync(context) is { } handle ? Answer((await signIn.ClaimAsync(handle, context.RequestAborted), null)) : Malformed(context));
    }

    private static IResult Answer((CardSignIn.Outcome Outcome, string? Code) answer) => answer.Outcome switch
    {
        CardSignIn.Outcome.Proven => Results.Json(new { code = answer.Code }),
        CardSignIn.Outcome.Claimed => Results.Json(new { claimed = true }),
        CardSignIn.Outcome.Busy => Problem(StatusCodes.Status409Conflict, "agent.busy"),
        CardSignIn.Outcome.NotAttached => Problem(StatusCodes.Status503ServiceUnavailable, "agent.not-attached"),
        CardSignIn.Outcome.Unavailable => Problem(StatusCodes.Status502BadGateway, "agent.broker-unavailable"),
        CardSignIn.Outcome.Cancelled => Problem(StatusCodes.Status410Gone, "agent.cancelled"),
        CardSignIn.Outcome.Refused => Problem(StatusCodes.Status403Forbidden, "agent.refused"),
        _ => throw new System.Diagnostics.UnreachableException($"{answer.Outcome}"),
    };

    /// <summary>The handle of a well-formed request, or null.</summary>
    private static async Task<string?> HandleAsync(HttpContext context)
    {
        if (!context.Request.HasJsonContentType()) return null;
        try { return await context.Request.ReadFromJsonAsync<SignInRequest>(context.RequestAborted) is { Handle: { } handle } && new Handle(handle).Fits ? handle : null; }
        catch (Exception e) when (e is System.Text.Json.JsonException or InvalidOperationException or NotSupportedException) { return null; }
    }

    private static IResult Malformed(HttpContext context) => context.Request.HasJsonContentType() ? Problem(StatusCodes.Status400BadRequest, "agent.malformed") : Problem(StatusCodes.Status415UnsupportedMediaType, "agent.json-only");

    private static IResult Problem(int status, string code) => Results.Json(new { code }, statusCode: status);

    /// <summary>Another site, a rebound name or another OS user gets 403 and no CORS header: the browser keeps even that from it.</summary>
    private static async Task RefuseStrangers(HttpContext context, RequestDelegate next, AgentOptions options, uint? operatorUser)
    {
        var (request, connection) = (context.Request, context.Connection);
        var caller = new IPEndPoint(connection.RemoteIpAddress!, connection.RemotePort);
        var own = new IPEndPoint(connection.LocalIpAddress!, connection.LocalPort);
        if (request.Host.Value != options.Listen || request.Headers.Origin != options.BrokerOrigin || (operatorUser is { } allowed && LoopbackCaller.UserOf(caller, own) != allowed))
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            await context.Response.WriteAsJsonAsync(new { code = "agent.stranger" });
            return;
        }
        var headers = context.Response.Headers;
        headers.AccessControlAllowOrigin = options.BrokerOrigin;
        headers.Vary = "Origin";
        headers.CacheControl = "no-store";
        headers.XContentTypeOptions = "nosniff";
        if (!HttpMethods.IsOptions(request.Method)) { await next(context); return; }
        headers.AccessControlAllowMethods = "GET, POST";
        headers.AccessControlAllowHeaders = "content-type";
        headers["Access-Control-Allow-Private-Network"] = "true";
        headers["Access-Control-Allow-Local-Network"] = "true";
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }
}
