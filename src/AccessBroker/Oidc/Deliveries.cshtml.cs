using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Oidc;

/// <summary>Who still has to be told of ended sessions: waiting, how long, given up, per relying party.</summary>
[Authorize("oidc.read-deliveries"), Audited("oidc.resend-deliveries")]
internal sealed class DeliveriesModel(Store store, Permissions permissions, Exports exports, TimeProvider time) : PageModel
{
    internal sealed record Row(string Client, long Waiting, TimeSpan Lag, long Dead, long Delivered, string? Error);

    public IReadOnlyList<Row> Rows { get; private set; } = [];
    public bool MayResend { get; private set; }
    public string? Message { get; private set; }

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        MayResend = (await permissions.OfAsync(User, ct)).Allows("oidc.resend-deliveries");
        await using var work = await store.ReadAsync(ct);
        Rows = await work.QueryAsync($"""
            select client, count(*) filter (where delivered_at is null and dead_at is null), coalesce(max(clock_timestamp() - ended_at) filter (where delivered_at is null and dead_at is null), interval '0'), count(*) filter (where dead_at is not null), count(*) filter (where delivered_at is not null),
                (array_agg(error order by next_at desc) filter (where error is not null))[1]
            from oidc.logout_deliveries where ended_at > clock_timestamp() - interval '30 days' group by client order by client
            """, r => new Row(r.GetString(0), r.GetInt64(1), r.GetTimeSpan(2), r.GetInt64(3), r.GetInt64(4), r.IsDBNull(5) ? null : r.GetString(5)), ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "logout-deliveries", ["業務システム", "未通知", "最長の遅れ(秒)", "断念", "通知済み", "最後の失敗"], [.. Rows.Select(r => new[] { r.Client, $"{r.Waiting}", $"{r.Lag.TotalSeconds:0}", $"{r.Dead}", $"{r.Delivered}", r.Error ?? "" })], ct);
    }

    public async Task<IActionResult> OnPostAsync(string client, CancellationToken ct)
    {
        await OnGetAsync(null, ct);
        if (!MayResend) return Forbid();
        await using var work = await store.BeginAsync(ct);
        var again = await work.ExecuteAsync($"update oidc.logout_deliveries set dead_at = null, next_at = clock_timestamp(), tried_since = clock_timestamp() where client = {client} and delivered_at is null", ct);
        work.Record(new("oidc.resend-deliveries", HistoryOutcome.Done) { Person = PersonId.Of(User), Client = client, Details = new Dictionary<string, string> { ["count"] = $"{again}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        Message = "もう一度通知します。";
        await OnGetAsync(null, ct);
        return Page();
    }
}
