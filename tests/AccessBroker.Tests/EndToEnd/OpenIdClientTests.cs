using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>npm openid-client 6, an implementation that we did not write, with no setting but the CA certificate.</summary>
public sealed class OpenIdClientTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private const string Script = """
        import * as client from 'openid-client';
        import readline from 'node:readline';
        const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
        const config = await client.discovery(new URL(process.argv[2]), 'public-client', undefined, client.None());
        const verifier = client.randomPKCECodeVerifier(), state = client.randomState(), nonce = client.randomNonce();
        console.log(client.buildAuthorizationUrl(config, { redirect_uri: process.argv[3], scope: 'openid profile', state, nonce, code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }).href);
        const tokens = await client.authorizationCodeGrant(config, new URL((await lines.next()).value), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
        const info = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
        console.log(JSON.stringify({ claims: tokens.claims(), info, logout: client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token }).href }));
        process.exit(0);
        """;

    [Fact]
    public async Task Openid_client_completes_the_flow()
    {
        var terminal = await broker.TerminalAsync();
        await terminal.InsertAsync("sato");
        var script = Path.Combine(Place.Root, "tests/npm/flow.mjs");
        await File.WriteAllTextAsync(script, Script);
        using var node = Process.Start(new ProcessStartInfo("node", [script, broker.Issuer, TestBrowser.RedirectUri]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, Environment = { ["NODE_EXTRA_CA_CERTS"] = $"{Place.Directory}/tls/ca.pem" } })!;
        var url = new Uri(await node.StandardOutput.ReadLineAsync() ?? await node.StandardError.ReadToEndAsync());
        using var browser = new TestBrowser(broker);
        var changes = System.Web.HttpUtility.ParseQueryString(url.Query);
        var callback = await browser.SignInAsync(terminal, [.. changes.AllKeys.Select(k => (k!, changes[k]))]);
        await node.StandardInput.WriteLineAsync(callback.AbsoluteUri);
        var output = await node.StandardOutput.ReadToEndAsync();
        Assert.True(output.Length > 0, await node.StandardError.ReadToEndAsync());
        Assert.Contains("\"sub\":\"p-1001\"", output, StringComparison.Ordinal);
        Assert.Contains("\"terminal\":\"t-01\"", output, StringComparison.Ordinal);
        Assert.Contains("/connect/endsession?", output, StringComparison.Ordinal);
        File.Delete(script);
    }
}
