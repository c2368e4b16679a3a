using System.Text.Json;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.Passkeys;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using Npgsql;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>Passkeys in Debian's Chromium, with its own virtual authenticators: enrolment after card and PIN, sign-in without a card, and keys that misbehave.</summary>
public sealed class PasskeyInBrowserTests(BrowserTests.Host broker) : IClassFixture<BrowserTests.Host>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;
    private ICDPSession _cdp = null!;
    private string _authenticator = "";

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        await broker.Browser.ClearCookiesAsync();
        _terminal = await broker.TerminalAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
        await broker.ClearAsync();
    }

    private async Task<JsonElement> CdpAsync(string method, object? parameters = null) =>
        await _cdp.SendAsync(method, JsonSerializer.SerializeToElement(parameters ?? new { }).EnumerateObject().ToDictionary(p => p.Name, p => (object)p.Value)) ?? default;

    private async Task PlugAsync(IPage page, bool resident = true, bool verifies = true)
    {
        _cdp = await broker.Browser.NewCDPSessionAsync(page);
        await CdpAsync("WebAuthn.enable");
        _authenticator = (await CdpAsync("WebAuthn.addVirtualAuthenticator", new { options = new { protocol = "ctap2", transport = "usb", hasResidentKey = resident, hasUserVerification = true, isUserVerified = verifies, automaticPresenceSimulation = true } })).GetProperty("authenticatorId").GetString()!;
    }

    private async Task<IPage> SignedInAsync()
    {
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        var page = await broker.Browser.NewPageAsync();
        await page.GotoAsync(broker.Issuer + "/sign-in?to=/passkeys");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        await page.WaitForSelectorAsync("#register");
        return page;
    }

    /// <summary>Chromium makes a certificate of its own for each key; its model enters the metadata as a vendor's would.</summary>
    private async Task TrustAsync(IPage page)
    {
        var made = await page.EvaluateAsync<string>("""
            async () => {
              const made = await navigator.credentials.create({ publicKey: { rp: { id: "localhost", name: "x" }, user: { id: new Uint8Array(16), name: "x", displayName: "x" }, challenge: new Uint8Array(32), pubKeyCredParams: [{ type: "public-key", alg: -7 }], attestation: "direct" } });
              return made.toJSON().response.attestationObject;
            }
            """);
        var attestation = AttestationObject.Read(System.Buffers.Text.Base64Url.DecodeFromChars(made))!;
        await using var services = CityServices.Of(broker, TimeProvider.System);
        await using var owner = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__DatabaseOwner"]));
        var anchor = ((List<byte[]>)attestation.Statement["x5c"])[0];
        await ImportMetadata.RunAsync(owner, services.GetRequiredService<CardChange>(), services.GetRequiredService<AccessBroker.Sessions.LiveSessions>(), TestMetadata.Write(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), [(attestation.Aaguid, anchor, ["FIDO_CERTIFIED"])]), TestMetadata.Publisher.Root, TestMetadata.Signer, TimeProvider.System, default);
        await CdpAsync("WebAuthn.clearCredentials", new { authenticatorId = _authenticator });
    }

    private static async Task LookAsync(IPage page, string name)
    {
        await BrowserTests.AccessibleAsync(page);
        Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name} scrolls sideways");
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"passkey-{name}.png"), FullPage = true });
    }

    private async Task<IPage> WithoutCardAsync(IPage page)
    {
        await _terminal.RemoveAsync();
        await broker.Browser.ClearCookiesAsync();
        await page.GotoAsync(broker.Issuer + "/sign-in");
        return page;
    }

    [Fact, Trait("Requirement", "IDN-03"), Trait("Requirement", "IDN-01")]
    public async Task A_key_is_enrolled_signs_in_without_a_card_and_a_clone_of_it_is_found_out()
    {
        var page = await SignedInAsync();
        await PlugAsync(page);
        await page.ClickAsync("#register");
        Assert.Contains("一覧にありません", await page.TextContentAsync("[data-for=failed]:visible"), StringComparison.Ordinal);
        await TrustAsync(page);
        await page.FillAsync("#name", "窓口の青いキー");
        await page.ClickAsync("#register");
        await page.WaitForSelectorAsync("[data-for=done]:visible");
        await LookAsync(page, "enrolled");
        await page.ReloadAsync();
        Assert.Contains("窓口の青いキー", await page.ContentAsync(), StringComparison.Ordinal);
        await LookAsync(page, "mine");
        // No card anywhere: the key does it, and the terminal is this one.
        await WithoutCardAsync(page);
        await LookAsync(page, "sign-in");
        await page.ClickAsync("#passkey");
        await page.WaitForURLAsync("**/signed-in/**");
        Assert.Contains("試験 一子", await page.TextContentAsync(".who"), StringComparison.Ordinal);
        Assert.Equal(["urn:accessbroker:acr:multi|True|t-01"], await broker.SqlAsync("select acr, attested, terminal from sessions.sessions where ended_at is null"));
        // The key does not know its user this time: the page says so and can begin again.
        await WithoutCardAsync(page);
        await CdpAsync("WebAuthn.setUserVerified", new { authenticatorId = _authenticator, isUserVerified = false });
        await page.ClickAsync("#passkey");
        await page.WaitForSelectorAsync("[data-for=no-passkey]:visible, [data-for=cancelled]:visible");
        await CdpAsync("WebAuthn.setUserVerified", new { authenticatorId = _authenticator, isUserVerified = true });
        await page.WaitForSelectorAsync("#passkey:not([disabled])");
        await page.ClickAsync("#passkey");
        await page.WaitForURLAsync("**/signed-in/**");
        // Somebody has copied the key: the copy's counter stands behind.
        var credential = (await CdpAsync("WebAuthn.getCredentials", new { authenticatorId = _authenticator })).GetProperty("credentials")[0];
        var copy = credential.EnumerateObject().ToDictionary(p => p.Name, p => (object)p.Value);
        copy["signCount"] = 0;
        await CdpAsync("WebAuthn.clearCredentials", new { authenticatorId = _authenticator });
        await CdpAsync("WebAuthn.addCredential", new { authenticatorId = _authenticator, credential = copy });
        await WithoutCardAsync(page);
        await page.ClickAsync("#passkey");
        await page.WaitForSelectorAsync("[data-for=refused]:visible");
        await LookAsync(page, "refused");
        Assert.Equal(["suspended"], await broker.SqlAsync("select state from cards.cards where kind = 'fido-key'"));
    }

    [Theory, Trait("Requirement", "IDN-03")]
    [InlineData(false, true), InlineData(true, false)]
    public async Task A_key_that_cannot_carry_or_verify_its_user_is_not_enrolled(bool resident, bool verifies)
    {
        var page = await SignedInAsync();
        await PlugAsync(page, resident, verifies);
        await page.ClickAsync("#register");
        await page.WaitForSelectorAsync("[data-for=cancelled]:visible");
        Assert.Empty(await broker.SqlAsync("select 1 from passkeys.keys"));
    }
}
