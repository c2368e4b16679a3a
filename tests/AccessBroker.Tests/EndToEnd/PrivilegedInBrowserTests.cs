using System.Security.Cryptography;
using System.Text;
using AccessBroker.Tests.Privileged;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>The pages of privileged work in Chromium, in both languages; axe and the eye look at each; a hostile recording stays text.</summary>
public sealed class PrivilegedInBrowserTests(PrivilegedInBrowserTests.City broker) : IClassFixture<PrivilegedInBrowserTests.City>
{
    public sealed class City : BrowserTests.Host
    {
        protected override void ChangePolicies(string directory)
        {
            base.ChangePolicies(directory);
            File.WriteAllText(Path.Combine(directory, "privileged.yaml"), PrivilegedCity.Policy);
        }
    }

    private const string Open = "ps00000000000000000001", Ended = "ps00000000000000000002", Two = "ps00000000000000000003", Gone = "ps00000000000000000004", Closed = "ps00000000000000000005";

    private async Task PlantAsync()
    {
        var hostile = """{"version":2,"width":80,"height":24,"command":null}""" + "\n" + """[0.5,"o","$ ls\r\n<script>document.title='owned'</script><img src=x onerror=document.title='owned'>\r\n"]""" + "\n" + """[1.5,"o","\u001b]0;owned\u0007\u001b[2J\u001b[31m赤い字\u001b[0m \u202eabc\r\nreboot\r\n"]""" + "\n";
        var data = Encoding.UTF8.GetBytes(hostile);
        await broker.SqlAsync($$"""
            insert into approvals.requests (id, kind, fields, reason, requested_by, requested_at, due_at, state) overriding system value values
                (9001, 'privileged.session', '{"work": "maintain", "minutes": "30", "plan": "記録を調査し再起動", "target": "app", "rules": "x", "from": "", "at": "", "ticket": "障害 12", "instructedBy": ""}', '処理の停止の調査', 'p-9001', now(), now() + interval '3 days', 'open'),
                (9002, 'privileged.session', '{"work": "maintain", "minutes": "30", "plan": "記録を調査し再起動", "target": "app", "rules": "x", "from": "", "at": "", "ticket": "", "instructedBy": ""}', '処理の停止の調査', 'p-9001', now(), now() + interval '3 days', 'approved');
            insert into privileged.sessions (id, request, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, opened_at, place, end_reason, over_at, ended_in, left_over, ended_at, found) values
                ('{{Open}}', null, 'maintain', 'app', 'ssh', 'p-9001', 'x', 't-01', 'x', '127.0.0.1', '発行停止', '', '{}', now(), now() + interval '25 minutes', 'open', now(), '{}', null, null, null, null, null, null),
                ('{{Ended}}', 9003, 'maintain', 'app', 'ssh', 'p-9001', 'x', 't-01', 'x', '127.0.0.1', '処理の停止の調査', '', '{p-8001}', now() - interval '2 hours', now() - interval '1 hour', 'ended', now(), '{}', 'privileged.limit', now(), 41, 0, now(), '{file /tmp/x}');
            insert into privileged.sessions (id, request, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, opened_at, place, two_person, held_at) values
                ('{{Two}}', 9004, 'maintain', 'app', 'ssh', 'p-9001', 'x', 't-01', 'x', '127.0.0.1', '設定の変更', '', '{p-8001}', now(), now() + interval '25 minutes', 'open', now(), '{}', true, null);
            insert into privileged.sessions (id, request, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, opened_at, place, end_reason, ended_at, closed_by, closed_note) values
                ('{{Gone}}', 9006, 'maintain', 'app', 'ssh', 'p-9001', 'x', 't-01', 'x', '127.0.0.1', '機器の故障', '', '{p-9002}', now() - interval '1 hour', now() - interval '10 minutes', 'ending', now(), '{}', 'privileged.session-over', null, null, null),
                ('{{Closed}}', 9007, 'maintain', 'app', 'ssh', 'p-9001', 'x', 't-01', 'x', '127.0.0.1', '機器の故障', '', '{p-8001}', now() - interval '1 hour', now() - interval '10 minutes', 'ended', now(), '{}', 'privileged.session-over', now(), 'p-9002', '電源を切り、記憶装置を取り外したことを確かめた。');
            insert into privileged.rights_reports values ('app', now());
            insert into privileged.rights (target, line, found_at, accepted_by, accepted_at, note, gone_at) values ('app', 'uid 0: root', now(), 'p-8001', now(), '構築時に確かめた', null), ('app', 'group sudo: shiken', now(), null, null, null, null), ('app', 'file /etc/sudoers.d/x: sha256 0123456789abcdef', now(), 'p-8001', now(), '旧手順', now());
            insert into privileged.exceptions values (9005, 'maintain', 'two-person', '夜間に二人そろわない', '翌朝に記録を見る', now() + interval '10 days', 'p-9002', 'p-8002', now());
            insert into privileged.chunks (session, number, data, chain, at) values ('{{Ended}}', 1, '\x{{Convert.ToHexString(data)}}', '\x{{Convert.ToHexString(SHA256.HashData([.. new byte[32], .. data]))}}', now());
            insert into privileged.stops (scope, value, reason, by, at) values ('target', 'db', '不審な操作', 'p-9002', now())
            """);
    }

