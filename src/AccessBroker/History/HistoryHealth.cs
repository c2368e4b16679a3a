using AccessBroker.Web;

namespace AccessBroker.History;

internal sealed class HistoryHealth(HistorySpool spool) : IHealthReport
{
    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(spool.Waiting == 0
        ? new ComponentHealth("history", "操作履歴", "ok")
        : new ComponentHealth("history", "操作履歴", "degraded", "書き込めなかった終了の記録が、このサーバーで待っています。データベースが戻れば自動で移されます。"));
}
