using AccessBroker.Approvals;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.SignIn;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

internal static class PrivilegedSlice
{
    internal static void AddPrivileged(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<PrivilegedPolicy>(policyDirectory, "privileged");
        services.AddSingleton<SshCertificates>().AddSingleton<EnrolTarget>().AddSingleton<PrivilegedNotices>().AddSingleton<TargetReports>().AddSingleton<TargetStream>().AddSingleton<IHealthReport>(p => p.GetRequiredService<TargetStream>());
        services.AddSingleton<SessionDirector>().AddHostedService(p => p.GetRequiredService<SessionDirector>());
        services.AddSingleton<StartSession>().AddSingleton<Signers>().AddSingleton<ConnectSession>().AddSingleton<EmergencyStop>().AddSingleton<FinishSession>().AddSingleton<TwoPersonWork>().AddSingleton<TargetRights>().AddSingleton<ObeyedStops>().AddSingleton<Oidc.IDetailedAuthorization, OidcWork>().AddSingleton<StopOrders>().AddHostedService(p => p.GetRequiredService<StopOrders>()).AddSingleton<ITaskSource, PrivilegedTasks>();
        services.AddSingleton<RequestKind, SessionKind>().AddSingleton<RequestKind, ExtendKind>().AddSingleton<RequestKind, ExceptionKind>();
        services.AddSingleton(new MenuEntry("特権作業", "/privileged", 36, ["privileged.read"]));
        services.AddSingleton(new Database.Sweep("delete from privileged.seats where ctid in (select ctid from privileged.seats where at < clock_timestamp() - interval '1 day' limit 500)"));
        services.AddSingleton(new Database.Sweep("delete from privileged.connect_codes where ctid in (select ctid from privileged.connect_codes where expires_at < clock_timestamp() - interval '1 day' limit 500)"));
    }

    internal static void MapPrivileged(this IEndpointRouteBuilder app)
    {
        app.Map("/targets/stream", (HttpContext context, TargetStream stream) => stream.HandleAsync(context)).WithMetadata(new AuditedAttribute("privileged.attach-agent"));
        app.MapPost("/targets/enrol", async (EnrolTarget.Request request, EnrolTarget enrol, HttpContext context, CancellationToken ct) =>
                await enrol.RunAsync(request, context.Connection.RemoteIpAddress?.ToString(), ct) is { } enrolled ? Results.Json(enrolled) : Problems.Json(StatusCodes.Status403Forbidden, "privileged.enrolment-refused", "登録コードが受け付けられませんでした。"))
            .RequireRateLimiting(SignInSlice.RateLimit).WithMetadata(new AuditedAttribute("privileged.enrol-agent"));
        app.MapGet("/privileged/{id}/watch/stream", (string id, HttpContext context, TwoPersonWork work) => work.WatchAsync(context, id)).RequireAuthorization("privileged.witness").WithMetadata(new AuditedAttribute("privileged.witness"));
        app.MapPost("/privileged/stop-orders", (SignedStop stop, StopOrders orders, HttpContext context, CancellationToken ct) => orders.TakeAsync(stop, context.Connection.RemoteIpAddress?.ToString(), ct)).RequireRateLimiting(SignInSlice.RateLimit).WithMetadata(new AuditedAttribute("privileged.order-stop"));
        app.MapPost("/privileged/connect", (ConnectSession.Asked asked, ConnectSession connect, HttpContext context, CancellationToken ct) => connect.RunAsync(context, asked, ct))
            .RequireRateLimiting(SignInSlice.RateLimit).WithMetadata(new AuditedAttribute("privileged.connect"));
    }
}
