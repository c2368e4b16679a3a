using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Oidc;

/// <summary>One valid flow; each test changes one thing of it.</summary>
public sealed class ProtocolTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    private static async Task<string?> ErrorAsync(HttpResponseMessage response) => (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("error").GetString();

    [Theory]
    [InlineData("client_id", "nobody"), InlineData("client_id", null), InlineData("redirect_uri", null)]
    [InlineData("redirect_uri", "https://evil.example/callback"), InlineData("redirect_uri", "https://127.0.0.2:9/callback/"), InlineData("redirect_uri", "https://127.0.0.2:9/Callback")]
    [InlineData("redirect_uri", "https://127.0.0.2:9/callback#x"), InlineData("redirect_uri", "https://127.0.0.2:9/callback?x=1"), InlineData("redirect_uri", "https://u@127.0.0.2:9/callback")]
    [InlineData("redirect_uri", "https://127.0.0.2.:9/callback"), InlineData("redirect_uri", "https://127.0.0.2:9/%63allback"), InlineData("redirect_uri", "javascript:alert(1)"), InlineData("redirect_uri", "https://127.0.0.2:9/x/../callback")]
    public async Task An_unknown_client_or_redirect_uri_is_never_redirected_to(string name, string? value)
    {
        using var browser = new TestBrowser(_broker);
        using var response = await browser.AuthorizeAsync((name, value));
        Assert.Equal("/connect/error", response.Headers.Location!.OriginalString);
        using var page = await browser.Http.GetAsync(new Uri("/connect/error", UriKind.Relative));
        Assert.Equal(HttpStatusCode.BadRequest, page.StatusCode);
    }

    [Theory]
    [InlineData("response_type", null, "invalid_request"), InlineData("response_type", "token", "unsupported_response_type"), InlineData("response_type", "code id_token", "unsupported_response_type")]
    [InlineData("response_mode", "fragment", "invalid_request"), InlineData("scope", "profile", "invalid_scope"), InlineData("scope", null, "invalid_scope")]
    [InlineData("code_challenge", null, "invalid_request"), InlineData("code_challenge", "short", "invalid_request"), InlineData("code_challenge_method", "plain", "invalid_request"), InlineData("code_challenge_method", null, "invalid_request")]
    [InlineData("prompt", "none", "login_required"), InlineData("prompt", "none login", "invalid_request"), InlineData("prompt", "dance", "invalid_request"), InlineData("max_age", "-1", "invalid_request"), InlineData("max_age", "soon", "invalid_request")]
    [InlineData("request", "x.y.z", "request_not_supported"), InlineData("request_uri", "https://evil.example/r", "request_uri_not_supported"), InlineData("registration", "{}", "registration_not_supported")]
    public async Task A_bad_authorization_request_gets_the_error_the_rfc_names(string name, string? value, string error)
    {
        using var browser = new TestBrowser(_broker);
        using var response = await browser.AuthorizeAsync((name, value));
        var location = response.Headers.Location!;
        Assert.StartsWith(TestBrowser.RedirectUri + "?", location.OriginalString, StringComparison.Ordinal);
        Assert.Equal(error, TestBrowser.Parameter(location, "error"));
        Assert.Equal("the-state", TestBrowser.Parameter(location, "state"));
        Assert.Equal(_broker.Issuer, TestBrowser.Parameter(location, "iss"));
    }

    [Fact]
    public async Task A_parameter_that_comes_twice_or_is_oversized_is_refused()
    {
        using var browser = new TestBrowser(_broker);
        using var twice = await browser.Http.GetAsync(new Uri("/connect/authorize?" + TestBrowser.Query(TestBrowser.Request()) + "&state=other", UriKind.Relative));
        Assert.Equal("/connect/error", twice.Headers.Location!.OriginalString);
        using var large = await browser.AuthorizeAsync(("state", new string('x', 1_100)));
        Assert.Equal("invalid_request", TestBrowser.Parameter(large.Headers.Location!, "error"));
        using var huge = await browser.Http.PostAsync(new Uri("/connect/authorize", UriKind.Relative), new StringContent(new string('x', 70_000), Encoding.UTF8, "application/x-www-form-urlencoded"));
        Assert.Contains((int)huge.StatusCode, (int[])[302, 413]);
        Assert.DoesNotContain("evil", huge.Headers.Location?.OriginalString ?? "", StringComparison.Ordinal);
        using var json = await browser.Http.PostAsJsonAsync(new Uri("/connect/token", UriKind.Relative), new { grant_type = "authorization_code" });
        Assert.Equal("invalid_request", await ErrorAsync(json));
        using var post = await browser.Http.PostAsync(new Uri("/connect/authorize", UriKind.Relative), new FormUrlEncodedContent(TestBrowser.Request()));
        Assert.StartsWith("/sign-in/", post.Headers.Location!.OriginalString, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("grant_type", "password", "unsupported_grant_type"), InlineData("grant_type", null, "invalid_request"), InlineData("grant_type", "implicit", "unsupported_grant_type")]
    [InlineData("code", "not-a-code", "invalid_grant"), InlineData("redirect_uri", "https://127.0.0.2:9/other?fixed=1", "invalid_grant"), InlineData("redirect_uri", null, "invalid_grant")]
    [InlineData("code_verifier", "another-code-verifier-of-the-tests-0123456789-abc", "invalid_grant"), InlineData("code_verifier", null, "invalid_grant")]
    [InlineData("client_id", "nobody", "invalid_client"), InlineData("client_id", "koseki-demo", "invalid_client"), InlineData("client_id", "other-system", "invalid_grant"), InlineData("client_secret", "x", "invalid_client")]
    public async Task A_bad_token_request_gets_the_error_the_rfc_names(string name, string? value, string error)
    {
        using var browser = new TestBrowser(_broker);
        var code = TestBrowser.Parameter(await browser.SignInAsync(Terminal), "code");
        using var response = await browser.TokenAsync(code, (name, value));
        Assert.Equal(error, await ErrorAsync(response));
        Assert.Equal(error == "invalid_client" ? HttpStatusCode.Unauthorized : HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task The_id_token_says_who_where_and_how()
    {
        using var browser = new TestBrowser(_broker);
        var (access, id) = await browser.TokensAsync(Terminal);
        var claims = JsonElement.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(id.Split('.')[1]));
        Assert.Equal(_broker.Issuer, claims.GetProperty("iss").GetString());
        Assert.Equal("p-1001", claims.GetProperty("sub").GetString());
        Assert.Equal("public-client", claims.GetProperty("aud").GetString());
        Assert.Equal("the-nonce", claims.GetProperty("nonce").GetString());
        Assert.Equal("urn:accessbroker:acr:card", claims.GetProperty("acr").GetString());
        Assert.Equal(["sc", "pin", "mfa"], claims.GetProperty("amr").EnumerateArray().Select(a => a.GetString()));
        Assert.Equal("t-01", claims.GetProperty("terminal").GetString());
        Assert.Equal("my-number", claims.GetProperty("segment").GetString());
        Assert.InRange(claims.GetProperty("auth_time").GetInt64(), DateTimeOffset.UtcNow.AddMinutes(-1).ToUnixTimeSeconds(), DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 1);
        Assert.True(claims.TryGetProperty("sid", out _) && claims.TryGetProperty("at_hash", out _));
        using var info = await browser.UserInfoAsync(access);
        Assert.Equal("試験 一子", (await info.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("name").GetString());
        var jwks = await browser.Http.GetFromJsonAsync<JsonElement>(new Uri("/.well-known/jwks.json", UriKind.Relative));
        Assert.NotNull(AccessBroker.Oidc.Jose.CompactJws.Verify(id, jwks));
        Assert.False(jwks.GetProperty("keys")[0].TryGetProperty("d", out _));
    }

    [Fact]
    public async Task A_code_works_once_and_its_replay_takes_back_the_token()
    {
        using var browser = new TestBrowser(_broker);
        var code = TestBrowser.Parameter(await browser.SignInAsync(Terminal), "code");
        using var first = await browser.TokenAsync(code);
        var access = (await first.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("access_token").GetString()!;
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        using var replay = await browser.TokenAsync(code);
        Assert.Equal("invalid_grant", await ErrorAsync(replay));
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        Assert.Equal("refused oidc.code-replayed - -", await _broker.LastEventAsync("oidc.token"));
    }

    [Fact]
    public async Task Twenty_parallel_redemptions_give_one_token()
    {
        using var browser = new TestBrowser(_broker);
        var code = TestBrowser.Parameter(await browser.SignInAsync(Terminal), "code");
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => browser.TokenAsync(code)));
        Assert.Single(answers, a => a.IsSuccessStatusCode);
    }

    [Fact]
    public async Task An_expired_code_is_refused()
    {
        using var browser = new TestBrowser(_broker);
        var code = TestBrowser.Parameter(await browser.SignInAsync(Terminal), "code");
        await _broker.SqlAsync("update oidc.codes set expires_at = now() - interval '1 second'");
        Assert.Equal("invalid_grant", await ErrorAsync(await browser.TokenAsync(code)));
    }

    [Fact, Trait("Requirement", "SES-01")]
    public async Task Card_out_ends_session_and_token_and_the_code_in_flight()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var code = TestBrowser.Parameter((await browser.AuthorizeAsync()).Headers.Location!, "code");
        await Terminal.RemoveAsync();
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "userinfo refuses", 1);
        Assert.Equal("invalid_grant", await ErrorAsync(await browser.TokenAsync(code)));
        using var again = await browser.AuthorizeAsync(("prompt", "none"));
        Assert.Equal("login_required", TestBrowser.Parameter(again.Headers.Location!, "error"));
        // The card back in does not bring it back.
        await Terminal.InsertAsync("sato");
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
    }

    [Fact]
    public async Task A_silent_agent_ends_the_session_with_its_lease()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await Terminal.StopAsync();
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "the lease runs out", 7);
        await Terminal.StartAsync();
    }

    [Fact]
    public async Task A_live_session_serves_a_second_relying_party_without_the_pin()
    {
        using var browser = new TestBrowser(_broker);
        await browser.SignInAsync(Terminal);
        using var silent = await browser.AuthorizeAsync(("prompt", "none"));
        Assert.NotNull(TestBrowser.Parameter(silent.Headers.Location!, "code"));
        using var login = await browser.AuthorizeAsync(("prompt", "login"));
        Assert.StartsWith("/sign-in/", login.Headers.Location!.OriginalString, StringComparison.Ordinal);
        using var fresh = await browser.AuthorizeAsync(("max_age", "0"));
        Assert.StartsWith("/sign-in/", fresh.Headers.Location!.OriginalString, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "TRM-02")]
    public async Task ATerminal_of_one_system_gets_no_token_for_another()
    {
        using var browser = new TestBrowser(_broker);
        await browser.SignInAsync(Terminal);
        using var response = await browser.AuthorizeAsync(("client_id", "other-system"), ("redirect_uri", "https://127.0.0.2:9/juki"));
        Assert.Equal("access_denied", TestBrowser.Parameter(response.Headers.Location!, "error"));
        Assert.Equal("refused oidc.terminal-of-another-system p-1001 t-01", await _broker.LastEventAsync("oidc.authorize"));
    }

    [Fact]
    public async Task Client_assertions_are_verified_and_work_once()
    {
        using var browser = new TestBrowser(_broker);
        var uri = (await _broker.SqlAsync("select configuration->'redirectUris'->>0 from oidc.clients where id = 'koseki-demo'"))[0];
        async Task<HttpResponseMessage> RedeemAsync(string assertion)
        {
            using var authorize = await browser.AuthorizeAsync(("client_id", "koseki-demo"), ("redirect_uri", uri));
            return await browser.TokenAsync(TestBrowser.Parameter(authorize.Headers.Location!, "code"), ("redirect_uri", uri), ("client_id", "koseki-demo"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", assertion));
        }
        await browser.SignInAsync(Terminal);
        var good = Assertion([]);
        using var accepted = await RedeemAsync(good);
        Assert.Equal(HttpStatusCode.OK, accepted.StatusCode);
        foreach (var bad in (string[])[good, good[..^4] + "AAAA", Assertion(new() { ["aud"] = "https://other.example" }), Assertion(new() { ["exp"] = DateTimeOffset.UtcNow.AddMinutes(-2).ToUnixTimeSeconds() }),
            Assertion(new() { ["exp"] = DateTimeOffset.UtcNow.AddHours(2).ToUnixTimeSeconds() }), Assertion(new() { ["iss"] = "somebody" }), Assertion(new() { ["jti"] = "" }), Assertion(new() { ["nbf"] = DateTimeOffset.UtcNow.AddMinutes(5).ToUnixTimeSeconds() }),
            Assertion([], "none"), Assertion([], "HS256")])
        {
            using var refused = await RedeemAsync(bad);
            Assert.Equal("invalid_client", await ErrorAsync(refused));
        }
    }

    private string Assertion(Dictionary<string, object> changes, string algorithm = "ES256")
    {
        using var key = System.Security.Cryptography.ECDsa.Create();
        key.ImportFromPem(File.ReadAllText(Path.Combine(Place.Directory, "client.key")));
        var claims = new Dictionary<string, object> { ["iss"] = "koseki-demo", ["sub"] = "koseki-demo", ["aud"] = _broker.Issuer, ["exp"] = DateTimeOffset.UtcNow.AddMinutes(1).ToUnixTimeSeconds(), ["jti"] = Guid.NewGuid().ToString() };
        foreach (var (name, value) in changes) claims[name] = value;
        static string Part(object value) => System.Buffers.Text.Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(value));
        var input = $"{Part(new { alg = algorithm })}.{Part(claims)}";
        return $"{input}.{System.Buffers.Text.Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(input), System.Security.Cryptography.HashAlgorithmName.SHA256))}";
    }

    [Fact]
    public async Task Discovery_follows_the_issuer_never_the_host_header()
    {
        var (_, text, _) = await Place.RunAsync("curl", ["-sS", "--cacert", $"{Place.Directory}/tls/ca.pem", "-H", "Host: evil.example", _broker.Issuer + "/.well-known/openid-configuration"]);
        Assert.DoesNotContain("evil", text, StringComparison.Ordinal);
        Assert.Equal(_broker.Issuer + "/connect/token", JsonElement.Parse(text).GetProperty("token_endpoint").GetString());
    }

    [Fact]
    public async Task Userinfo_answers_the_header_only_and_says_why_not()
    {
        using var client = _broker.Client();
        using var none = await client.GetAsync(new Uri("/connect/userinfo", UriKind.Relative));
        Assert.Equal("Bearer", none.Headers.WwwAuthenticate.ToString());
        using var query = await client.GetAsync(new Uri("/connect/userinfo?access_token=abc", UriKind.Relative));
        Assert.Equal(HttpStatusCode.Unauthorized, query.StatusCode);
        client.DefaultRequestHeaders.Authorization = new("Bearer", new string('a', 43));
        using var wrong = await client.GetAsync(new Uri("/connect/userinfo", UriKind.Relative));
        Assert.Contains("invalid_token", wrong.Headers.WwwAuthenticate.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task End_session_needs_a_token_of_ours()
    {
        using var browser = new TestBrowser(_broker);
        var (access, id) = await browser.TokensAsync(Terminal);
        using var without = await browser.Http.GetAsync(new Uri("/connect/endsession?post_logout_redirect_uri=https://127.0.0.2:9/bye", UriKind.Relative));
        Assert.Equal("/signed-out?ask=yes", without.Headers.Location!.OriginalString);
        using var forged = await browser.Http.GetAsync(new Uri($"/connect/endsession?id_token_hint={id[..^6]}AAAAAA", UriKind.Relative));
        Assert.Equal("/signed-out?ask=yes", forged.Headers.Location!.OriginalString);
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        using var stranger = await browser.Http.GetAsync(new Uri($"/connect/endsession?id_token_hint={id}&post_logout_redirect_uri=https://evil.example/", UriKind.Relative));
        Assert.Equal("/signed-out", stranger.Headers.Location!.OriginalString);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        using var good = await browser.Http.GetAsync(new Uri($"/connect/endsession?id_token_hint={id}&post_logout_redirect_uri=https://127.0.0.2:9/bye&state=s%261", UriKind.Relative));
        Assert.Equal("https://127.0.0.2:9/bye?state=s%261", good.Headers.Location!.OriginalString);
    }

    [Fact]
    public async Task Garbage_is_counted_together_not_row_by_row()
    {
        var before = await _broker.SqlAsync("select count(*) from history.events");
        using var client = _broker.Client();
        for (var i = 0; i < 200; i++) await client.GetAsync(new Uri($"/connect/authorize?client_id=c{i % 3}&redirect_uri=x", UriKind.Relative));
        Assert.Equal(before, await _broker.SqlAsync("select count(*) from history.events"));
    }

    [Theory]
    [InlineData("/"), InlineData("/health"), InlineData("/connect/error"), InlineData("/sign-in/x")]
    public async Task Every_page_is_locked_down(string path)
    {
        using var client = _broker.Client();
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative));
        var policy = response.Headers.GetValues("Content-Security-Policy").Single();
        Assert.StartsWith("default-src 'none'; script-src 'self'; style-src 'self'", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
        Assert.Equal("nosniff", response.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal("no-referrer", response.Headers.GetValues("Referrer-Policy").Single());
        Assert.DoesNotMatch("<script(?![^>]*src=)|style=|\\son[a-z]+=\"", await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("%2F%09%2Fevil.example"), InlineData("%2F%2Fevil.example"), InlineData("%2F%5Cevil.example"), InlineData("https%3A%2F%2Fevil.example"), InlineData("%2F%0A%2Fevil.example"), InlineData("%2F%00"), InlineData("%2F%E3%81%82")]
    public async Task A_way_back_that_leads_elsewhere_becomes_the_first_page(string path)
    {
        using var browser = new TestBrowser(_broker);
        using var language = await browser.Http.GetAsync(new Uri("/language?to=ja&back=" + path, UriKind.Relative));
        Assert.Equal("/", language.Headers.Location!.OriginalString);
        using var signIn = await browser.Http.GetAsync(new Uri("/sign-in?to=" + path, UriKind.Relative));
        Assert.StartsWith("/sign-in/", signIn.Headers.Location!.OriginalString, StringComparison.Ordinal);
        Assert.Equal(["/"], await _broker.SqlAsync("select return_path from sign_in.transactions order by changed_at desc limit 1"));
    }

    [Fact]
    public async Task Texts_that_are_no_texts_are_refused_without_a_fault()
    {
        using var client = _broker.Client();
        static string Part(string json) => System.Buffers.Text.Base64Url.EncodeToString(Encoding.Latin1.GetBytes(json));
        foreach (var assertion in (string[])[$"{Part("{\"alg\":\"ES256\"}")}.{Part("{\"sub\":\"\\ud800\"}")}.AAAA", $"{Part("{\"alg\":\"\\ud800\"}")}.{Part("{\"sub\":\"koseki-demo\"}")}.AAAA",
            $"{Part("{\"\\ud800\":1}")}.{Part("{\"sub\":\"koseki-demo\"}")}.AAAA", $"{Part("{}")}.{Part("{\"sub\":\"\u00ff\"}")}.AAAA", $"{Part("{}")}.{Part("{\"sub\":\"\\u0000\"}")}.AAAA"])
        {
            using var token = await client.PostAsync(new Uri("/connect/token", UriKind.Relative), new FormUrlEncodedContent(new Dictionary<string, string> { ["grant_type"] = "authorization_code", ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", ["client_assertion"] = assertion }));
            Assert.Equal("invalid_client", await ErrorAsync(token));
            using var end = await client.GetAsync(new Uri($"/connect/endsession?id_token_hint={assertion}", UriKind.Relative));
            Assert.Equal("/signed-out?ask=yes", end.Headers.Location!.OriginalString);
        }
        using var odd = new StringContent("a=b", Encoding.ASCII, "application/x-www-form-urlencoded");
        odd.Headers.ContentType!.CharSet = "utf-7";
        using var charset = await client.PostAsync(new Uri("/connect/token", UriKind.Relative), odd);
        Assert.Equal(HttpStatusCode.BadRequest, charset.StatusCode);
        using var nul = await client.GetAsync(new Uri("/connect/authorize?x%00y=1", UriKind.Relative));
        Assert.Equal("/connect/error", nul.Headers.Location!.OriginalString);
    }

    [Fact]
    public async Task A_post_from_another_site_is_refused()
    {
        using var browser = new TestBrowser(_broker);
        var transaction = await browser.OpenAsync();
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/sign-in/{transaction}/handle") { Content = JsonContent.Create(new { }) };
        request.Headers.Add("Origin", "https://evil.example");
        using var response = await browser.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
        Assert.Contains("web.cross-origin", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }
}
