using AccessBroker.Database;
using AccessBroker.Web;

namespace AccessBroker.History;

internal sealed class HistoryHealth(HistorySpool spool, Store store) : IHealthReport
{
    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(
        store.NotWritable is not null ? new ComponentHealth("history", "操作履歴", "broken", "操作履歴に書き込めません。データベースのディスクの空きと権限を確かめてください。直るまで新しい操作はできません。終了の操作は行えます。")
        : spool.Waiting == 0
        ? new ComponentHealth("history", "操作履歴", "ok")
        : new ComponentHealth("history", "操作履歴", "degraded", "書き込めなかった終了の記録が、このサーバーで待っています。データベースが戻れば自動で移されます。"));
}
