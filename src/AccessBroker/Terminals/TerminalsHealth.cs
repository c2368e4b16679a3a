using AccessBroker.Web;

namespace AccessBroker.Terminals;

internal sealed class TerminalsHealth(TerminalStream stream) : IHealthReport
{
    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(stream.Attached > 0
        ? new ComponentHealth("terminals", "端末の接続", "ok")
        : new ComponentHealth("terminals", "端末の接続", "degraded", "このサーバーにつながっている端末がありません。"));
}
