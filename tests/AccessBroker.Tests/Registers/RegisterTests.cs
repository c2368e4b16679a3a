using System.Net;
using AccessBroker.Tests.Support;
using Npgsql;

namespace AccessBroker.Tests.Registers;

/// <summary>Registers over HTTP: as of any day, CSV, every look recorded; entries cannot be changed. And what the console refuses.</summary>
public sealed class RegisterTests(BrokerHost broker) : AtTerminal(broker), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    [Fact, Trait("Requirement", "REG-01"), Trait("Requirement", "REG-03"), Trait("Requirement", "TRM-04")]
    public async Task A_register_is_shown_as_of_any_day_exported_without_formulas_and_each_look_is_recorded()
    {
        using var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin");
        Assert.Equal(HttpStatusCode.Redirect, (await administrator.PostAsync("/registers/configuration", ("Entry[kind]", "プログラム"), ("Entry[name]", "=cmd|'/c calc'!A0"), ("Entry[version]", "1.0"))).Status);
        Assert.Contains("必須", (await administrator.PostAsync("/registers/configuration", ("Entry[kind]", ""), ("Entry[name]", ""))).Page, StringComparison.Ordinal);
        await _broker.SqlAsync("insert into registers.entries (register, subject, at, by, what, fields) values ('configuration', '旧機器', '2021-04-01T00:00:00+09:00', 'p-9001', '記入', '{\"kind\":\"機器\",\"name\":\"旧機器\"}'), ('configuration', '旧機器', '2022-04-01T00:00:00+09:00', 'p-9001', '廃止', '{\"kind\":\"機器\",\"name\":\"旧機器\"}')");
        await _broker.SqlAsync("update registers.entries set removed = true where what = '廃止'");
        Assert.Contains("旧機器", (await administrator.GetAsync("/registers/configuration?AsOf=2021-12-31")).Page, StringComparison.Ordinal);
        Assert.Contains("令和3年度", (await administrator.GetAsync("/registers/configuration?AsOf=2021-12-31")).Page, StringComparison.Ordinal);
        var today = (await administrator.GetAsync("/registers/configuration")).Page;
        Assert.DoesNotContain("旧機器", today, StringComparison.Ordinal);
        Assert.Contains("\"'=cmd|", (await administrator.GetAsync("/registers/configuration?format=csv")).Page, StringComparison.Ordinal);
        Assert.Equal("done  p-9001 -", await _broker.LastEventAsync("registers.export"));
        Assert.Contains("試験 一子", (await administrator.GetAsync("/registers/cards")).Page, StringComparison.Ordinal);
        // Nobody changes an entry, not even the server.
        foreach (var sql in (string[])["update registers.entries set what = 'x'", "delete from registers.entries"])
            Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => _broker.SqlAsync(sql, asServer: true))).SqlState);
    }

    [Theory, Trait("Requirement", "CRD-01")]
    [InlineData("/registers/cards"), InlineData("/people"), InlineData("/cards"), InlineData("/cards/station?request=1"), InlineData("/cards/stock"), InlineData("/reviews"), InlineData("/incidents"), InlineData("/logout-deliveries"), InlineData("/people/rosters"), InlineData("/people/dormant"), InlineData("/terminals"), InlineData("/operators/p-1002/unlock"), InlineData("/locks"), InlineData("/people/p-1002"), InlineData("/requests/new/cards.issue")]
    public async Task An_operator_sees_none_of_it(string path)
    {
        using var operator_ = await ConsoleBrowser.SignInAsync(_broker, Terminal, "sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await operator_.GetAsync(path)).Status);
    }

    [Fact, Trait("Requirement", "CRD-01")]
    public async Task Nobody_but_the_pin_manager_works_at_the_station_and_the_standard_is_acknowledged_before_work()
    {
        using (var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin"))
        {
            var request = await administrator.AskAsync("cards.issue", "配属", ("person", "p-1005"));
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync($"/cards/station?request={request}&act=make")).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync($"/requests/{request}?act=execute")).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync("/standard?act=publish", ("Title", "x"), ("Text", "y"), ("From", "2026-01-01"))).Status);
        }
        using (var manager = await ConsoleBrowser.SignInAsync(_broker, Terminal, "manager"))
        {
            Assert.Contains("実施待ち", (await manager.GetAsync("/")).Page, StringComparison.Ordinal);
            Assert.Equal("/standard", (await manager.PostAsync("/standard?act=publish", ("Title", "暗証番号等運用基準"), ("Text", "第1条 カードを貸さない。\n第2条 席を離れるときは抜く。"), ("From", "2026-01-01"))).To);
        }
        // First sign-in to work: the standard comes first, and the request goes on after it.
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        using var browser = new TestBrowser(_broker);
        var halted = await browser.SignInAsync(Terminal);
        Assert.StartsWith("/standard?To=", halted.OriginalString, StringComparison.Ordinal);
        using (var silent = await browser.AuthorizeAsync(("prompt", "none"))) Assert.Equal("interaction_required", TestBrowser.Parameter(silent.Headers.Location!, "error"));
        using var acknowledge = new HttpRequestMessage(HttpMethod.Post, $"/standard?act=acknowledge&{halted.OriginalString.Split('?')[1]}");
        acknowledge.Headers.Add("Sec-Fetch-Site", "same-origin");
        using var acknowledged = await browser.Http.SendAsync(acknowledge);
        using var resumed = await browser.Http.GetAsync(acknowledged.Headers.Location);
        Assert.NotNull(TestBrowser.Parameter(resumed.Headers.Location!, "code"));
        Assert.Equal(["p-1001|1"], await _broker.SqlAsync("select person, version from cards.acknowledgements"));
        await _broker.SqlAsync("delete from cards.acknowledgements; delete from cards.standards");
    }

    [Fact, Trait("Requirement", "TRM-12"), Trait("Requirement", "TRM-15")]
    public async Task A_terminal_isolated_in_an_emergency_is_cut_off_at_once_and_the_report_stays_until_the_chief_takes_note()
    {
        var other = await _broker.TerminalAsync("t-02");
        await other.InsertAsync("sato");
        using var operator_ = new TestBrowser(_broker);
        var (access, _) = await operator_.TokensAsync(other);
        using (var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin"))
        {
            Assert.Contains("実施しました", (await administrator.PostAsync("/terminals/t-02?act=isolate", ("Reason", "不審な通信"))).Page, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.Unauthorized, (await operator_.UserInfoAsync(access)).StatusCode);
            Assert.Equal("ended sessions.terminal-isolated p-1001 t-02", await _broker.LastEventAsync("sessions.end"));
            // The stream is cut, and does not come back.
            await Eventually.TrueAsync(() => Task.FromResult(!other.IsAttached), "cut off", 3);
            await _broker.EventAsync("terminals.set-isolated", "ended terminals.isolated p-9001 t-02");
            var report = (await _broker.SqlAsync("select id from approvals.requests where kind = 'terminals.report-isolation'"))[0];
            Assert.Equal(HttpStatusCode.Conflict, (await administrator.PostAsync($"/requests/{report}?act=withdraw")).Status);
            using var chief = await ConsoleBrowser.SignInAsync(_broker, Terminal, "boss");
            Assert.Contains("緊急の切離しの事後報告", (await chief.GetAsync("/")).Page, StringComparison.Ordinal);
            Assert.Contains("承認しました", (await chief.PostAsync($"/requests/{report}?act=approve", ("Step", "approve-it"))).Page, StringComparison.Ordinal);
        }
        await _broker.SqlAsync("update terminals.terminals set state = 'in-use' where id = 't-02'");
        await other.AttachedAsync();
        // A revoked certificate: nothing but a new enrolment helps.
        using (var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin")) await administrator.PostAsync("/terminals/t-02?act=revoke", ("Reason", "鍵の持出しの疑い"));
        await Eventually.TrueAsync(() => Task.FromResult(!other.IsAttached), "cut off again", 3);
        await _broker.SqlAsync("update terminals.certificates set revoked_at = null where terminal = 't-02'");
        await other.AttachedAsync();
    }

    [Fact, Trait("Requirement", "IDN-10")]
    public async Task A_roster_of_ten_thousand_is_uploaded_compared_and_applied_by_another()
    {
        async Task<(HttpStatusCode, string?)> UploadAsync(ConsoleBrowser browser, string text)
        {
            using var form = new MultipartFormDataContent { { new ByteArrayContent(System.Text.Encoding.UTF8.GetBytes(text)), "Upload", "meibo.csv" }, { new StringContent("2027-04-01"), "Effective" } };
            using var request = new HttpRequestMessage(HttpMethod.Post, "/people/rosters") { Content = form };
            request.Headers.Add("Sec-Fetch-Site", "same-origin");
            using var response = await browser.Http.SendAsync(request);
            return (response.StatusCode, response.Headers.Location?.OriginalString);
        }
        const string headings = "職員番号,氏名,氏名カナ,所属コード,所属名,職名,雇用区分,メール,退職日\n";
        var rows = string.Concat(Enumerable.Range(0, 10_000).Select(i => $"b{i},多数 {i},タスウ,{i % 90:00},第{i % 90}課,主事,正規,,\n"));
        string imported;
        using (var hr = await ConsoleBrowser.SignInAsync(_broker, Terminal, "hr"))
        {
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await UploadAsync(hr, headings + rows.Replace("b77,", "b78,", StringComparison.Ordinal))).Item1);
            Assert.Empty(await _broker.SqlAsync("select 1 from staff.rosters"));
            imported = (await UploadAsync(hr, headings + rows)).Item2!;
            Assert.Equal(HttpStatusCode.Forbidden, (await hr.PostAsync(imported)).Status);
        }
        await _broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from) values ('p-9001', '課長', '情報システム課', 'system-manager', now() - interval '1 day')");
        using var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin");
        Assert.Contains("人事の名簿の反映", (await administrator.GetAsync("/")).Page, StringComparison.Ordinal);
        Assert.Contains("反映しました", (await administrator.PostAsync(imported)).Page, StringComparison.Ordinal);
        Assert.Equal(["10000"], await _broker.SqlAsync("select count(*) from people.persons where id like 'p-b%'"));
    }

    [Fact]
    public async Task Who_sat_at_a_terminal_on_a_day_is_told_with_the_names_of_that_day()
    {
        using var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin");
        var (status, page) = await administrator.GetAsync("/terminals/t-01/usage");
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Contains("試験 管郎", page, StringComparison.Ordinal);
        Assert.Contains("この日の利用はありません", (await administrator.GetAsync("/terminals/t-01/usage?Day=2020-01-07")).Page, StringComparison.Ordinal);
        Assert.Equal("done  p-9001 t-01", await _broker.LastEventAsync("sessions.read-usage"));
    }
}