    [Fact, Trait("Requirement", "PRV-06")]
    public async Task The_pages_are_for_everybody_and_a_recording_is_text()
    {
        await PlantAsync();
        var terminal = await broker.TerminalAsync();
        foreach (var (card, pages) in ((string, (string Path, string Name)[])[])
            [("admin", [("/privileged", "board"), ("/requests/new/privileged.session", "ask"), ("/privileged/start/9002", "start"), ($"/privileged/{Open}", "open"), ($"/privileged/{Ended}", "ended"), ($"/privileged/{Ended}/recording", "recording"), ("/privileged/emergency", "emergency")]),
             ("boss", [("/privileged", "board-chief"), ("/requests/9001", "approve"), ("/privileged/rights", "rights"), ($"/privileged/{Two}", "two"), ($"/privileged/{Gone}", "gone"), ($"/privileged/{Closed}", "closed"), ($"/privileged/{Two}/watch", "join")])])
        {
            await terminal.RemoveAsync();
            await terminal.InsertAsync(card);
            await broker.Browser.ClearCookiesAsync();
            terminal.Types(Place.Pin);
            var page = await broker.Browser.NewPageAsync();
            await page.GotoAsync(broker.Issuer + "/sign-in?to=%2F");
            await page.ClickAsync("#start");
            await page.WaitForURLAsync("**/signed-in/**");
            await page.ClickAsync("#next");
            foreach (var language in (string[])["ja", "en"])
            {
                await page.GotoAsync(broker.Issuer + "/language?to=" + language);
                foreach (var (path, name) in pages)
                {
                    Assert.Equal((path, 200), (path, (await page.GotoAsync(broker.Issuer + path))!.Status));
                    await BrowserTests.AccessibleAsync(page);
                    Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name} scrolls sideways");
                    if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"privileged-{name}-{language}.png"), FullPage = true });
                    if (language == "en") Assert.DoesNotMatch("[ぁ-ん]{4}", await page.EvaluateAsync<string>("[...document.querySelectorAll('h1, label, th, dt, button, summary, legend, p')].map(e => e.textContent).join(' ')"));
                    if (name == "join") await WatchAsync(page, terminal, language);
                    if (name == "open" && language == "ja")
                    {
                        // A page of something that runs notices by itself that it has changed.
                        await broker.SqlAsync($"update privileged.sessions set state = 'ending', end_reason = 'privileged.revoked', asked_at = now() where id = '{Open}'");
                        await Eventually.TrueAsync(async () => await page.Locator("#privileged[data-state=ending]").CountAsync() == 1, "the page has noticed");
                        await broker.SqlAsync($"update privileged.sessions set state = 'open', end_reason = null, asked_at = null where id = '{Open}'");
                    }
                    if (name != "recording") continue;
                    Assert.DoesNotContain("owned", await page.TitleAsync(), StringComparison.Ordinal);
                    var shown = (await page.TextContentAsync("#recording"))!;
                    Assert.Contains("<script>", shown, StringComparison.Ordinal);
                    Assert.Contains("赤い字", shown, StringComparison.Ordinal);
                    foreach (var control in (char[])['\u001b', '\u0007', '\u202e']) Assert.DoesNotContain(control, shown);
                    Assert.Equal(0, await page.Locator("#recording script, #recording img").CountAsync());
                    await page.ClickAsync("#play");
                    await Eventually.TrueAsync(async () => await page.Locator("#recording li[hidden]").CountAsync() == 0, "it was played to its end");
                }
            }
        }
    }

    /// <summary>Sits down with card and PIN, sees what the worker sees, confirms a step without leaving.</summary>
    private async Task WatchAsync(Microsoft.Playwright.IPage page, TestTerminal terminal, string language)
    {
        await page.ClickAsync("main form button.primary");
        await page.WaitForURLAsync("**/sign-in/**");
        Assert.Equal(1, await page.Locator("h1", new() { HasTextRegex = new("本人の確認|Identity|Confirm") }).CountAsync());
        await BrowserTests.AccessibleAsync(page);
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } screens) await page.ScreenshotAsync(new() { Path = Path.Combine(screens, $"confirm-{language}.png"), FullPage = true });
        terminal.Types(Place.Pin);
        await page.ClickAsync("#start");
        await page.WaitForURLAsync($"**/privileged/{Two}/watch**");
        await page.ClickAsync("main form button.primary");
        await Eventually.TrueAsync(async () => (await page.Locator("#watch.done").CountAsync()) == 1, "it goes on");
        var line = Encoding.UTF8.GetBytes("[0.5,\"o\",\"$ systemctl restart juki <b>\\r\\n\"]\n");
        await broker.SqlAsync($"insert into privileged.chunks (session, number, data, chain, at) values ('{Two}', {(language == "ja" ? 1 : 2)}, '\\x{Convert.ToHexString(line)}', '\\x{new string('0', 64)}', now())");
        await Eventually.TrueAsync(async () => (await page.TextContentAsync("#live"))!.Contains("restart juki <b>", StringComparison.Ordinal), "what the worker sees is shown");
        await page.FillAsync("#note", "手順1");
        await page.ClickAsync("form[action='?handler=check'] button");
        await Eventually.TrueAsync(async () => await page.Locator("form + .notice.done").CountAsync() == 1, "the step is confirmed");
        Assert.Equal(1, await page.Locator("#watch.done").CountAsync());
        await BrowserTests.AccessibleAsync(page);
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"privileged-watch-{language}.png"), FullPage = true });
    }
}
