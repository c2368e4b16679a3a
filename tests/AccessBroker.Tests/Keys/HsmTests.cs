using System.Net;
using System.Security.Cryptography;
using AccessBroker.Keys;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace AccessBroker.Tests.Keys;

/// <summary>The broker on the simulated HSM: paused, killed, restarted, misconfigured.</summary>
public sealed class HsmTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    protected override async Task EndAsync()
    {
        await Place.HsmAsync("resume");
        await Place.HsmAsync("start");
    }

    [Theory]
    [InlineData("pause", "resume"), InlineData("kill", "start")]
    public async Task With_the_hsm_away_tokens_are_503_the_code_stays_good_and_card_out_still_works(string away, string back)
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var code = TestBrowser.Parameter((await browser.AuthorizeAsync()).Headers.Location!, "code");
        await Place.HsmAsync(away);
        using var refused = await browser.TokenAsync(code);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.Contains("keys.hsm-unavailable", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.NotNull(refused.Headers.RetryAfter);
        using var health = new HttpRequestMessage(HttpMethod.Get, "/health") { Headers = { { "Accept", "application/json" } } };
        using var state = await browser.Http.SendAsync(health);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, state.StatusCode);
        Assert.Contains("\"name\":\"hsm\",\"title\":", await state.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        await Place.HsmAsync(back);
        // Recovered without a restart, within 2 s; and the code was not lost.
        await Eventually.TrueAsync(async () => (await browser.TokenAsync(code)).IsSuccessStatusCode, "tokens again", 2);
        await Place.HsmAsync(away);
        await Terminal.RemoveAsync();
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "card out ends access with the HSM away", 1);
        await Place.HsmAsync(back);
        await Terminal.InsertAsync("sato");
    }

    [Fact]
    public async Task A_dead_connection_is_replaced_without_an_error_to_the_caller()
    {
        using var browser = new TestBrowser(_broker);
        await browser.TokensAsync(Terminal);
        await Place.HsmAsync("restart");
        using var fresh = await browser.TokenAsync(TestBrowser.Parameter((await browser.AuthorizeAsync()).Headers.Location!, "code"));
        Assert.Equal(HttpStatusCode.OK, fresh.StatusCode);
    }

    private static HsmOptions Options(string? module = null)
    {
        var options = new HsmOptions { PinFile = $"{Place.Directory}/hsm/pin", Connections = 1 };
        if (module is not null) options.Module = module;
        options.Environment["P11_KIT_SERVER_ADDRESS"] = Place.HsmSocket;
        return options;
    }

    [Fact, Trait("Requirement", "KEY-01")]
    public async Task A_missing_key_or_token_is_refused()
    {
        await using var hsm = new Pkcs11Hsm(Options(), NullLogger<Pkcs11Hsm>.Instance);
        await Assert.ThrowsAsync<HsmKeyRefusedException>(() => hsm.PublicKeyAsync(new("accessbroker-signing", "77"), default));
        var wrong = Options();
        wrong.SigningToken = "nothing-of-this-name";
        await using var other = new Pkcs11Hsm(wrong, NullLogger<Pkcs11Hsm>.Instance);
        await Assert.ThrowsAsync<HsmUnavailableException>(() => other.CheckAsync(default));
    }

    [Fact, Trait("Requirement", "KEY-01")]
    public async Task The_operating_socket_makes_and_destroys_no_key()
    {
        await Assert.ThrowsAsync<Pkcs11Exception>(() => KeyCeremony.CreateAsync(Missing(), Path.Combine(Place.Directory, "nowhere"), TimeProvider.System, default));
        static HsmOptions Missing() => Options();
    }

    [Fact]
    public async Task Four_hundred_signatures_of_eight_callers_are_all_good()
    {
        await using var hsm = new Pkcs11Hsm(Options(), NullLogger<Pkcs11Hsm>.Instance);
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(await hsm.PublicKeyAsync(Options().TokenKey, default), out _);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(n => Task.Run(async () =>
        {
            for (var i = 0; i < 50; i++)
            {
                var digest = SHA256.HashData([(byte)n, (byte)i]);
                Assert.True(key.VerifyHash(digest, await hsm.SignAsync(Options().TokenKey, digest, default)));
            }
        })));
    }
}

/// <summary>pkcs11-spy between broker and HSM: what our code really does with the module.</summary>
public sealed partial class SpyTests(SpyTests.Host broker) : IClassFixture<SpyTests.Host>
{
    public sealed class Host : BrokerHost
    {
        public string SpyLog => Path.Combine(DataDirectory, "spy.log");
        protected override IEnumerable<KeyValuePair<string, string>> Settings =>
        [
            new("Hsm__Module", "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so"), new("Hsm__Connections", "1"),
            new("Hsm__Environment__PKCS11SPY", "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"), new("Hsm__Environment__PKCS11SPY_OUTPUT", SpyLog),
        ];
    }

    [Fact, Trait("Requirement", "KEY-01")]
    public async Task One_signature_per_token_one_login_per_token_and_no_look_at_a_private_value()
    {
        var terminal = await broker.TerminalAsync();
        await terminal.InsertAsync("sato");
        using var browser = new TestBrowser(broker);
        await browser.TokensAsync(terminal);
        int Count(string call) => File.ReadAllText(broker.SpyLog).Split($": {call}\n").Length - 1;
        // By key: once a minute the list of those who may order a stop is signed as well, with a key of its own.
        Dictionary<string, int> Signed() => SignInit().Matches(File.ReadAllText(broker.SpyLog)).GroupBy(m => m.Groups[1].Value).ToDictionary(g => g.Key, g => g.Count());
        var (signed, logins) = (Signed(), Count("C_Login"));
        for (var i = 0; i < 5; i++)
        {
            using var token = await browser.TokenAsync(TestBrowser.Parameter((await browser.AuthorizeAsync()).Headers.Location!, "code"));
            Assert.True(token.IsSuccessStatusCode);
        }
        var more = Signed().Select(k => k.Value - signed.GetValueOrDefault(k.Key)).Order().ToArray();
        Assert.Equal(5, more[^1]);
        Assert.All(more[..^1], n => Assert.InRange(n, 0, 1));
        Assert.Equal(logins, Count("C_Login"));
        var log = await File.ReadAllTextAsync(broker.SpyLog);
        Assert.Contains("C_GetAttributeValue", log, StringComparison.Ordinal);
        Assert.DoesNotContain("CKA_VALUE ", log, StringComparison.Ordinal);
        Assert.DoesNotContain("CKA_PRIVATE_EXPONENT", log, StringComparison.Ordinal);
        File.Delete(broker.SpyLog);
    }

    [System.Text.RegularExpressions.GeneratedRegex(@": C_SignInit\n.*?\[in\] hKey = (0x[0-9a-f]+)", System.Text.RegularExpressions.RegexOptions.Singleline | System.Text.RegularExpressions.RegexOptions.IgnoreCase)]
    private static partial System.Text.RegularExpressions.Regex SignInit();
}
