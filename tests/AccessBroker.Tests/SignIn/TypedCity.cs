using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using AccessBroker.OneTimeCodes;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

/// <summary>Segment lgwan, and what the pages' scripts do with codes and passwords.</summary>
public abstract class TypedCity(TypedCity.City broker) : IClassFixture<TypedCity.City>, IAsyncLifetime
{
    public sealed class City : Lgwan
    {
        protected override void ChangePolicies(string directory) => ByDay.Change(directory, ("clients: {}", "clients: { other-system: card }"));
    }

    private protected BrokerHost Broker => broker;
    protected const string Password = "みどりの自転車 8台 kaze", Person = "1001";
    private protected TestTerminal Terminal { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        await Broker.ClearAsync();
        Terminal = await Broker.TerminalAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Broker.SqlAsync("delete from one_time_codes.tokens; delete from cards.cards where kind = 'otp-token'; delete from passwords.current; delete from passwords.former");
        await Broker.ClearAsync();
        GC.SuppressFinalize(this);
    }

    private protected static string CodeAt(byte[] seed, int steps = 0) => Totp.Hotp(seed, Totp.StepAt(DateTimeOffset.UtcNow, TimeSpan.FromSeconds(30)) + steps, 6, HashAlgorithmName.SHA1);

    private protected static byte[] FromBase32(string text)
    {
        var (bytes, value, bits) = (new List<byte>(), 0, 0);
        foreach (var c in text)
        {
            (value, bits) = ((value << 5) | "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".IndexOf(c, StringComparison.Ordinal), bits + 5);
            if (bits < 8) continue;
            bytes.Add((byte)(value >> (bits - 8)));
            (bits, value) = (bits - 8, value & ((1 << (bits - 8)) - 1));
        }
        return [.. bytes];
    }

    private protected static async Task<byte[]> EnrolAsync(ConsoleBrowser me)
    {
        var (_, page, _) = await me.PostAsync("/one-time-codes", ("act", "begin"));
        Assert.Contains("<path d=\"M", page, StringComparison.Ordinal);
        var seed = FromBase32(Regex.Match(page, "class=\"code\">([A-Z2-7]+)<").Groups[1].Value);
        Assert.Equal(20, seed.Length);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await me.PostAsync("/one-time-codes", ("act", "confirm"), ("Code", CodeAt(seed, 50)))).Status);
        // The first code is used up by the enrolment: one of the step before leaves the present one for the test.
        var (status, done, _) = await me.PostAsync("/one-time-codes", ("act", "confirm"), ("Code", CodeAt(seed, -1)), ("Name", "貸与スマートフォン"));
        Assert.True(status == HttpStatusCode.OK, ConsoleBrowser.Notice(done));
        return seed;
    }

    /// <summary>Card sign-in, an app enrolled, a password set.</summary>
    private protected async Task<byte[]> EnrolBothAsync()
    {
        using var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato");
        var seed = await EnrolAsync(me);
        var (status, page, _) = await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password));
        Assert.True(status == HttpStatusCode.OK, ConsoleBrowser.Notice(page));
        await me.PostAsync("/sign-out");
        await Terminal.RemoveAsync();
        return seed;
    }

    private protected async Task<string> ClaimAsync(TestBrowser browser, params (string, string?)[] request)
    {
        var transaction = await browser.OpenAsync(request);
        using var seat = await Terminal.SeatAsync(await browser.HandleAsync(transaction));
        Assert.Equal(HttpStatusCode.OK, seat.StatusCode);
        return transaction;
    }

    private protected static async Task<(HttpStatusCode Status, JsonElement Answer)> TypeAsync(TestBrowser browser, string transaction, object typed, string path = "typed")
    {
        using var response = await browser.PostAsync($"/sign-in/{transaction}/{path}", typed);
        return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
    }

    private protected async Task<(HttpStatusCode Status, JsonElement Answer)> TryAsync(TestBrowser browser, string person, string password, string code) =>
        await TypeAsync(browser, await ClaimAsync(browser, ("prompt", "login")), new { person, password, code });

    /// <summary>Somebody watches while the PIN manager hands over what opens a door.</summary>
    private protected async Task WitnessAsync(long request)
    {
        using var witness = await ConsoleBrowser.SignInAsync(Broker, Terminal, "chief");
        var (status, page, _) = await witness.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"));
        Assert.True(status != HttpStatusCode.Forbidden, ConsoleBrowser.Notice(page));
    }

    private protected async Task<string> ReasonAsync() => (await Broker.SqlAsync("select reason from history.events where operation = 'sign-in.typed' order by id desc limit 1"))[0];
}
