using AccessBroker.Tests.FileServer;
using AccessBroker.Tests.Support;
using Microsoft.Playwright;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>The file server and the pages about rights in Chromium, in both languages; axe and the eye look at each page.</summary>
public sealed class FilesInBrowserTests(FilesInBrowserTests.City broker) : IClassFixture<FilesInBrowserTests.City>
{
    public sealed class City : BrowserTests.Host
    {
        private FilesNginx? _files;
        internal FilesNginx Files => _files ??= new(DataDirectory);
        protected override IEnumerable<KeyValuePair<string, string>> Settings => Files.Settings;
        protected override Task ArrangeAsync() => Files.StartAsync();
        protected override Task EndAsync() => Files.StopAsync();
    }

    private static async Task LookAsync(IPage page, string name)
    {
        await BrowserTests.AccessibleAsync(page);
        Assert.True(await page.EvaluateAsync<bool>("document.scrollingElement.scrollWidth <= window.innerWidth"), $"{name} scrolls sideways");
        if (Environment.GetEnvironmentVariable("ACCESSBROKER_SCREENS") is { } directory) await page.ScreenshotAsync(new() { Path = Path.Combine(directory, $"files-{name}.png"), FullPage = true });
    }

    private async Task<IPage> SignedInAsync(TestTerminal terminal, string card, string to)
    {
        await terminal.RemoveAsync();
        await terminal.InsertAsync(card);
        await broker.Browser.ClearCookiesAsync();
        terminal.Types(Place.Pin);
        var page = await broker.Browser.NewPageAsync();
        await page.GotoAsync(to);
        await page.ClickAsync("#start");
        await page.WaitForURLAsync("**/signed-in/**");
        await page.ClickAsync("#next");
        return page;
    }

    [Fact, Trait("Requirement", "FIL-01"), Trait("Requirement", "FIL-12")]
    public async Task Files_are_read_stored_and_deleted_and_rights_are_looked_up()
    {
        var terminal = await broker.TerminalAsync();
        await broker.SqlAsync("""
            insert into file_permissions.sets (resource, title, section, confidentiality, batch_since, created_at, created_by) values ('/公開', '市民課の共有', '市民課', 2, null, now(), 'test'), ('/公開/下', '今年度', null, null, null, now(), 'test'), ('/秘密', '人事の記録', null, 3, null, now(), 'test');
            insert into file_permissions.grants (resource, subject, actions, up_to, valid_from, valid_until, reason, requested_by, approved_by) values ('/公開', 'section:市民課', array['read', 'print', 'write', 'delete'], 2, now() - interval '200 days', now() + interval '90 days', '窓口業務', 'p-3001', 'p-8001'), ('/公開', 'person:p-1001', array['export'], 3, now(), now() + interval '1 day', '県への報告', 'p-3001', 'p-8001');
            insert into file_permissions.enforcers (name, secret_hash, created_at) values ('nightly', '\x00', now());
            insert into file_permissions.batches (resource, enforcer, purpose, token_hash, begun_at, due_at) values ('/秘密', 'nightly', '年次更新', '\x00', now() - interval '2 hours', now() - interval '1 hour');
            update file_permissions.sets set batch_since = now() - interval '2 hours' where resource = '/秘密'
            """);
        // From the file server to the sign-in page and back, by the browser's own redirects.
        var page = await SignedInAsync(terminal, "sato", broker.Files.Origin + "/");
        await page.WaitForURLAsync(broker.Files.Origin + "/");
        await LookAsync(page, "top");
        await page.ClickAsync("text=公開/");
        await page.WaitForSelectorAsync("input[type=file]");
        await LookAsync(page, "folder");
        await page.SetInputFilesAsync("#file", new FilePayload { Name = "届出 一覧.txt", MimeType = "text/plain", Buffer = "内容"u8.ToArray() });
        await page.ClickAsync("form[enctype] button");
        await page.WaitForSelectorAsync("text=届出 一覧.txt");
        await page.ClickAsync("a:text-is('届出 一覧.txt')");
        Assert.Contains("内容", await page.TextContentAsync("body"), StringComparison.Ordinal);
        await page.GoBackAsync();
        await page.ClickAsync("tr:has-text('届出') summary");
        await LookAsync(page, "folder-delete");
        await page.ClickAsync("tr:has-text('届出') button.danger");
        await page.WaitForSelectorAsync("tr:has-text('届出')", new() { State = WaitForSelectorState.Detached });
        await page.GotoAsync(broker.Files.Origin + "/秘密/台帳.txt");
        await LookAsync(page, "refused");

        foreach (var (card, pages) in ((string, (string Path, string Name)[])[])[("boss", Pages), ("manager", Forms)])
        {
            page = await SignedInAsync(terminal, card, broker.Issuer + "/sign-in?to=%2F");
            foreach (var language in (string[])["ja", "en"])
            {
                await page.GotoAsync(broker.Issuer + "/language?to=" + language);
                foreach (var (path, name) in pages)
                {
                    Assert.Equal(200, (await page.GotoAsync(broker.Issuer + path))!.Status);
                    await LookAsync(page, $"{name}-{language}");
                    // Names, places and reasons are the city's; sentences are ours.
                    if (language == "en") Assert.DoesNotMatch("[ぁ-ん]{4}", await page.EvaluateAsync<string>("[...document.querySelectorAll('h1, label, th, dt, button, summary, legend, p')].map(e => e.textContent).join(' ')"));
                }
            }
        }
        await page.GotoAsync(broker.Files.Origin + "/秘密/台帳.txt");
        await LookAsync(page, "refused-en");
        Assert.DoesNotMatch("[ぁ-ん]", (await page.TextContentAsync("main"))!);
    }

    private static readonly (string Path, string Name)[] Forms = [("/requests/new/files.grant", "new-grant"), ("/requests/new/files.export", "new-export"), ("/requests/new/files.classify", "new-classify")];

    private static readonly (string Path, string Name)[] Pages =
    [
        ("/files?path=/公開/お知らせ.txt", "rights"), ("/files?who=1001", "rights-of"), ("/files?who=試験", "rights-who"), ("/files/effect?Path=/公開&To=section&Section=市民課&Actions=read&Effect=deny&UpTo=3", "effect"), ("/files/review", "review"), ("/files/review?show=unused", "unused"),
        ("/files/report?path=/公開", "report"), ("/files/batches", "batches"),
    ];
}
