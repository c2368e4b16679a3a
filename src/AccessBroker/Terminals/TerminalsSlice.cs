using AccessBroker.Approvals;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.Terminals;

internal static class TerminalsSlice
{
    internal static void AddTerminals(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<TerminalsPolicy>(policyDirectory, "terminals");
        services.AddSingleton<EnrolTerminal>().AddSingleton<TerminalStream>().AddSingleton<IsolateTerminal>().AddSingleton<Seats>();
        services.AddSingleton<RequestKind, EnrolTerminalKind>().AddSingleton<RequestKind, ChangeTerminalKind>().AddSingleton<RequestKind, GrantSeatKind>().AddSingleton<RequestKind, IsolateTerminalKind>()
            .AddSingleton<RequestKind, IsolationReportKind>().AddSingleton<RequestKind, RestoreTerminalKind>().AddSingleton<IFieldOptions, TerminalOptions>();
        services.AddSingleton<ITerminalRequest, NoticeShown>().AddHostedService<TerminalNotices>();
        services.AddSingleton(new MenuEntry("端末・だれがいつ使ったか", "/terminals", 40, ["terminals.read"]));
        services.AddSingleton(new Register("terminals", "住基ネット構成管理簿(端末)", "INA 第14(5) 様式第1号", "registers.read",
            [("name", "名称"), ("responsible", "管理責任者"), ("place", "設置場所"), ("system", "系統"), ("segment", "区分"), ("link", "接続"), ("address", "アドレス"), ("mac", "MAC"), ("fingerprint", "構成"), ("state", "状態")])
        { PersonColumns = ["responsible"], Words = new Dictionary<string, Func<string, string>> { ["state"] = ListModel.StateName } });
        services.AddSingleton(new Register("seats", "端末利用許可簿", "MOJ 第5-4(1)", "registers.read",
            [("terminal", "端末"), ("person", "利用者"), ("approvedBy", "許可した管理責任者"), ("reason", "理由"), ("from", "開始"), ("until", "終了")])
        { PersonColumns = ["person", "approvedBy"] });
        services.AddSingleton<TerminalConfiguration>().AddHostedService<SendTerminalsAway>();
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
