using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>RFC 9470: a resource server asks for more than was proven, the relying party brings its challenge to the broker, the operator proves anew.</summary>
public sealed class StepUpTests(BrokerHost broker) : IClassFixture<BrokerHost>, IAsyncLifetime
{
    /// <summary>npm openid-client on both sides: the relying party, and a resource server that introspects (RFC 7662) and challenges.</summary>
    private const string Script = """
        import * as client from 'openid-client';
        import http from 'node:http';
        import fs from 'node:fs';
        import { createPrivateKey, webcrypto } from 'node:crypto';
        import readline from 'node:readline';
        const [, , issuer, redirect_uri, keyFile] = process.argv;
        const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
        const wanted = 'urn:accessbroker:acr:privileged', age = 300;
        const key = await webcrypto.subtle.importKey('pkcs8', createPrivateKey(fs.readFileSync(keyFile)).export({ type: 'pkcs8', format: 'der' }), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
        const introspecting = await client.discovery(new URL(issuer), 'koseki-demo', undefined, client.PrivateKeyJwt(key));
        const resource = http.createServer(async (request, response) => {
          const token = (request.headers.authorization ?? '').replace('Bearer ', '');
          const told = await client.tokenIntrospection(introspecting, token);
          if (!told.active) { response.writeHead(401, { 'WWW-Authenticate': 'Bearer error="invalid_token"' }); return response.end(); }
          if (told.acr !== wanted || Date.now() / 1000 - told.auth_time > age) { response.writeHead(401, { 'WWW-Authenticate': `Bearer error="insufficient_user_authentication", acr_values="${wanted}", max_age="${age}"` }); return response.end(); }
          response.end(JSON.stringify({ done: 'for ' + told.sub }));
        }).listen(0, '127.0.0.1');
        await new Promise((resolve) => resource.once('listening', resolve));
        const url = new URL(`http://127.0.0.1:${resource.address().port}/`);
        const config = await client.discovery(new URL(issuer), 'public-client', undefined, client.None());
        const signIn = async (more) => {
          const verifier = client.randomPKCECodeVerifier(), state = client.randomState(), nonce = client.randomNonce();
          console.log(client.buildAuthorizationUrl(config, { redirect_uri, scope: 'openid', state, nonce, code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more }).href);
          return client.authorizationCodeGrant(config, new URL((await lines.next()).value), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
        };
        const first = await signIn({});
        const challenge = (await fetch(url, { headers: { authorization: `Bearer ${first.access_token}` } })).headers.get('www-authenticate');
        const parts = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]]));
        const second = await signIn({ acr_values: parts.acr_values, max_age: parts.max_age });
        const after = await fetch(url, { headers: { authorization: `Bearer ${second.access_token}` } });
        console.log(JSON.stringify({ challenge: parts.error, first: first.claims().acr, second: second.claims().acr, status: after.status, body: await after.text() }));
        process.exit(0);
        """;

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
        await _terminal.InsertAsync("sato");
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    [Fact, Trait("Requirement", "IDN-04"), Trait("Requirement", "SES-08")]
    public async Task A_resource_server_challenges_and_the_operator_proves_anew()
    {
        var script = Path.Combine(Place.Root, "tests/npm/step-up.mjs");
        await File.WriteAllTextAsync(script, Script);
        using var node = Process.Start(new ProcessStartInfo("node", [script, broker.Issuer, TestBrowser.RedirectUri, $"{Place.Directory}/client.key"]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, Environment = { ["NODE_EXTRA_CA_CERTS"] = $"{Place.Directory}/tls/ca.pem" } })!;
        using var browser = new TestBrowser(broker);
        for (var i = 0; i < 2; i++)
        {
            var url = new Uri(await node.StandardOutput.ReadLineAsync() ?? await node.StandardError.ReadToEndAsync());
            var changes = System.Web.HttpUtility.ParseQueryString(url.Query);
            // SignInAsync would fail if no new proof were asked for.
            var callback = await browser.SignInAsync(_terminal, [.. changes.AllKeys.Select(k => (k!, changes[k]))]);
            await node.StandardInput.WriteLineAsync(callback.AbsoluteUri);
        }
        var output = await node.StandardOutput.ReadToEndAsync();
        Assert.True(output.Length > 0, await node.StandardError.ReadToEndAsync());
        Assert.Equal("""{"challenge":"insufficient_user_authentication","first":"urn:accessbroker:acr:card","second":"urn:accessbroker:acr:privileged","status":200,"body":"{\"done\":\"for p-1001\"}"}""", output.Trim());
        File.Delete(script);
    }

    private static async Task<string> WhereAsync(TestBrowser browser, params (string, string?)[] changes)
    {
        using var response = await browser.AuthorizeAsync(changes);
        var to = response.Headers.Location!.OriginalString;
        return to.StartsWith("/sign-in/", StringComparison.Ordinal) ? "sign-in" : TestBrowser.Parameter(new Uri(to), "error") ?? (TestBrowser.Parameter(new Uri(to), "code") is null ? to : "code");
    }

    [Fact, Trait("Requirement", "IDN-04")]
    public async Task What_was_proven_lately_enough_is_not_asked_again_and_what_is_old_is()
    {
        using var browser = new TestBrowser(broker);
        await browser.SignInAsync(_terminal);
        const string acr = "urn:accessbroker:acr:";
        Assert.Equal("code", await WhereAsync(browser, ("acr_values", acr + "card")));
        Assert.Equal("code", await WhereAsync(browser, ("acr_values", acr + "multi")));
        // A wish that we do not know is a wish (OpenID Connect Core §3.1.2.1); the first that we know counts.
        Assert.Equal("code", await WhereAsync(browser, ("acr_values", "urn:example:gold")));
        Assert.Equal("sign-in", await WhereAsync(browser, ("acr_values", $"urn:example:gold {acr}privileged {acr}card")));
        Assert.Equal("login_required", await WhereAsync(browser, ("acr_values", acr + "privileged"), ("prompt", "none")));
        await browser.SignInAsync(_terminal, ("acr_values", acr + "privileged"));
        Assert.Equal("code", await WhereAsync(browser, ("acr_values", acr + "privileged")));
        await broker.SqlAsync("update sessions.sessions set auth_time = now() - interval '6 minutes' where ended_at is null");
        Assert.Equal("sign-in", await WhereAsync(browser, ("acr_values", acr + "privileged")));
        Assert.Equal("code", await WhereAsync(browser, ("acr_values", acr + "card")));
    }
}
