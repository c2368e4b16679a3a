using AccessBroker.Database;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Web;

/// <summary>Names the broken component. For people a page, for machines JSON (Accept: application/json); 503 when anything is broken.</summary>
internal sealed class HealthModel(DatabaseClock clock, Wakeups wakeups, IEnumerable<IHealthReport> reports, BrokerOptions options) : PageModel
{
    public IReadOnlyList<ComponentHealth> Components { get; private set; } = [];
    public bool Broken => Components.Any(c => c.State == "broken");
    public string Node => options.Node;

    public async Task<IActionResult> OnGetAsync(CancellationToken ct)
    {
        Components = [Database(), Clock(), Redis(), .. await Task.WhenAll(reports.Select(r => r.ReportAsync(ct)))];
        Response.StatusCode = Broken ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status200OK;
        return Request.Headers.Accept.ToString().Contains("application/json", StringComparison.Ordinal)
            ? new JsonResult(new { status = Broken ? "broken" : Components.Any(c => c.State == "degraded") ? "degraded" : "ok", node = Node, components = Components }) : Page();
    }

    private ComponentHealth Database() => clock.DatabaseAnswered ? new("database", "データベース (PostgreSQL)", "ok")
        : new("database", "データベース (PostgreSQL)", "broken", "応答がありません。サービスの状態と接続先を確かめてください。戻るまで新しいサインインはできません。");

    private ComponentHealth Clock() => clock.MayWork ? new("clock", "時計", "ok")
        : new("clock", "時計", "broken", "データベースの時計とのずれが大きすぎます。時刻同期を直してください。");

    private ComponentHealth Redis() => wakeups.Connected switch
    {
        true => new("redis", "通知 (Redis)", "ok"),
        false => new("redis", "通知 (Redis)", "degraded", "応答がありません。動作は続きますが、画面の更新が最大1秒遅れます。"),
        null => new("redis", "通知 (Redis)", "degraded", "設定されていません。サーバーが1台のときは問題ありません。"),
    };
}
