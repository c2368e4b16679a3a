using System.Security.Cryptography;
using System.Text.RegularExpressions;
using AccessBroker.OneTimeCodes;
using AccessBroker.Tests.Support;
using Microsoft.Playwright;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>Segment lgwan in Chromium: an app is enrolled, a password reset, and both are typed at the sign-in page; axe and the eye look at each page.</summary>
public sealed class TypedInBrowserTests(TypedInBrowserTests.Lgwan broker) : IClassFixture<TypedInBrowserTests.Lgwan>
{
    public sealed class Lgwan : BrowserTests.Host
    {
        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__Segment", "lgwan")];

        protected override void ChangePolicies(string directory) => ByDay.Change(directory);
    }

    private static string CodeAt(byte[] seed, int steps) => Totp.Hotp(seed, Totp.StepAt(DateTimeOffset.UtcNow, TimeSpan.FromSeconds(30)) + steps, 6, HashAlgorithmName.SHA1);

    private static async Task LookAsync(IPage page, string name)
    {
        await BrowserTests.AccessibleAsync(page);
        Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name} scrolls sideways");
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"typed-{name}.png"), FullPage = true });
    }

    private async Task<IPage> SignedInAsync(TestTerminal terminal, string card, string to)
    {
        await terminal.RemoveAsync();
        await terminal.InsertAsync(card);
        await broker.Browser.ClearCookiesAsync();
        terminal.Types(Place.Pin);
        var page = await broker.Browser.NewPageAsync();
        await page.GotoAsync(broker.Issuer + "/sign-in?to=" + Uri.EscapeDataString(to));
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        await page.WaitForURLAsync("**" + to);
        return page;
    }

    [Fact, Trait("Requirement", "IDN-02"), Trait("Requirement", "PWD-05")]
    public async Task An_app_is_enrolled_a_password_reset_and_both_are_typed()
    {
        var terminal = await broker.TerminalAsync();
        var page = await SignedInAsync(terminal, "sato", "/one-time-codes");
        await LookAsync(page, "codes");
        await page.ClickAsync("button.primary");
        await page.WaitForSelectorAsync("svg.qr");
        await LookAsync(page, "codes-shown");
        await page.ClickAsync("summary");
        var text = (await page.TextContentAsync("p.code"))!;
        var seed = OtherBase32(text);
        await page.FillAsync("#code", CodeAt(seed, -1));
        await page.ClickAsync("form.fields button");
        await page.WaitForSelectorAsync(".notice.done");
        await LookAsync(page, "codes-done");
        await page.GotoAsync(broker.Issuer + "/password");
        await LookAsync(page, "password");

        page = await SignedInAsync(terminal, "admin", "/requests");
        await page.GotoAsync(broker.Issuer + "/requests/new/passwords.reset?person=p-1001");
        await page.FillAsync("[name=Reason]", "新任のため");
        await page.ClickAsync("button.primary");
        await page.WaitForURLAsync("**/requests/*");
        var request = Regex.Match(page.Url, "/requests/([0-9]+)").Groups[1].Value;
        await page.GotoAsync(broker.Issuer + "/requests/new/passkeys.issue?person=p-1001");
        await page.FillAsync("[name=Reason]", "新任のため");
        await page.ClickAsync("button.primary");
        await page.WaitForURLAsync("**/requests/*");
        var passkey = Regex.Match(page.Url, "/requests/([0-9]+)").Groups[1].Value;
        await broker.SqlAsync("""
            insert into file_permissions.sets (resource, title, section, confidentiality, created_at, created_by) values ('/住民', '住民の記録', '市民課', 2, now(), 'test'), ('/住民/令和8', '今年度', null, null, now(), 'test');
            insert into file_permissions.grants (resource, subject, actions, valid_from, valid_until, reason, requested_by, approved_by) values ('/住民', 'section:市民課', array['read', 'print'], now(), now() + interval '90 days', '窓口業務', 'p-3001', 'p-8001')
            """);
        foreach (var (path, name) in ((string, string)[])[("/files?path=/住民/令和8/a.txt", "files"), ("/files?person=p-1001", "files-of"), ("/locks", "locks"), ("/", "home"), ("/policies", "policies")])
        {
            await page.GotoAsync(broker.Issuer + path);
            await LookAsync(page, name);
        }
        page = await SignedInAsync(terminal, "chief", $"/requests/{request}");
        await page.ClickAsync("form[action*=approve] button");
        await page.WaitForSelectorAsync(".notice.done, [role=status]");
        page = await SignedInAsync(terminal, "sysman", "/one-time-codes/stock");
        await LookAsync(page, "stock");
        page = await SignedInAsync(terminal, "manager", "/requests");
        await page.GotoAsync(broker.Issuer + $"/passkeys/issue?request={passkey}");
        await LookAsync(page, "passkey-issue");
        await page.GotoAsync(broker.Issuer + $"/password/issue?request={request}");
        await LookAsync(page, "issue");
        await page.SelectOptionAsync("#identity", "staff-card");
        await page.ClickAsync("button.primary");
        var temporary = (await page.TextContentAsync(".receipt code"))!;
        await LookAsync(page, "issue-done");

        await terminal.RemoveAsync();
        await broker.Browser.ClearCookiesAsync();
        await page.GotoAsync(broker.RelyingParty);
        await page.ClickAsync("#sign-in");
        await page.ClickAsync("#typed-details summary");
        await LookAsync(page, "sign-in");
        await page.FillAsync("#person", "1001");
        await page.FillAsync("#password", temporary);
        await page.FillAsync("#code", "000000");
        await page.ClickAsync("#typed button");
        await page.WaitForSelectorAsync(".receipt:visible");
        await LookAsync(page, "refused");
        await page.FillAsync("#password", temporary);
        await page.FillAsync("#code", CodeAt(seed, 0));
        await page.Keyboard.PressAsync("Enter");
        await page.WaitForSelectorAsync("#new-password:not([hidden])");
        await LookAsync(page, "new-password");
        await page.FillAsync("#new", "password1234");
        await page.FillAsync("#again", "password1234");
        await page.Keyboard.PressAsync("Enter");
        await page.WaitForSelectorAsync("#new-problem:not([hidden])");
        await LookAsync(page, "new-password-refused");
        await page.FillAsync("#new", "庭に二羽にわとりがいる朝");
        await page.FillAsync("#again", "庭に二羽にわとりがいる朝");
        await page.Keyboard.PressAsync("Enter");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        await page.WaitForURLAsync(broker.RelyingParty + "/**");
        Assert.Contains("試験 一子", await page.TextContentAsync("main"), StringComparison.Ordinal);
    }

    private static byte[] OtherBase32(string text) => [.. text.Chunk(8).SelectMany(chunk =>
    {
        var value = chunk.Aggregate(0UL, (sum, c) => (sum << 5) | (uint)"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".IndexOf(c, StringComparison.Ordinal));
        return Enumerable.Range(0, 5).Select(i => (byte)(value >> (32 - (8 * i))));
    })];
}
