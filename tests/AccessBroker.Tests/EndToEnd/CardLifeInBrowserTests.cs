using System.Text.RegularExpressions;
using AccessBroker.Tests.Support;
using Microsoft.Playwright;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>The whole life of a card through the pages, in Chromium, by four people, on a simulated PIV card; axe looks at every page on the way.</summary>
public sealed class CardLifeInBrowserTests(BrowserTests.Host broker) : IClassFixture<BrowserTests.Host>, IAsyncLifetime
{
    private const string Pin = "40718293";
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
    }

    public async ValueTask DisposeAsync()
    {
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        await broker.ClearAsync();
    }

    /// <summary>The card goes in, its holder signs in to the console.</summary>
    private async Task<IPage> AsAsync(string card, string pin = Place.Pin)
    {
        await _terminal.RemoveAsync();
        await broker.Browser.ClearCookiesAsync();
        await _terminal.InsertAsync(card);
        _terminal.Types(pin);
        var page = await broker.Browser.NewPageAsync();
        await page.GotoAsync(broker.Issuer + "/sign-in");
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        await page.WaitForSelectorAsync("#tasks");
        await LookAsync(page, "home-" + card);
        return page;
    }

    private static async Task LookAsync(IPage page, string name)
    {
        await BrowserTests.AccessibleAsync(page);
        Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name} scrolls sideways");
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"life-{name}.png"), FullPage = true });
    }

    /// <summary>The agent works on the card: the page says when it is done.</summary>
    private async Task WorkAsync(IPage page, string button, string name, params string[] types)
    {
        _terminal.Types(types);
        await page.ClickAsync(button);
        await page.WaitForSelectorAsync(".notice.done:visible");
        await LookAsync(page, name);
        await page.ClickAsync("#back");
    }

    private static async Task ActAsync(IPage page, string label, string reason, params (string Field, string Value)[] more)
    {
        var act = page.Locator("details", new() { Has = page.Locator($"summary:text-is('{label}')") });
        await act.Locator("summary").ClickAsync();
        foreach (var (field, value) in more) await act.Locator($"[name={field}]").FillAsync(value);
        await act.Locator("[name=Reason]").FillAsync(reason);
        await act.Locator("button").ClickAsync();
        await page.WaitForSelectorAsync(".notice.done");
    }

    [Fact, Trait("Requirement", "CRD-02"), Trait("Requirement", "CRD-04"), Trait("Requirement", "CRD-10"), Trait("Requirement", "REG-03")]
    public async Task From_the_request_to_the_shredder()
    {
        // 1. The 管理者 asks.
        var page = await AsAsync("admin");
        await page.ClickAsync("text=申請する・申請の状況");
        await LookAsync(page, "requests");
        await page.ClickAsync("text=カードの設定(新規発行)");
        await page.FillAsync("#field-person", "しけん いつこ");
        await page.FillAsync("#reason", "4月の配属のため");
        await LookAsync(page, "new-request");
        await page.ClickAsync("text=申請する >> nth=-1");
        await page.WaitForURLAsync(new Regex("/requests/[0-9]+[?]filed$"));
        await LookAsync(page, "request");
        // 2. The PIN manager finds it waiting, makes the card and hands it over.
        var drawer = "life-" + Guid.NewGuid().ToString("n")[..8];
        await Desk.AddBlankAsync(drawer);
        page = await AsAsync("manager");
        await page.ClickAsync(".tasks a:has-text('実施待ち')");
        await page.ClickAsync("a.primary:has-text('実施する')");
        await LookAsync(page, "station");
        await Desk.InsertAsync(TestTerminal.IssuingReader, drawer);
        await WorkAsync(page, "text=カードを作る >> nth=-1", "made");
        await page.CheckAsync("[value=staff-card]");
        // 3. The operator types a PIN of their own at the station.
        await WorkAsync(page, "text=手渡しを始める", "handed-over", Pin, Pin);
        await page.WaitForSelectorAsync("text=済み");
        await OpenScAcceptsAsync();
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        page = await AsAsync(drawer, Pin);
        Assert.Contains("試験 五子", await page.TextContentAsync("h1"), StringComparison.Ordinal);
        // Found by kana, into the locker and out again, then collected.
        page = await AsAsync("admin");
        await page.GotoAsync(broker.Issuer + "/cards");
        await page.FillAsync("#text", "ｲﾂｺ");
        await page.ClickAsync("text=探す >> nth=-1");
        await LookAsync(page, "cards");
        await page.ClickAsync("tbody a");
        await ActAsync(page, "保管庫に入れる", "休暇", ("Locker", "金庫A-3"));
        await ActAsync(page, "保管庫から出す", "出勤");
        await ActAsync(page, "点検した", "年1回");
        await ActAsync(page, "回収する", "異動のため");
        await LookAsync(page, "card");
        // 4. The PIN manager receives it and destroys it before a witness.
        page = await AsAsync("manager");
        await page.ClickAsync(".tasks a:has-text('返還の受領')");
        await ActAsync(page, "返還を受領する", "受領");
        await ActAsync(page, "廃棄する", "再利用しないため", ("Method", "シュレッダーで裁断"), ("Witness", "試験 統括"));
        Assert.Contains("立会人: 試験 統括", await page.TextContentAsync("tbody >> nth=-1"), StringComparison.Ordinal);
        await LookAsync(page, "destroyed");
        await page.GotoAsync(broker.Issuer + "/registers/cards");
        await LookAsync(page, "register");
        await page.EmulateMediaAsync(new() { Media = Media.Print });
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, "life-register-print.png") });
        await page.EmulateMediaAsync(new() { Media = Media.Screen });
        Assert.Equal(["作成開始", "作成", "手渡し", "保管", "払出し", "点検", "回収", "返還受領", "廃棄"],
            await broker.SqlAsync("select what from registers.entries where register = 'cards' and subject = (select subject from registers.entries where what = '廃棄' order by id desc limit 1) order by id"));
        Assert.Equal(["4"], await broker.SqlAsync("select count(distinct p) from (select by as p from registers.entries where register = 'cards' and at > now() - interval '10 minutes' and by like 'p-%' union select fields->>'person' from registers.entries where what = '廃棄' union select fields->>'witness' from registers.entries where what = '廃棄') x"));
        // Other pages that administrators see.
        page = await AsAsync("admin");
        foreach (var path in (string[])["people", "people/p-1005", "terminals", "terminals/t-01", "terminals/t-01/usage", "registers", "registers/configuration", "requests/new/terminals.enrol", "standard", "cards/mine", "incidents", "reviews", "logout-deliveries", "locks", "requests/new/terminals.grant?terminal=t-01", "policies", "policies/1", "policies/propose/sign-in", "receipts", "passkeys", "history"])
        {
            var response = await page.GotoAsync($"{broker.Issuer}/{path}");
            Assert.Equal(200, response!.Status);
            await LookAsync(page, path.Split('?')[0].Replace('/', '-'));
        }
        page = await AsAsync("hr");
        await page.GotoAsync(broker.Issuer + "/people/rosters");
        await page.SetInputFilesAsync("#upload", new FilePayload { Name = "meibo.csv", MimeType = "text/csv", Buffer = System.Text.Encoding.UTF8.GetBytes("職員番号,氏名,氏名カナ,所属コード,所属名,職名,雇用区分,メール,退職日\n9901,=数式,カナ,01,課,主事,正規,,\n") });
        await page.FillAsync("#effective", "2027-04-01");
        await page.ClickAsync("text=取り込んで違いを見る");
        Assert.Contains("数式は受け付けません", await page.TextContentAsync("table"), StringComparison.Ordinal);
        await LookAsync(page, "roster-faults");
    }

    /// <summary>OpenSC, which knows nothing of us, signs with the issued card; its certificate chains to the CA.</summary>
    private static async Task OpenScAcceptsAsync()
    {
        var directory = Directory.CreateTempSubdirectory().FullName;
        var (message, signature, name) = (Path.Combine(directory, "m"), Path.Combine(directory, "s"), Desk.Reader(TestTerminal.IssuingReader));
        await File.WriteAllTextAsync(message, "見本");
        var configuration = Path.Combine(directory, "opensc.conf");
        await File.WriteAllTextAsync(configuration, "app default { reader_driver pcsc { } }\napp opensc-pkcs11 { pkcs11 { slots_per_card = 1; max_virtual_slots = 32; } }\n");
        var environment = new Dictionary<string, string?> { ["OPENSC_CONF"] = configuration };
        Assert.Contains("PIN [PIN]", (await Place.RunAsync("pkcs15-tool", ["--reader", name, "-D"])).Output, StringComparison.Ordinal);
        var slots = await Eventually.FindAsync(async () => (await Place.RunAsync("pkcs11-tool", ["--module", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "-L"], environment)).Output is var listed && listed.Contains($"{name}\n  token label", StringComparison.Ordinal) ? listed : null, "OpenSC lists the card");
        string[] card = ["--module", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "--slot", Regex.Match(slots, @"Slot \d+ \((0x[0-9a-f]+)\): " + Regex.Escape(name)).Groups[1].Value];
        await Place.RunAsync("pkcs11-tool", [.. card, "--login", "--pin", Pin, "--sign", "-m", "ECDSA-SHA256", "--signature-format", "openssl", "--id", "01", "-i", message, "-o", signature], environment);
        foreach (var id in (string[])["01", "02", "04"])
        {
            var (der, pem, key) = (Path.Combine(directory, id + ".der"), Path.Combine(directory, id + ".pem"), Path.Combine(directory, id + ".key"));
            await Place.RunAsync("pkcs11-tool", [.. card, "--read-object", "--type", "cert", "--id", id, "-o", der], environment);
            await Place.RunAsync("openssl", ["x509", "-inform", "DER", "-in", der, "-out", pem]);
            Assert.Contains("OK", (await Place.RunAsync("openssl", ["verify", "-CAfile", $"{Place.Directory}/ca/operator-card-ca.pem", pem])).Output, StringComparison.Ordinal);
            if (id != "01") continue;
            await Place.RunAsync("openssl", ["x509", "-in", pem, "-pubkey", "-noout", "-out", key]);
            Assert.Contains("Verified OK", (await Place.RunAsync("openssl", ["dgst", "-sha256", "-verify", key, "-signature", signature, message])).Output, StringComparison.Ordinal);
        }
    }
}
