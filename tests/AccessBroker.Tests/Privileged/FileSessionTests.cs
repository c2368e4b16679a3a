using System.Net;
using System.Net.Http.Headers;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Privileged work on files, behind real nginx: what may be read while it lasts, and every way to go on reading after it.</summary>
public sealed class FileSessionTests(FileSessionTests.City broker) : IClassFixture<FileSessionTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedFilesCity;

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private static async Task<(HttpStatusCode Status, int Bytes)> AskAsync(HttpClient http, Uri url, HttpMethod? method = null, Action<HttpRequestMessage>? more = null)
    {
        using var request = new HttpRequestMessage(method ?? HttpMethod.Get, url);
        more?.Invoke(request);
        using var response = await http.SendAsync(request);
        return (response.StatusCode, (await response.Content.ReadAsByteArrayAsync()).Length);
    }

    /// <summary>Keep-alive, ranges, parallel streams, conditions: nothing is read after the end that was not read before.</summary>
    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-09")]
    public async Task Nothing_is_read_after_the_end()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var (small, large) = (broker.FileUrl("公開/お知らせ.txt"), broker.FileUrl("公開/大きい.bin"));
        await broker.EnterFilesAsync(me);
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(me.Http, small)).Status);
        var session = await broker.OpenAsync(me, "repair");
        // One connection that is kept: what it may is asked for each request.
        using var kept = broker.Client(cookies: me.Cookies, connections: 1);
        await Eventually.TrueAsync(async () => (await AskAsync(kept, small)).Status == HttpStatusCode.OK, "it may be read");
        using var head = new HttpRequestMessage(HttpMethod.Head, small);
        using var seen = await kept.SendAsync(head);
        Assert.Equal(HttpStatusCode.PartialContent, (await AskAsync(kept, large, more: r => r.Headers.Range = new RangeHeaderValue(0, 99))).Status);
        // What the work does not allow stays closed while it lasts.
        foreach (var method in (HttpMethod[])[HttpMethod.Put, HttpMethod.Delete]) Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, small, method, r => { r.Headers.Add("Sec-Fetch-Site", "same-origin"); if (method == HttpMethod.Put) r.Content = new StringContent("x"); })).Status);
        // Streams under way: two whole, one from the middle, each on a connection of its own.
        using var http = broker.Client(cookies: me.Cookies, window: 64 * 1024);
        var streams = new List<Task<Exception?>>();
        foreach (var from in (long?[])[null, null, 1 << 20])
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, large);
            if (from is not null) request.Headers.Range = new RangeHeaderValue(from, null);
            var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            Assert.True(response.IsSuccessStatusCode, $"{response.StatusCode}");
            streams.Add(ReadAsync(response));
        }
        Assert.All(streams, s => Assert.False(s.IsCompleted));
        await me.PostAsync($"/privileged/{session}?handler=end");
        foreach (var stream in streams) Assert.IsAssignableFrom<IOException>(await stream.WaitAsync(TimeSpan.FromSeconds(5)));
        await broker.StateAsync(session, "ended");
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, small)).Status);
        foreach (var range in (RangeHeaderValue[])[new(0, 99), new(1 << 20, null), new(null, 1)]) Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, large, more: r => r.Headers.Range = range)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, small, HttpMethod.Head)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, small, more: r => { if (seen.Headers.ETag is { } tag) r.Headers.IfNoneMatch.Add(tag); r.Headers.IfModifiedSince = DateTimeOffset.UtcNow; })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(kept, large, more: r => { r.Headers.Range = new(5, null); r.Headers.IfRange = new(DateTimeOffset.UnixEpoch); })).Status);
        // One end of the work, one of its permission, each on record.
        Assert.Equal(["files.end-grant", "privileged.end", "privileged.order-end"], await broker.SqlAsync($"select operation from history.events where details->>'privileged' = '{session}' and outcome = 'ended' order by operation"));
        Assert.Equal(["privileged.revoked"], await broker.SqlAsync($"select end_reason from privileged.sessions where id = '{session}'"));
    }

    /// <summary>Two works with the same permission: what one still allows goes on when the other ends, and not a moment longer.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Overlapping_permissions_are_a_union()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var (first, second) = (await broker.OpenAsync(me, "repair"), await broker.OpenAsync(me, "repair"));
        await broker.EnterFilesAsync(me);
        await Eventually.TrueAsync(async () => (await AskAsync(me.Http, broker.FileUrl("公開/お知らせ.txt"))).Status == HttpStatusCode.OK, "it may be read");
        using var http = broker.Client(cookies: me.Cookies, window: 64 * 1024);
        var response = await http.GetAsync(broker.FileUrl("公開/大きい.bin"), HttpCompletionOption.ResponseHeadersRead);
        var stream = ReadAsync(response);
        await me.PostAsync($"/privileged/{first}?handler=end");
        await broker.StateAsync(first, "ended");
        await Task.Delay(1000);    // Ten turns of the judge.
        Assert.False(stream.IsCompleted);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(me.Http, broker.FileUrl("公開/お知らせ.txt"))).Status);
        await broker.SqlAsync($"update privileged.sessions set ends_at = now() + interval '1 second' where id = '{second}'; update file_permissions.grants set valid_until = now() + interval '1 second' where holder = '{second}'");
        Assert.IsAssignableFrom<IOException>(await stream.WaitAsync(TimeSpan.FromSeconds(10)));
        await broker.StateAsync(second, "ended");
        Assert.Equal(HttpStatusCode.Forbidden, (await AskAsync(me.Http, broker.FileUrl("公開/お知らせ.txt"))).Status);
    }

    /// <summary>Slowly, to its end; null: it came to an end as if it were whole.</summary>
    internal static async Task<Exception?> ReadAsync(HttpResponseMessage response)
    {
        using (response)
        {
            await using var body = await response.Content.ReadAsStreamAsync();
            var buffer = new byte[16 * 1024];
            try { while (await body.ReadAsync(buffer) > 0) await Task.Delay(20); }
            catch (IOException e) { return e; }
            return null;
        }
    }
}
