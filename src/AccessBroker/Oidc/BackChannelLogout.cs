using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.Oidc;

/// <summary>
/// OpenID Connect Back-Channel Logout 1.0: every relying party of a session that ended is told, at least once. What is to be told was written with the
/// end itself. Each relying party has a line of its own: one that is slow, dead or hangs delays nobody else. <clause>INA 第16-5</clause>
/// </summary>
internal sealed partial class BackChannelLogout(Store store, Clients clients, TokenSigner signer, Wakeups wakeups, Active<SessionsPolicy> policy, BrokerOptions options, IHttpClientFactory http, TimeProvider time, ILogger<BackChannelLogout> log) : BackgroundService
{
    internal const string HttpName = "back-channel-logout";
    /// <summary>Ours: 20 deliveries of a relying party at a time, 5 s each.</summary>
    private const int Batch = 20;
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private sealed record Delivery(long Id, string Session, string Person, int Attempts, DateTimeOffset EndedAt);
    private readonly ConcurrentDictionary<string, Task> _lines = new();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var latecomers = 0;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (latecomers++ % 2 == 0) await store.AskAsync(Question.All($"select oidc.tell_latecomers()", r => r.GetInt64(0)), stoppingToken);
                foreach (var client in await store.AskAsync(Question.All($"select distinct client from oidc.logout_deliveries where delivered_at is null and dead_at is null and next_at <= clock_timestamp()", r => r.GetString(0)), stoppingToken))
                    if (!_lines.TryGetValue(client, out var line) || line.IsCompleted) _lines[client] = Task.Run(() => ServeAsync(client, stoppingToken), stoppingToken);
            }
            catch (NpgsqlException e) { Waiting(log, e.Message); }
            await wakeups.WaitAsync(LiveSessions.EndedTopic, TimeSpan.FromSeconds(1), stoppingToken);
        }
    }

    /// <summary>One relying party's line: batch after batch until nothing is due.</summary>
    private async Task ServeAsync(string client, CancellationToken ct)
    {
        try
        {
            while (await TakeAsync(client, ct) is { Count: > 0 } due) await Task.WhenAll(due.Select(d => DeliverAsync(client, d, ct)));
        }
        catch (Exception e) when (e is NpgsqlException or OperationCanceledException) { Waiting(log, e.Message); }
    }

    /// <summary>Taken for longer than an attempt may last: a node that dies meanwhile leaves them to the others.</summary>
    private Task<List<Delivery>> TakeAsync(string client, CancellationToken ct) => store.AskAsync(Question.All($"""
        update oidc.logout_deliveries set attempts = attempts + 1, next_at = clock_timestamp() + interval '15 seconds'
        where id in (select id from oidc.logout_deliveries where client = {client} and delivered_at is null and dead_at is null and next_at <= clock_timestamp() order by next_at limit {Batch} for update skip locked)
        returning id, session, person, attempts, ended_at
        """, r => new Delivery(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetInt32(3), r.GetFieldValue<DateTimeOffset>(4))), ct);

    private async Task DeliverAsync(string id, Delivery delivery, CancellationToken ct)
    {
        var error = await TryAsync(id, delivery, ct);
        var pause = TimeSpan.FromSeconds(Math.Min(300, 0.5 * Math.Pow(2, Math.Min(delivery.Attempts, 12))));
        if (error is null) await store.ExecuteAsync($"update oidc.logout_deliveries set delivered_at = clock_timestamp(), error = null where id = {delivery.Id}", CancellationToken.None);
        else
            await store.ExecuteAsync($"""
                update oidc.logout_deliveries set error = {error}, next_at = clock_timestamp() + {pause}, dead_at = case when tried_since + {policy.Now.LogoutGiveUp} < clock_timestamp() then clock_timestamp() end where id = {delivery.Id}
                """, CancellationToken.None);
    }

    /// <summary>What went wrong, in a word; null: the relying party has taken it.</summary>
    private async Task<string?> TryAsync(string id, Delivery delivery, CancellationToken ct)
    {
        try
        {
            if (await clients.FindAsync(id, ct) is not { BackchannelLogoutUri: { } uri } client) return null;    // it no longer wants to be told
            var token = await signer.SignAsync("logout+jwt", Claims(client, delivery), ct);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
            limit.CancelAfter(Limit);
            using var content = new FormUrlEncodedContent(new Dictionary<string, string> { ["logout_token"] = token });
            using var request = new HttpRequestMessage(HttpMethod.Post, uri) { Content = content };
            using var response = await http.CreateClient(HttpName).SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            // §2.8: 200, or 204 as some frameworks send it; a redirect is no answer.
            return response.StatusCode is HttpStatusCode.OK or HttpStatusCode.NoContent ? null : $"http-{(int)response.StatusCode}";
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested) { return "no-answer"; }
        catch (HttpRequestException e) { return $"not-reached {e.HttpRequestError}"; }
        catch (HsmUnavailableException) { return "hsm-unavailable"; }
    }

    /// <summary>§2.4: iss, sub, aud, iat, exp, jti, events, sid; never a nonce.</summary>
    private byte[] Claims(Client client, Delivery delivery) => JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, object>
    {
        ["iss"] = options.Issuer,
        ["sub"] = delivery.Person,
        ["aud"] = client.Id,
        ["iat"] = time.GetUtcNow().ToUnixTimeSeconds(),
        ["exp"] = time.GetUtcNow().AddMinutes(2).ToUnixTimeSeconds(),
        ["jti"] = Secret.New(16),
        ["sid"] = delivery.Session,
        ["events"] = new Dictionary<string, object> { ["http://schemas.openid.net/event/backchannel-logout"] = new { } },
    });

    [LoggerMessage(LogLevel.Warning, "notices of logout wait: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
