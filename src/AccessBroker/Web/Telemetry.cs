using System.Diagnostics;
using System.Net;
using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace AccessBroker.Web;

/// <summary>Metrics on the operations listener, traces to an OpenTelemetry collector. Both off unless configured.</summary>
internal static class Telemetry
{
    internal static void AddTelemetry(this IServiceCollection services, BrokerOptions options)
    {
        var metrics = new PrometheusText();
        services.AddSingleton(_ => metrics);
        if (options.OtlpTraces.Length == 0) return;
        var provider = Sdk.CreateTracerProviderBuilder()
            .ConfigureResource(r => r.AddService("accessbroker", serviceInstanceId: options.Node))
            .AddSource(Primitives.Instruments.Name, "Microsoft.AspNetCore", "Npgsql")
            .AddOtlpExporter(otlp => (otlp.Endpoint, otlp.Protocol) = (new Uri(options.OtlpTraces), OtlpExportProtocol.HttpProtobuf))
            .Build();
        services.AddSingleton(_ => provider);
    }

    /// <summary>The operations listener serves <c>/metrics</c> and <c>/health</c> and nothing else; the other listeners serve no metrics.</summary>
    internal static void UseTelemetry(this WebApplication app, BrokerOptions options)
    {
        _ = app.Services.GetService<TracerProvider>();
        var port = options.ListenOperations.Length == 0 ? -1 : IPEndPoint.Parse(options.ListenOperations).Port;
        app.Use(async (context, next) =>
        {
            var (operations, path) = (context.Connection.LocalPort == port, context.Request.Path);
            if (operations && path == "/metrics")
            {
                context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
                await context.Response.WriteAsync(context.RequestServices.GetRequiredService<PrometheusText>().Write());
            }
            else if (operations && path != "/health") context.Response.StatusCode = StatusCodes.Status404NotFound;
            else await next(context);
        });
    }

    /// <summary>Gives the request's span its name and codes: route template, method and status, never path or query.</summary>
    internal static void UseSpanNames(this WebApplication app) => app.Use(async (context, next) =>
    {
        try { await next(context); }
        finally
        {
            if (Activity.Current is { Source.Name: "Microsoft.AspNetCore" } span)
            {
                var route = (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "(none)";
                span.DisplayName = $"{context.Request.Method} {route}";
                span.SetTag("http.request.method", context.Request.Method);
                span.SetTag("http.route", route);
                span.SetTag("http.response.status_code", context.Response.StatusCode);
                if (context.Response.StatusCode >= 500) span.SetStatus(ActivityStatusCode.Error);
            }
        }
    });
}
