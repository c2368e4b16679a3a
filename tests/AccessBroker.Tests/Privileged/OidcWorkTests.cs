using System.Buffers.Text;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Privileged work inside a relying party (RFC 9396): a token only while the work is open, worth nothing from the moment it ends.</summary>
public sealed class OidcWorkTests(OidcWorkTests.City broker) : IClassFixture<OidcWorkTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity
    {
        protected override void ChangePolicies(string directory) => File.WriteAllText(Path.Combine(directory, "privileged.yaml"), Policy.Replace("targets:", "targets:\n  koseki: { name: 戸籍システム, kind: oidc, client: public-client }", StringComparison.Ordinal).TrimEnd() + """

              correct: { name: 戸籍の職権訂正, target: koseki, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: false, actions: [correct] }

            """);
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("update oidc.clients set configuration = jsonb_set(configuration, '{scopes}', '[\"profile\", \"privileged\"]') where id = 'public-client'");
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private const string Details = """[{"type": "privileged_work", "work": "correct"}]""";

    private static async Task<string> AuthorizeAsync(ConsoleBrowser me, string? details, string scope = "openid privileged", string client = "public-client")
    {
        using var response = await me.Http.GetAsync(new Uri("/connect/authorize?" + TestBrowser.Query(TestBrowser.Request(("scope", scope), ("authorization_details", details), ("prompt", "none"), ("client_id", client), ("redirect_uri", client == "public-client" ? TestBrowser.RedirectUri : "https://127.0.0.2:9/juki"))), UriKind.Relative));
        return response.Headers.Location!.Query;
    }

    private static async Task<(HttpStatusCode Status, JsonElement Body)> RedeemAsync(ConsoleBrowser me, string callback)
    {
        using var response = await me.Http.PostAsync(new Uri("/connect/token", UriKind.Relative), new FormUrlEncodedContent(new Dictionary<string, string> { ["grant_type"] = "authorization_code", ["code"] = System.Web.HttpUtility.ParseQueryString(callback)["code"] ?? "", ["redirect_uri"] = TestBrowser.RedirectUri, ["code_verifier"] = TestBrowser.Verifier, ["client_id"] = "public-client" }));
        return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
    }

    private async Task<JsonElement> IntrospectAsync(ConsoleBrowser me, string token)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(Place.Directory, "client.key")));
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        static string Part(object value) => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(value));
        var input = $"{Part(new { alg = "ES256", typ = "JWT" })}.{Part(new { iss = "koseki-demo", sub = "koseki-demo", aud = broker.Issuer, iat = now, exp = now + 60, jti = Secret.New() })}";
        using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["token"] = token, ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", ["client_assertion"] = $"{input}.{Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256))}" });
        using var response = await me.Http.PostAsync("/connect/introspect", form);
        return await response.Content.ReadFromJsonAsync<JsonElement>();
    }

    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-09")]
    public async Task A_relying_party_gets_a_token_for_open_work_only_and_it_ends_with_it()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        // Nothing is open; and what is malformed is said to be.
        Assert.Contains("error=access_denied", await AuthorizeAsync(me, Details), StringComparison.Ordinal);
        foreach (var (details, scope, error) in ((string?, string, string)[])[(null, "openid privileged", "invalid_scope"), (Details, "openid", "invalid_scope"), ("[]", "openid privileged", "invalid_authorization_details"), ("{", "openid privileged", "invalid_authorization_details"),
            ("""[{"type": "other", "work": "correct"}]""", "openid privileged", "invalid_authorization_details"), ("""[{"type": "privileged_work", "work": "correct", "more": 1}]""", "openid privileged", "invalid_authorization_details"), ("""[{"type": "privileged_work", "work": 1}]""", "openid privileged", "invalid_authorization_details")])
            Assert.Contains($"error={error}", await AuthorizeAsync(me, details, scope), StringComparison.Ordinal);

        var request = await PrivilegedCity.AskAsync(me, "correct", 5);
        await broker.ApproveAsync(request);
        var (session, told) = await PrivilegedCity.StartAsync(me, request);
        Assert.True(session is not null, ConsoleBrowser.Notice(told));
        Assert.Contains("error=access_denied", await AuthorizeAsync(me, """[{"type": "privileged_work", "work": "maintain"}]"""), StringComparison.Ordinal);
        var (status, tokens) = await RedeemAsync(me, await AuthorizeAsync(me, Details));
        Assert.True(status == HttpStatusCode.OK, tokens.ToString());
        Assert.Equal(session, tokens.GetProperty("authorization_details")[0].GetProperty("identifier").GetString());
        Assert.InRange(tokens.GetProperty("expires_in").GetInt32(), 1, 300);
        Assert.False(tokens.TryGetProperty("refresh_token", out _));
        var access = tokens.GetProperty("access_token").GetString()!;
        var state = await IntrospectAsync(me, access);
        Assert.True(state.GetProperty("active").GetBoolean(), state.ToString());
        Assert.Equal(("p-9001", "p-8001", "correct"), (state.GetProperty("act").GetProperty("sub").GetString(), state.GetProperty("authorization_details")[0].GetProperty("approved_by")[0].GetString(), state.GetProperty("authorization_details")[0].GetProperty("actions")[0].GetString()));
        // A code that was given out while it was open is worth nothing after its end.
        var late = await AuthorizeAsync(me, Details);
        await me.PostAsync($"/privileged/{session}?handler=end");
        Assert.False((await IntrospectAsync(me, access)).GetProperty("active").GetBoolean());
        using var userInfo = new HttpRequestMessage(HttpMethod.Get, "/connect/userinfo") { Headers = { Authorization = new("Bearer", access) } };
        using var refused = await me.Http.SendAsync(userInfo);
        Assert.Equal(HttpStatusCode.Unauthorized, refused.StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await RedeemAsync(me, late)).Status);
        await broker.StateAsync(session!, "ended");
    }
}
