using AccessBroker.Tests.Support;
using Microsoft.Playwright;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>What people see, on a counter terminal's screen and at 200 % zoom: axe finds nothing, and nobody has to scroll sideways.</summary>
public sealed class ScreenTests(BrowserTests.Host broker) : IClassFixture<BrowserTests.Host>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        await broker.Browser.ClearCookiesAsync();
        _terminal = await broker.TerminalAsync();
        await _terminal.AttachedAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    /// <summary>With ACCESSBROKER_SCREENS the pictures are kept there, to be looked at.</summary>
    private static async Task CheckAsync(IPage page, string name)
    {
        // 200 % zoom of 1366×768 leaves half the pixels in each direction.
        foreach (var (width, height, zoom) in ((int, int, string)[])[(1366, 768, ""), (683, 384, "-200")])
        {
            await page.SetViewportSizeAsync(width, height);
            await BrowserTests.AccessibleAsync(page);
            Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name}{zoom} scrolls sideways");
            if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"{name}{zoom}.png") });
        }
        await page.SetViewportSizeAsync(1366, 768);
    }

    private async Task<IPage> OpenAsync(string url)
    {
        var page = await broker.Browser.NewPageAsync();
        await page.GotoAsync(url);
        return page;
    }

    [Fact]
    public async Task The_desk_is_played_with_the_mouse()
    {
        var page = await OpenAsync(Support.Desk.Origin + "/1");
        await CheckAsync(page, "desk");
        await page.DragAndDropAsync("#drawer .card:has-text('sato')", ".slot");
        await Eventually.TrueAsync(() => Task.FromResult(_terminal.Watch.CardInside), "the agent sees the card");
        await page.WaitForSelectorAsync("#guide li:nth-child(2)[aria-current]");
        var asked = Support.Desk.PromptAsync(0, "業務: 戸籍証明窓口(デモ)\n確認番号: 42\n画面の番号と同じときだけ、暗証番号を入力してください。");
        await page.WaitForSelectorAsync(".pad");
        await CheckAsync(page, "desk-pin");
        foreach (var digit in "7391") await page.ClickAsync($".keys button:text-is('{digit}')");
        await page.Keyboard.TypeAsync("82640");
        await page.ClickAsync(".keys button:text-is('消す')");
        // Eight digits fit: the ninth was not taken, the eighth was taken back.
        await page.ClickAsync(".keys button:text-is('4')");
        await page.ClickAsync(".keys button:text-is('確定')");
        Assert.Equal("73918264", await asked);
        await page.WaitForSelectorAsync("#guide li:nth-child(4)[aria-current]");
        // The page may redraw under the mouse while the agent still works with the card: a hand takes it again.
        for (var hands = 0; hands < 3 && _terminal.Watch.CardInside; hands++)
        {
            await page.Mouse.MoveAsync(0, 0);
            await page.WaitForTimeoutAsync(500);
            await page.DragAndDropAsync(".slot .card", "#drawer-heading");
            await page.WaitForTimeoutAsync(500);
        }
        Assert.False(_terminal.Watch.CardInside);
        // The same by keyboard alone.
        await page.FocusAsync("#drawer .card:has-text('sato')");
        await page.Keyboard.PressAsync("Enter");
        await page.WaitForSelectorAsync(".slot button:has-text('sato')");
        await page.FocusAsync(".slot button");
        await page.Keyboard.PressAsync("Enter");
        await Eventually.TrueAsync(() => Task.FromResult(_terminal.Watch.CardInside), "the card is in again");
        await page.GotoAsync(Support.Desk.Origin + "/");
        await CheckAsync(page, "desk-all");
        // Somebody else is faster: the desk says where the card is.
        await page.ClickAsync("#drawer .card:has-text('suzuki')");
        await page.EvaluateAsync("() => { window.fetch = ((real) => async (url, options) => { if (String(url).endsWith('/insert')) { window.fetch = real; await real('/api/readers/2/insert', options); } return real(url, options); })(window.fetch); }");
        await page.ClickAsync("button:has-text('suzuki を差し込む')");
        await page.WaitForSelectorAsync("#message:has-text('読み取り機 3 に入っています')");
        await CheckAsync(page, "desk-conflict");
        await Support.Desk.RemoveAsync(2);
    }

    [Fact]
    public async Task Sign_in_signed_in_lost_card_and_locked()
    {
        await _terminal.InsertAsync("sato");
        var page = await OpenAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        await CheckAsync(page, "sign-in");
        _terminal.Types("99999999", Place.Pin);
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await CheckAsync(page, "signed-in");
        await page.ClickAsync("#next");
        await page.WaitForSelectorAsync("#who");
        await CheckAsync(page, "relying-party");
        await _terminal.RemoveAsync();
        await broker.Browser.ClearCookiesAsync();
        await _terminal.InsertAsync("lost");
        page = await OpenAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        await page.ClickAsync("#start");
        await page.WaitForSelectorAsync("[data-for=refused]:visible");
        await CheckAsync(page, "lost-card");
        await broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by, locked_until) select 'terminal:t-01', array_agg(now()), array_agg(''::text), now() + interval '20 minutes' from generate_series(1, 10) on conflict (subject) do update set failures = excluded.failures, failed_by = excluded.failed_by, locked_until = excluded.locked_until");
        await page.ClickAsync("#start");
        await page.WaitForSelectorAsync("[data-for=locked]:visible");
        await CheckAsync(page, "locked");
    }

    [Fact]
    public async Task Health_well_and_broken()
    {
        var page = await OpenAsync(broker.Issuer + "/health");
        await CheckAsync(page, "health");
        await Place.HsmAsync("pause");
        try
        {
            await page.GotoAsync(broker.Issuer + "/health");
            Assert.Contains("HSM", await page.TextContentAsync("table"), StringComparison.Ordinal);
            await CheckAsync(page, "health-broken");
        }
        finally { await Place.HsmAsync("resume"); }
    }
}
