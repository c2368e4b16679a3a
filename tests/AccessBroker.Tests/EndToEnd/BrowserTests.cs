using System.Diagnostics;
using System.Text.Json;
using AccessBroker.Tests.Support;
using Microsoft.Playwright;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>Debian's Chromium at the relying party, the sign-in page, a card in pcscd, a scripted pinentry; then the card leaves.</summary>
public sealed class BrowserTests(BrowserTests.Host broker) : IClassFixture<BrowserTests.Host>, IAsyncLifetime
{
    /// <summary>A broker, its demo relying party, and a browser that trusts the tests' CA by NSS, as a terminal's would.</summary>
    public class Host : BrokerHost, IAsyncLifetime
    {
        private readonly int _relyingPartyPort = Place.FreePort("127.0.0.2");
        private Process? _relyingParty;
        private IPlaywright? _playwright;
        public string RelyingParty => $"https://127.0.0.2:{_relyingPartyPort}";
        public IBrowserContext Browser { get; private set; } = null!;

        async ValueTask IAsyncLifetime.InitializeAsync()
        {
            await InitializeAsync();
            await SqlAsync($"update oidc.clients set configuration = configuration || '{{\"redirectUris\": [\"{RelyingParty}/callback\"], \"postLogoutRedirectUris\": [\"{RelyingParty}/\"]}}' where id = 'koseki-demo'");
            var settings = Path.Combine(DataDirectory, "rp.json");
            await File.WriteAllTextAsync(settings, JsonSerializer.Serialize(new { origin = RelyingParty, issuer = Issuer, clientId = "koseki-demo", keyFile = $"{Place.Directory}/client.key", brokerCa = $"{Place.Directory}/tls/ca.pem", tlsCertificate = $"{Place.Directory}/tls/rp.pem", tlsKey = $"{Place.Directory}/tls/rp.key" }));
            _relyingParty = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(Place.App("rp"), "DemoRelyingParty.dll"), "run", settings]));
            var home = Path.Combine(DataDirectory, "home");
            Directory.CreateDirectory(Path.Combine(home, ".pki/nssdb"));
            await Place.RunAsync("certutil", ["-d", $"sql:{home}/.pki/nssdb", "-N", "--empty-password"]);
            await Place.RunAsync("certutil", ["-d", $"sql:{home}/.pki/nssdb", "-A", "-t", "C,,", "-n", "ca", "-i", $"{Place.Directory}/tls/ca.pem"]);
            _playwright = await Playwright.CreateAsync();
            Browser = await _playwright.Chromium.LaunchPersistentContextAsync(Path.Combine(home, "profile"), new()
            {
                ExecutablePath = "/usr/bin/chromium",
                ChromiumSandbox = false,
                Locale = "ja-JP",
                ViewportSize = new() { Width = 1366, Height = 768 },
                Env = new Dictionary<string, string> { ["HOME"] = home, ["PATH"] = System.Environment.GetEnvironmentVariable("PATH")! },
                Args = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
            });
            Browser.SetDefaultTimeout(15_000);
        }

        async ValueTask IAsyncDisposable.DisposeAsync()
        {
            await Browser.CloseAsync();
            _playwright!.Dispose();
            _relyingParty!.Kill();
            await DisposeAsync();
            GC.SuppressFinalize(this);
        }
    }

    private TestTerminal _terminal = null!;
    private readonly List<string> _complaints = [];

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        await broker.Browser.ClearCookiesAsync();
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private async Task<IPage> PageAsync(string url)
    {
        var page = await broker.Browser.NewPageAsync();
        // A CSP violation or a script error fails the test.
        page.Console += (_, message) => { if (message.Type == "error" && !message.Text.Contains("status of 4", StringComparison.Ordinal) && !message.Text.Contains("ERR_CONNECTION_REFUSED", StringComparison.Ordinal)) _complaints.Add(message.Text); };
        page.PageError += (_, error) => _complaints.Add(error);
        await page.GotoAsync(url);
        return page;
    }

    private async Task<IPage> SignInAsync(string url)
    {
        var page = await PageAsync(url);
        await page.ClickAsync("#sign-in");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        return page;
    }

    [Fact, Trait("Requirement", "SES-01"), Trait("Requirement", "CRD-07")]
    public async Task An_operator_signs_in_works_and_loses_access_when_the_card_leaves()
    {
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        var page = await PageAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        var number = await page.TextContentAsync(".number output");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        Assert.Contains($"確認番号: {number}", _terminal.Asked, StringComparison.Ordinal);
        Assert.Contains("試験 一子", await page.TextContentAsync(".who"), StringComparison.Ordinal);
        await page.ClickAsync("#next");
        // The relying party has verified the ID token against the JWKS, or it would say so.
        Assert.Contains("試験 一子", await page.TextContentAsync("#who"), StringComparison.Ordinal);
        await _terminal.RemoveAsync();
        await page.WaitForSelectorAsync("#ended");
        Assert.Equal("ended sessions.card-removed p-1001 t-01", await broker.EventAsync("sessions.end", "ended sessions.card-removed p-1001 t-01"));
        Assert.Empty(_complaints);
    }

    [Fact, Trait("Requirement", "IDN-12"), Trait("Requirement", "INC-04")]
    public async Task The_second_sign_in_shows_the_first_and_this_was_not_me_is_recorded()
    {
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        var page = await SignInAsync(broker.RelyingParty);
        await _terminal.RemoveAsync();
        await _terminal.InsertAsync("sato");
        _terminal.Types("99999999", Place.Pin);
        page = await SignInAsync(broker.RelyingParty);
        Assert.Contains("試験1番窓口", await page.TextContentAsync(".last"), StringComparison.Ordinal);
        Assert.Contains("1 回", await page.TextContentAsync(".last"), StringComparison.Ordinal);
        // A failure since the last time: the page does not go on by itself.
        Assert.Null(await page.GetAttributeAsync("#next", "data-after"));
        await page.ClickAsync("#not-me summary");
        await page.FillAsync("#first-aid", "カードを抜いた");
        await page.ClickAsync("#not-me button");
        await page.WaitForSelectorAsync(".notice.done");
        Assert.Equal("done  p-1001 t-01", await broker.LastEventAsync("sign-in.not-me"));
        Assert.Equal(["4|カードを抜いた"], await broker.SqlAsync("select (select count(*) from jsonb_object_keys(items)), items->>'行った応急措置' from incidents.candidates where kind = 'not-me'"));
        Assert.Empty(_complaints);
    }

    [Fact]
    public async Task Sign_out_at_the_relying_party_ends_the_session_and_returns()
    {
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        var page = await SignInAsync(broker.RelyingParty);
        await page.ClickAsync("#next");
        await page.ClickAsync("#who a");
        await page.WaitForSelectorAsync("#ended");
        Assert.Equal("ended sessions.signed-out p-1001 t-01", await broker.LastEventAsync("sessions.end"));
    }

    [Fact]
    public async Task A_refusal_a_lock_and_a_missing_agent_are_told_on_the_page()
    {
        await _terminal.InsertAsync("lost");
        var page = await PageAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        await page.ClickAsync("#start");
        await page.WaitForSelectorAsync("[data-for=refused]:visible");
        Assert.Matches("^[2-9A-HJKMNP-Z]{8}$", await page.TextContentAsync(".receipt"));
        Assert.Contains("内線", await page.TextContentAsync("[data-for=refused]"), StringComparison.Ordinal);
        await broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by, locked_until) select 'terminal:t-01', array_agg(now()), array_agg(''::text), now() + interval '20 minutes' from generate_series(1, 10) on conflict (subject) do update set failures = excluded.failures, failed_by = excluded.failed_by, locked_until = excluded.locked_until");
        await page.ClickAsync("#start");
        await page.WaitForSelectorAsync("[data-for=locked]:visible");
        await _terminal.StopAsync();
        await page.ClickAsync("#start");
        await page.WaitForSelectorAsync("[data-for=no-agent]:visible");
        await _terminal.StartAsync();
        Assert.Empty(_complaints);
    }

    [Fact]
    public async Task An_administrator_sees_the_latest_events_and_an_operator_does_not()
    {
        await _terminal.InsertAsync("admin");
        _terminal.Types(Place.Pin);
        var page = await PageAsync(broker.Issuer + "/history");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        await page.WaitForSelectorAsync("table.events");
        Assert.Contains("サインイン", await page.TextContentAsync("table.events"), StringComparison.Ordinal);
        await AccessibleAsync(page);
        await _terminal.RemoveAsync();
        await broker.Browser.ClearCookiesAsync();
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        page = await PageAsync(broker.Issuer + "/history");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        var response = await page.GotoAsync(broker.Issuer + "/history");
        Assert.Equal(403, response!.Status);
        Assert.Equal("refused authorization.not-permitted p-1001 t-01", await broker.EventAsync("history.read", "refused authorization.not-permitted p-1001 t-01"));
    }

    [Fact, Trait("Requirement", "NET-13")]
    public void Broker_and_agent_listen_on_loopback_only()
    {
        // /proc/net/tcp: local address in host byte order, state 0A = LISTEN; the last byte of an IPv4 loopback address in that form is 7F.
        var own = new[] { broker.ProcessId, Environment.ProcessId }.SelectMany(p => Directory.GetFiles($"/proc/{p}/fd")).Select(f => new FileInfo(f).LinkTarget ?? "").Where(t => t.StartsWith("socket:[", StringComparison.Ordinal)).Select(t => t[8..^1]).ToHashSet();
        var listening = new[] { "tcp", "tcp6" }.SelectMany(t => File.ReadLines($"/proc/net/{t}").Skip(1)).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(f => f[3] == "0A" && own.Contains(f[9])).Select(f => f[1].Split(':')[0]).ToList();
        Assert.True(listening.Count >= 3);
        Assert.All(listening, address => Assert.EndsWith("7F", address, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_pages_pass_axe_and_speak_english_on_request()
    {
        await _terminal.InsertAsync("sato");
        var page = await PageAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        await AccessibleAsync(page);
        await page.ClickAsync(".language");
        await page.WaitForSelectorAsync("html[lang=en]");
        Assert.DoesNotMatch("[぀-ヿ]", (await page.TextContentAsync(".steps"))!);
        await AccessibleAsync(page);
        foreach (var path in (string[])["/health", "/", "/connect/error", "/signed-out", "/sign-in/nothing"])
        {
            await page.GotoAsync(broker.Issuer + path);
            await AccessibleAsync(page);
        }
        await page.GotoAsync(broker.Issuer + "/language?to=ja");
    }

    internal static async Task AccessibleAsync(IPage page)
    {
        await page.EvaluateAsync(await File.ReadAllTextAsync(Path.Combine(Place.Root, "tests/npm/node_modules/axe-core/axe.min.js")) + "; undefined");
        var violations = await page.EvaluateAsync<string>("async () => JSON.stringify((await axe.run()).violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' ')))");
        Assert.Equal("[]", violations);
    }
}
