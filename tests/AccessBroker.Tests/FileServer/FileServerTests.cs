using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.FileServer;

/// <summary>A real nginx over a real directory: who gets what, what gets past it (nothing), and what happens to downloads under way.</summary>
public sealed class FileServerTests(FilesCity broker) : IClassFixture<FilesCity>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearFilesAsync();
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private Task<HttpResponseMessage> GetAsync(ConsoleBrowser me, string path, HttpMethod? method = null, HttpContent? content = null, HttpCompletionOption option = HttpCompletionOption.ResponseContentRead) => broker.GetAsync(me, path, method, content, option);

    private Task<ConsoleBrowser> VisitAsync(string actions = "read") => broker.VisitAsync(_terminal, actions);

    [Fact, Trait("Requirement", "FIL-11"), Trait("Requirement", "FIL-01")]
    public async Task A_section_head_proposes_one_who_administers_rights_approves_and_the_right_is_used_shown_and_ended()
    {
        long request;
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
        var until = DateTime.UtcNow.AddDays(30).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        (string, string)[] fields = [("path", "/公開"), ("to", "person"), ("person", "p-1001"), ("actions", "read"), ("effect", "allow"), ("upTo", "1"), ("until", until)];
        using (var head = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager"))
        {
            foreach (var (wrong, value, sentence) in ((string, string, string)[])[("path", "/公開/../秘密", "書き方が正しくありません"), ("path", "/登録のない", "登録されていません"), ("until", "2099-01-01", "1年以内"), ("person", "p-1004", "当てはまるものが見つかりません")])
                Assert.Contains(sentence, (await head.PostAsync("/requests/new/files.grant", [("Reason", "窓口業務"), .. fields.Select(f => ($"Given[{f.Item1}]", f.Item1 == wrong ? value : f.Item2))])).Page, StringComparison.Ordinal);
            request = await head.AskAsync("files.grant", "窓口業務", fields);
            Assert.Equal(HttpStatusCode.Forbidden, (await head.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"))).Status);
        }
        using (var administrator = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin")) Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"))).Status);
        using (var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss"))
        {
            await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"));
            Assert.Equal([$"/公開|person:p-1001|p-3001|p-8001|{request}"], await broker.SqlAsync("select resource, subject, requested_by, approved_by, request from file_permissions.grants"));
            Assert.Contains("試験 一子", (await chief.GetAsync("/files?path=" + Uri.EscapeDataString("/公開/お知らせ.txt"))).Page, StringComparison.Ordinal);
            Assert.Contains("閲覧", (await chief.GetAsync("/files?person=p-1001")).Page, StringComparison.Ordinal);
            var grant = (await broker.SqlAsync("select id from file_permissions.grants"))[0];
            Assert.Contains("終了しました", (await chief.PostAsync($"/files?grant={grant}&path=" + Uri.EscapeDataString("/公開"), ("Reason", "異動のため"))).Page, StringComparison.Ordinal);
            Assert.Equal(["p-8001"], await broker.SqlAsync("select ended_by from file_permissions.grants"));
        }
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await me.PostAsync("/files?grant=1", ("Reason", "だめ"))).Status);
        Assert.Equal(["許可", "終了"], await broker.SqlAsync("select what from registers.entries where register = 'file-rights' order by id"));
    }

    [Fact, Trait("Requirement", "FIL-01"), Trait("Requirement", "FIL-04"), Trait("Requirement", "DAT-12")]
    public async Task What_is_granted_is_served_and_nothing_else()
    {
        using var me = await VisitAsync();
        using (var small = await GetAsync(me, "/公開/お知らせ.txt"))
        {
            Assert.Equal("みんなに", await small.Content.ReadAsStringAsync());
            Assert.False(small.Headers.Contains("X-Accel-Redirect"));
            Assert.Equal("no-store", small.Headers.CacheControl!.ToString());
        }
        using (var large = await GetAsync(me, "/公開/大きい.bin")) Assert.Equal(64L << 20, (await large.Content.ReadAsByteArrayAsync()).LongLength);
        foreach (var (path, status) in ((string, HttpStatusCode)[])[("/秘密/台帳.txt", HttpStatusCode.Forbidden), ("/秘密.txt", HttpStatusCode.Forbidden), ("/ない.txt", HttpStatusCode.Forbidden), ("/公開/ない.txt", HttpStatusCode.NotFound), ("/公開/お知らせ.txt?print", HttpStatusCode.Forbidden), ("/公開/お知らせ.txt?export", HttpStatusCode.Forbidden)])
            using (var response = await GetAsync(me, path)) Assert.Equal((path, status), (path, response.StatusCode));
        Assert.Equal(["p-1001|/公開/お知らせ.txt"], await broker.SqlAsync("select distinct person, details->>'path' from history.events where operation = 'files.read' and outcome = 'done' and details->>'path' like '%お知らせ%'"));
        Assert.Equal("refused files.no-grant p-1001 t-01", await broker.LastEventAsync("files.export"));
        using (var list = await GetAsync(me, "/公開/")) Assert.Contains("お知らせ.txt", await list.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        // A place of others is registered below: its name is nobody's business either.
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/秘密/中', 'x', 3, now(), 'test') on conflict do nothing");
        using (var top = await GetAsync(me, "/")) Assert.DoesNotContain("秘密", WebUtility.HtmlDecode(await top.Content.ReadAsStringAsync()), StringComparison.Ordinal);
        // A browser that is nobody's is sent to sign in.
        using var stranger = new TestBrowser(broker);
        using (var asked = await stranger.Http.GetAsync(new Uri(broker.Origin + "/公開/お知らせ.txt"))) Assert.StartsWith(broker.Issuer + "/file-server/enter", asked.Headers.Location!.OriginalString, StringComparison.Ordinal);
        // My own code in a stranger's browser opens nothing, though that browser has asked as well: login by somebody else's hand.
        me.Cookies.GetCookies(new Uri(broker.Origin))["__Host-files"]!.Expired = true;
        string code;
        using (var again = await GetAsync(me, "/公開/お知らせ.txt"))
        using (var admitted = await me.Http.GetAsync(again.Headers.Location)) code = admitted.Headers.Location!.OriginalString;
        Assert.Contains("/.accessbroker/callback?code=", code, StringComparison.Ordinal);
        using (var callback = await stranger.Http.GetAsync(new Uri(code))) Assert.Equal(HttpStatusCode.BadRequest, callback.StatusCode);
        // In mine it does, once.
        using (var mine = await me.Http.GetAsync(new Uri(code))) Assert.Equal(HttpStatusCode.Redirect, mine.StatusCode);
        Assert.StartsWith("done", await broker.LastEventAsync("files.enter"), StringComparison.Ordinal);
        using (var twice = await me.Http.GetAsync(new Uri(code))) Assert.Equal(HttpStatusCode.BadRequest, twice.StatusCode);
        using (var still = await GetAsync(me, "/公開/お知らせ.txt")) Assert.Equal(HttpStatusCode.OK, still.StatusCode);
        // The cookie at another terminal is nobody's.
        using var elsewhere = broker.Client("127.0.0.77", me.Cookies);
        using (var moved = await elsewhere.GetAsync(new Uri(broker.Origin + "/公開/お知らせ.txt"))) Assert.Equal(HttpStatusCode.Redirect, moved.StatusCode);
        // A path as long as a path may be.
        var deep = string.Join('/', Enumerable.Repeat(new string('長', 80), 16));
        Directory.CreateDirectory(Path.Combine(broker.Root, "公開", deep));
        await File.WriteAllTextAsync(Path.Combine(broker.Root, "公開", deep, "底.txt"), "底");
        using (var bottom = await GetAsync(me, $"/公開/{deep}/底.txt")) Assert.Equal("底", await bottom.Content.ReadAsStringAsync());
        Assert.StartsWith("done", await broker.LastEventAsync("files.list"), StringComparison.Ordinal);
    }

    /// <summary>Byte for byte as a client may send it, with a valid cookie: what is not granted does not come out.</summary>
    [Fact, Trait("Requirement", "FIL-10")]
    public async Task Nothing_gets_past_it()
    {
        using var me = await VisitAsync("read write print export delete");
        using var probe = await GetAsync(me, "/公開/お知らせ.txt");
        var cookie = me.Cookies.GetCookies(new Uri(broker.Origin))["__Host-files"]!.Value;
        const string Open = "/%E5%85%AC%E9%96%8B", Closed = "%E7%A7%98%E5%AF%86/%E5%8F%B0%E5%B8%B3.txt";
        string[] targets =
        [
            $"/{Closed}", $"{Open}/../{Closed}", $"{Open}/%2e%2e/{Closed}", $"{Open}/%2E%2e/{Closed}", $"{Open}/..%2f{Closed}", $"{Open}%2f..%2f{Closed}", $"{Open}/%252e%252e/{Closed}", $"{Open}/..;/{Closed}", $"{Open}/.%00./{Closed}", $"{Open}/..%00/{Closed}",
            $"{Open}/..\\{Closed}", $"{Open}/..%5c{Closed}", $"{Open}/%c0%ae%c0%ae/{Closed}", $"{Open}/%e0%80%ae%e0%80%ae/{Closed}", $"{Open}/%u002e%u002e/{Closed}", $"//{Closed}", $"/./{Closed}", $"{Open}//../{Closed}", $"{Open}/./../{Closed}", $"{Open}/../{Closed}?a=1", $"{Open}/..?/../{Closed}",
            $"{Open}/link.txt", $"{Open}/linked/%E5%8F%B0%E5%B8%B3.txt", $"{Open}/passwd", $"{Open}/linked/", $"{Open}/linked", $"/.internal/{Closed}", $"/.internal{Open}/../{Closed}", $"{Open}/../.internal/{Closed}", $"/.internal/%2e%2e/{Closed}", $"/%2einternal/{Closed}",
            $"https://127.0.0.1/{Closed}", $"{broker.Origin}/{Closed}", "/.accessbroker/callback?code=x&to=/" + Closed, $"{Open}/%EF%BC%8E%EF%BC%8E/{Closed}", $"{Open}/%E2%80%AE/{Closed}", $"{Open}/ /../{Closed}", $"{Open}#/../{Closed}", "*", "/" + new string('a', 5000), "/" + string.Concat(Enumerable.Repeat("a/", 3000)), $"{Open}/" + string.Concat(Enumerable.Repeat("../", 50)) + "etc/passwd",
        ];
        string[] headers = ["", "X-Accel-Redirect: /.internal/" + Closed, "X-Original-URI: " + Open + "/a", "X-Terminal-Address: 10.9.9.9\r\nX-Rewrite-URL: /" + Closed, "Range: bytes=0-10", "Transfer-Encoding: chunked"];
        await Parallel.ForEachAsync(targets.SelectMany(t => headers.Select(h => (Target: t, Header: h))), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (asked, _) =>
            {
                var (target, header) = asked;
                var answer = await RawAsync($"GET {target} HTTP/1.1\r\nHost: 127.0.0.3\r\nCookie: __Host-files={cookie}\r\n{(header.Length > 0 ? header + "\r\n" : "")}Connection: close\r\n\r\n");
                Assert.False(answer.Contains("SECRET", StringComparison.Ordinal) || answer.Contains("root:", StringComparison.Ordinal), $"{target} {header}: {answer[..Math.Min(200, answer.Length)]}");
            });
        // Nor does anything get written or deleted there.
        await Parallel.ForEachAsync(targets.Take(24).SelectMany(t => ((string[])["PUT", "DELETE", "MOVE", "POST"]).Select(m => (Target: t, Method: m))), new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (asked, _) =>
            {
                var (target, method) = asked;
                await RawAsync($"{method} {target} HTTP/1.1\r\nHost: 127.0.0.3\r\nCookie: __Host-files={cookie}\r\nContent-Length: 5\r\nDestination: {Open}/x\r\nConnection: close\r\n\r\nowned");
            });
        Assert.Equal("SECRET-OF-THE-CITY", await File.ReadAllTextAsync(Path.Combine(broker.Root, "秘密/台帳.txt")));
        // What is granted still comes, with the same cookie.
        Assert.Contains("みんなに", await RawAsync($"GET {Open}/%E3%81%8A%E7%9F%A5%E3%82%89%E3%81%9B.txt HTTP/1.1\r\nHost: 127.0.0.3\r\nCookie: __Host-files={cookie}\r\nConnection: close\r\n\r\n"), StringComparison.Ordinal);
    }

    private async Task<string> RawAsync(string request)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, broker.NginxPort);
        await using var tls = new SslStream(socket.GetStream(), false, (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync("localhost");
        await tls.WriteAsync(Encoding.Latin1.GetBytes(request));
        using var answer = new MemoryStream();
        try { await tls.CopyToAsync(answer).WaitAsync(TimeSpan.FromSeconds(15)); }
        catch (IOException) { /* closed without a goodbye */ }
        return Encoding.UTF8.GetString(answer.ToArray());
    }

    [Fact, Trait("Requirement", "DAT-02"), Trait("Requirement", "FIL-01")]
    public async Task An_upload_is_stored_whole_with_version_and_changer_and_rows_are_seen_by_whoever_may()
    {
        using var me = await VisitAsync("read write delete");
        await Eventually.TrueAsync(async () => { using var made = await GetAsync(me, "/公開/新規.txt", HttpMethod.Put, new StringContent("一")); return made.StatusCode == HttpStatusCode.Created; }, "the right to write is known");
        using (var again = await GetAsync(me, "/公開/新規.txt", HttpMethod.Put, new StringContent("二"))) Assert.Equal(HttpStatusCode.NoContent, again.StatusCode);
        using (var read = await GetAsync(me, "/公開/新規.txt")) Assert.Equal("二", await read.Content.ReadAsStringAsync());
        Assert.Equal(["2|p-1001|3"], await broker.SqlAsync("select version, changed_by, bytes from file_permissions.files where path = '/公開/新規.txt'"));
        // The application's own role: nothing without an operator, nothing of others with one.
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from file_permissions.files", asServer: true));
        await using (var connection = await broker.OpenAsync(asServer: true))
        {
            foreach (var (person, seen) in ((string, long)[])[("p-1001", 1), ("p-1002", 0), ("nobody", 0)])
            {
                await using var command = new Npgsql.NpgsqlCommand("select set_config('accessbroker.operator', $1, false)", connection) { Parameters = { new() { Value = person } } };
                await command.ExecuteNonQueryAsync();
                await using var count = new Npgsql.NpgsqlCommand("select count(*) from file_permissions.files", connection);
                Assert.Equal(seen, await count.ExecuteScalarAsync());
            }
        }
        foreach (var (path, status) in ((string, HttpStatusCode)[])[("/秘密/x.txt", HttpStatusCode.Forbidden), ("/公開/ない/x.txt", HttpStatusCode.NotFound), ("/公開/linked/x.txt", HttpStatusCode.NotFound), ("/公開/下", HttpStatusCode.Conflict)])
            using (var refused = await GetAsync(me, path, HttpMethod.Put, new StringContent("x"))) Assert.Equal((path, status), (path, refused.StatusCode));
        using (var gone = await GetAsync(me, "/公開/新規.txt", HttpMethod.Delete)) Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        using (var missing = await GetAsync(me, "/公開/新規.txt")) Assert.Equal(HttpStatusCode.NotFound, missing.StatusCode);
        Assert.Equal([], Directory.GetFiles(Path.Combine(broker.Root, "公開"), ".accessbroker*"));
    }

    [Theory, Trait("Requirement", "FIL-01"), Trait("Requirement", "SES-07"), InlineData("revoke"), InlineData("card"), InlineData("deny"), InlineData("batch"), InlineData("expiry")]
    public async Task Fifty_downloads_under_way_are_cut(string cause)
    {
        using var me = await VisitAsync();
        var responses = new List<HttpResponseMessage>();
        for (var i = 0; i < 50; i++) responses.Add(await GetAsync(me, "/公開/大きい.bin", option: HttpCompletionOption.ResponseHeadersRead));
        // Slow readers, so that all are under way; after the cause they read what is still in the pipes as fast as they can.
        var hurry = false;
        var readers = responses.Select(async response =>
        {
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            await using var body = await response.Content.ReadAsStreamAsync();
            var (buffer, total) = (new byte[4096], 0L);
            try
            {
                for (int read; (read = await body.ReadAsync(buffer)) > 0;) { total += read; if (!hurry) await Task.Delay(20); }
            }
            catch (Exception e) when (e is HttpIOException or IOException) { return (Stopwatch.GetTimestamp(), total); }
            return (0L, total);
        }).ToList();
        if (cause == "expiry") await broker.SqlAsync("update file_permissions.grants set valid_until = now() + interval '2 seconds'");
        var before = (await broker.SqlAsync("select coalesce(max(id), 0) from history.events"))[0];
        await Task.Delay(300);
        Assert.DoesNotContain(readers, r => r.IsCompleted);
        var began = Stopwatch.GetTimestamp();
        hurry = true;
        if (cause == "card") await _terminal.RemoveAsync();
        else if (cause != "expiry") await broker.SqlAsync(cause switch { "revoke" => "update file_permissions.grants set ended_at = now(), ended_by = 'test'", "batch" => "update file_permissions.sets set batch_since = now() where resource = '/公開'", _ => "insert into file_permissions.grants (resource, subject, actions, deny, valid_from, valid_until, reason, requested_by, approved_by) values ('/公開', 'section:市民課', array['read'], true, now(), now() + interval '1 day', 'x', 'x', 'x')" });
        var ends = await Task.WhenAll(readers).WaitAsync(TimeSpan.FromSeconds(20));
        await broker.SqlAsync("update file_permissions.sets set batch_since = null");
        // Each was cut, none ended as if it were whole.
        Assert.All(ends, e => { Assert.NotEqual(0, e.Item1); Assert.True(e.total < 64L << 20); });
        var last = ends.Max(e => Stopwatch.GetElapsedTime(began, e.Item1));
        TestContext.Current.TestOutputHelper!.WriteLine($"{cause}: the last of 50 was cut {last.TotalMilliseconds:0} ms after the cause");
        Assert.InRange(last.TotalSeconds, 0, 5);
        Assert.Equal(["50"], await Eventually.FindAsync(async () => await broker.SqlAsync($"select count(*) from history.events where operation = 'files.cut' and id > {before}") is ["50"] found ? found : null, "each cut is recorded"));
        responses.ForEach(r => r.Dispose());
    }
}
