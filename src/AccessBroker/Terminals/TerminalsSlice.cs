using AccessBroker.History;

namespace AccessBroker.Terminals;

internal static class TerminalsSlice
{
    internal static void AddTerminals(this IServiceCollection services)
    {
        services.AddSingleton<EnrolTerminal>();
        services.AddSingleton<TerminalStream>();
        services.AddHostedService<SendTerminalsAway>();
        services.AddSingleton<Web.IHealthReport, TerminalsHealth>();
    }

    internal static void MapTerminals(this IEndpointRouteBuilder app)
    {
        app.Map("/terminals/stream", (HttpContext context, TerminalStream stream) => stream.HandleAsync(context)).WithMetadata(new AuditedAttribute("terminals.attach"));
        app.MapPost("/terminals/enrol", async (EnrolTerminal.Request request, EnrolTerminal enrol, HttpContext context, CancellationToken ct) =>
                await enrol.RunAsync(request, context.Connection.RemoteIpAddress?.ToString(), ct) is { } enrolled ? Results.Json(enrolled) : Results.Json(new { code = "terminals.enrolment-refused" }, statusCode: StatusCodes.Status403Forbidden))
            .WithMetadata(new AuditedAttribute("terminals.enrol"));
    }
}
