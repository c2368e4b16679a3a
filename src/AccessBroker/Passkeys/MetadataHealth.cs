using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.Passkeys;

/// <summary>Says when the metadata is missing where it is needed, or older than its publisher meant it to get: revocations would be missing. <clause>MIC 3(4)③</clause></summary>
internal sealed class MetadataHealth(Store store, Active<AssurancePolicy> assurance, BrokerOptions options) : IHealthReport
{
    private const string Title = "パスキーの機種の一覧";

    public async Task<ComponentHealth> ReportAsync(CancellationToken ct)
    {
        var segment = assurance.Now.Segments[options.Segment];
        if (!segment.Methods.Contains(Method.Passkey) || !segment.Attested) return new("passkey-metadata", Title, "ok");
        try
        {
            var old = await store.AskAsync(Question.All($"select next_update < current_date from passkeys.metadata order by number desc limit 1", r => r.GetBoolean(0)), ct);
            return old is [true] ? new("passkey-metadata", Title, "degraded", "機種の一覧が古くなっています。新しいファイルを取り込んでください(AccessBroker passkeys import)。取り消された機種を知ることができません。") : new("passkey-metadata", Title, "ok", old.Count == 0 ? "機種の一覧がまだ取り込まれていません。パスキーは登録できません。" : "");
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException) { return new("passkey-metadata", Title, "degraded", "データベースが応答しません。"); }
    }
}
