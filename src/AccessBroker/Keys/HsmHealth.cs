using AccessBroker.Web;

namespace AccessBroker.Keys;

internal sealed class HsmHealth(Pkcs11Hsm hsm) : IHealthReport
{
    private const string Title = "鍵の装置 (HSM)";

    public async Task<ComponentHealth> ReportAsync(CancellationToken ct)
    {
        try
        {
            await hsm.CheckAsync(ct);
            return new("hsm", Title, "ok");
        }
        catch (HsmUnavailableException) { return new("hsm", Title, "broken", "応答がありません。HSM の電源と接続を確かめてください。戻るまで新しいサインインはできません。"); }
        catch (HsmKeyRefusedException) { return new("hsm", Title, "broken", "鍵が見つからないか、属性が正しくありません。鍵の管理者へ連絡してください。"); }
    }
}
