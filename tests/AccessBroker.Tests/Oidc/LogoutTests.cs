using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Cards;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace AccessBroker.Tests.Oidc;

/// <summary>Ends of sessions reach the relying parties, whatever state those are in; tokens die at once; refresh tokens rotate.</summary>
public sealed class LogoutTests(LogoutTests.Host broker) : AtTerminal(broker, "sato"), IClassFixture<LogoutTests.Host>
{
    /// <summary>Relying parties that behave as told, on loopback.</summary>
    public sealed class Host : BrokerHost, IAsyncLifetime
    {
        private WebApplication? _application;
        public int RelyingPort { get; } = Place.FreePort();
        /// <summary>How each answers: ok, slow, error, hang, redirect or down.</summary>
        public ConcurrentDictionary<string, string> Manners { get; } = new();
        public ConcurrentQueue<(string Client, string Token)> Received { get; } = new();
        internal static readonly string[] Parties = ["rp-a", "rp-b", "rp-c"];

        async ValueTask IAsyncLifetime.InitializeAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, RelyingPort));
            _application = builder.Build();
            _application.MapPost("/{client}/logout", async (HttpContext context, string client) =>
            {
                switch (Manners.GetValueOrDefault(client, "ok"))
                {
                    case "error": return Results.StatusCode(500);
                    case "redirect": return Results.Redirect("/elsewhere");
                    case "down": context.Abort(); return Results.Empty;
                    case "hang": await Task.Delay(30_000, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); return Results.Empty;
                    case "slow": await Task.Delay(2_000); break;
                }
                Received.Enqueue((client, (await context.Request.ReadFormAsync())["logout_token"].ToString()));
                return Results.Ok();
            });
            await _application.StartAsync();
            await InitializeAsync();
        }

        protected override async Task ArrangeAsync()
        {
            foreach (var client in Parties)
                await SqlAsync($$"""insert into oidc.clients (id, configuration) values ('{{client}}', '{"name": "{{client}}", "system": "koseki", "authentication": "none", "refreshTokens": true, "scopes": ["profile"], "redirectUris": ["{{TestBrowser.RedirectUri}}"], "backchannelLogoutUri": "http://127.0.0.1:{{RelyingPort}}/{{client}}/logout"}')""");
        }

        async ValueTask IAsyncDisposable.DisposeAsync()
        {
            await _application!.StopAsync();
            await _application.DisposeAsync();
            await DisposeAsync();
        }
    }

    private readonly Host _broker = broker;

    private async Task<JsonElement> TokensAsync(TestBrowser browser, string client, bool signIn)
    {
        Uri callback;
        if (signIn) callback = await browser.SignInAsync(Terminal, ("client_id", client));
        else using (var response = await browser.AuthorizeAsync(("client_id", client))) callback = response.Headers.Location!;
        using var answer = await browser.TokenAsync(TestBrowser.Parameter(callback, "code"), ("client_id", client));
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>();
        Assert.True(answer.IsSuccessStatusCode, body.ToString());
        return body;
    }

    private void Reset()
    {
        _broker.Manners.Clear();
        _broker.Received.Clear();
    }

    private Task HeardAsync(string client, int times = 1, double seconds = 10) => Eventually.TrueAsync(() => Task.FromResult(_broker.Received.Count(r => r.Client == client) >= times), $"{client} was told", seconds);

    [Fact, Trait("Requirement", "SES-01")]
    public async Task Card_out_tells_every_relying_party_with_a_token_that_verifies()
    {
        Reset();
        using var browser = new TestBrowser(_broker);
        await TokensAsync(browser, "rp-a", signIn: true);
        await TokensAsync(browser, "rp-b", signIn: false);
        await Terminal.RemoveAsync();
        await HeardAsync("rp-a");
        await HeardAsync("rp-b");
        Assert.DoesNotContain(_broker.Received, r => r.Client == "rp-c");
        var token = _broker.Received.First(r => r.Client == "rp-a").Token;
        var parts = token.Split('.');
        var header = JsonElement.Parse(Base64Url.DecodeFromChars(parts[0]));
        var claims = JsonElement.Parse(Base64Url.DecodeFromChars(parts[1]));
        var jwk = (await browser.Http.GetFromJsonAsync<JsonElement>("/.well-known/jwks.json")).GetProperty("keys")[0];
        using var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = Base64Url.DecodeFromChars(jwk.GetProperty("x").GetString()), Y = Base64Url.DecodeFromChars(jwk.GetProperty("y").GetString()) } });
        Assert.True(key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256));
        Assert.Equal("logout+jwt", header.GetProperty("typ").GetString());
        Assert.Equal(("p-1001", "rp-a"), (claims.GetProperty("sub").GetString(), claims.GetProperty("aud").GetString()));
        Assert.True(claims.GetProperty("events").TryGetProperty("http://schemas.openid.net/event/backchannel-logout", out _));
        Assert.False(claims.TryGetProperty("nonce", out _));
        Assert.Equal((await _broker.SqlAsync("select id from sessions.sessions order by ended_at desc limit 1"))[0], claims.GetProperty("sid").GetString());
    }

    [Theory, InlineData("error"), InlineData("redirect"), InlineData("down"), InlineData("hang")]
    public async Task A_relying_party_that_does_not_answer_well_is_told_again_and_delays_nobody(string manner)
    {
        Reset();
        _broker.Manners["rp-a"] = manner;
        using var browser = new TestBrowser(_broker);
        await TokensAsync(browser, "rp-a", signIn: true);
        await TokensAsync(browser, "rp-b", signIn: false);
        var since = Stopwatch.StartNew();
        await Terminal.RemoveAsync();
        await HeardAsync("rp-b", seconds: 3);
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select 1 from oidc.logout_deliveries where client = 'rp-a' and delivered_at is null and error is not null")).Count > 0, "the failure is noted", 12);
        Assert.DoesNotContain(_broker.Received, r => r.Client == "rp-a");
        if (manner == "down")
        {
            // Killed without a word, started again: nothing is lost.
            await _broker.StopAsync();
            _broker.Manners.Clear();
            await _broker.StartAsync();
        }
        _broker.Manners.Clear();
        await HeardAsync("rp-a", seconds: 25);
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select 1 from oidc.logout_deliveries where delivered_at is null and dead_at is null")).Count == 0, "all delivered", 20);
        await Terminal.AttachedAsync();
    }

    [Fact]
    public async Task What_cannot_be_delivered_for_a_day_is_given_up_shown_and_sent_again_on_demand()
    {
        Reset();
        _broker.Manners["rp-c"] = "error";
        using (var browser = new TestBrowser(_broker)) await TokensAsync(browser, "rp-c", signIn: true);
        // A time-out tells them just the same.
        await _broker.SqlAsync("update sessions.sessions set seen_at = now() - interval '31 minutes' where ended_at is null");
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select 1 from oidc.logout_deliveries where client = 'rp-c' and attempts > 0")).Count > 0, "tried");
        await _broker.SqlAsync("update oidc.logout_deliveries set tried_since = now() - interval '25 hours', next_at = now() where client = 'rp-c' and delivered_at is null");
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select 1 from oidc.logout_deliveries where client = 'rp-c' and dead_at is not null")).Count > 0, "given up");
        _broker.Manners.Clear();
        using var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin");
        Assert.Contains("http-500", (await administrator.GetAsync("/logout-deliveries")).Page, StringComparison.Ordinal);
        await administrator.PostAsync("/logout-deliveries?client=rp-c");
        await HeardAsync("rp-c");
    }

    [Fact, Trait("Requirement", "SES-08")]
    public async Task Refresh_tokens_rotate_a_used_one_takes_back_the_family_and_all_die_with_the_session()
    {
        using var browser = new TestBrowser(_broker);
        var first = await TokensAsync(browser, "rp-a", signIn: true);
        async Task<(HttpStatusCode, JsonElement)> RefreshAsync(string token)
        {
            using var response = await browser.TokenAsync(null, ("grant_type", "refresh_token"), ("code", null), ("code_verifier", null), ("redirect_uri", null), ("client_id", "rp-a"), ("refresh_token", token));
            return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
        }
        var old = first.GetProperty("refresh_token").GetString()!;
        var (status, second) = await RefreshAsync(old);
        Assert.Equal(HttpStatusCode.OK, status);
        var fresh = second.GetProperty("access_token").GetString()!;
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(fresh)).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await RefreshAsync(old)).Item1);
        Assert.Equal("refused oidc.refresh-token-reused - -", await _broker.LastEventAsync("oidc.refresh"));
        Assert.Equal(HttpStatusCode.BadRequest, (await RefreshAsync(second.GetProperty("refresh_token").GetString()!)).Item1);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(fresh)).StatusCode);
        // A new family dies with the session.
        var third = (await TokensAsync(browser, "rp-a", signIn: false)).GetProperty("refresh_token").GetString()!;
        var raced = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => RefreshAsync(third)));
        Assert.Single(raced, r => r.Item1 == HttpStatusCode.OK);
        var last = (await TokensAsync(browser, "rp-a", signIn: false)).GetProperty("refresh_token").GetString()!;
        await Terminal.RemoveAsync();
        Assert.Equal(HttpStatusCode.BadRequest, (await RefreshAsync(last)).Item1);
    }

    [Fact]
    public async Task Revocation_and_introspection_refuse_at_once()
    {
        using var browser = new TestBrowser(_broker);
        var tokens = await TokensAsync(browser, "rp-a", signIn: true);
        var access = tokens.GetProperty("access_token").GetString()!;
        using var stranger = await browser.Http.PostAsync("/connect/introspect", new FormUrlEncodedContent(new Dictionary<string, string> { ["token"] = access, ["client_id"] = "rp-b" }));
        Assert.Equal(HttpStatusCode.Unauthorized, stranger.StatusCode);
        using var key = ECDsa.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(Place.Directory, "client.key")));
        string Assertion()
        {
            var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
            static string Part(object value) => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(value));
            var input = $"{Part(new { alg = "ES256", typ = "JWT" })}.{Part(new { iss = "koseki-demo", sub = "koseki-demo", aud = _broker.Issuer, iat = now, exp = now + 60, jti = Guid.NewGuid() })}";
            return $"{input}.{Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256))}";
        }
        async Task<JsonElement> IntrospectAsync(string token)
        {
            using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["token"] = token, ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", ["client_assertion"] = Assertion() });
            using var response = await browser.Http.PostAsync("/connect/introspect", form);
            return await response.Content.ReadFromJsonAsync<JsonElement>();
        }
        var state = await IntrospectAsync(access);
        Assert.Equal((true, "p-1001", "rp-a"), (state.GetProperty("active").GetBoolean(), state.GetProperty("sub").GetString(), state.GetProperty("client_id").GetString()));
        Assert.False((await IntrospectAsync(Secret.New())).GetProperty("active").GetBoolean());
        async Task<HttpStatusCode> RevokeAsync(string token, string client)
        {
            using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["token"] = token, ["client_id"] = client });
            using var response = await browser.Http.PostAsync("/connect/revoke", form);
            return response.StatusCode;
        }
        Assert.Equal(HttpStatusCode.OK, await RevokeAsync(access, "rp-b"));    // not its own: nothing happens, nothing is told
        Assert.True((await IntrospectAsync(access)).GetProperty("active").GetBoolean());
        Assert.Equal(HttpStatusCode.OK, await RevokeAsync(tokens.GetProperty("refresh_token").GetString()!, "rp-a"));
        Assert.False((await IntrospectAsync(access)).GetProperty("active").GetBoolean());
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
    }

    /// <summary>Clock from the report's commit to the refusal at the relying party: 20 times here, 500 with --long.</summary>
    [Fact, Trait("Requirement", "CRD-09")]
    public async Task A_loss_reported_during_a_session_refuses_its_next_use_within_a_second()
    {
        await using var services = CityServices.Of(_broker, TimeProvider.System);
        var (change, history) = (services.GetRequiredService<CardChange>(), services.GetRequiredService<HistorySpool>());
        var card = CardId.Parse((await _broker.SqlAsync("select id from cards.cards where person = 'p-1001'"))[0]);
        var took = new List<double>();
        using var browser = new TestBrowser(_broker);
        for (var n = 0; n < (Environment.GetEnvironmentVariable("ACCESSBROKER_LONG") is null ? 20 : 500); n++)
        {
            var (access, _) = await browser.TokensAsync(Terminal);
            Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
            Assert.True(await CardChange.NarrowAsync(change, history, card, "report-lost", "紛失届", PersonId.Parse("p-9001"), new Dictionary<string, string>()));
            var since = Stopwatch.GetTimestamp();
            while ((await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.OK) { }
            took.Add(Stopwatch.GetElapsedTime(since).TotalMilliseconds);
            await _broker.SqlAsync($"update cards.cards set state = 'handed-over' where id = '{card}'");
        }
        took.Sort();
        TestContext.Current.TestOutputHelper?.WriteLine($"loss to refusal: n {took.Count}, p50 {took[took.Count / 2]:0.0} ms, p99 {took[(int)(took.Count * 0.99)]:0.0} ms, max {took[^1]:0.0} ms");
        Assert.True(took[(int)(took.Count * 0.99)] < 1_000, $"p99 {took[(int)(took.Count * 0.99)]} ms");
    }
}
