using System.Net;
using System.Text;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.FileServer;

/// <summary>What people do in a browser: list, store, delete; and what a crash leaves.</summary>
public sealed class FormTests(FilesCity broker) : IClassFixture<FilesCity>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearFilesAsync();
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private async Task<HttpResponseMessage> UploadAsync(ConsoleBrowser me, string directory, string name, string text, string site = "same-origin")
    {
        using var form = new MultipartFormDataContent { { new StringContent(text), "file", name } };
        using var request = new HttpRequestMessage(HttpMethod.Post, broker.Origin + directory + "?upload") { Content = form };
        request.Headers.Add("Sec-Fetch-Site", site);
        return await me.Http.SendAsync(request);
    }

    [Fact, Trait("Requirement", "FIL-01"), Trait("Requirement", "DAT-02")]
    public async Task Forms_store_and_delete_with_the_same_rights()
    {
        using var me = await broker.VisitAsync(_terminal, "read write delete");
        using (var stored = await UploadAsync(me, "/公開/", "申請書.txt", "内容")) Assert.Equal((HttpStatusCode.SeeOther, "/%E5%85%AC%E9%96%8B/"), (stored.StatusCode, stored.Headers.Location!.OriginalString));
        using (var read = await broker.GetAsync(me, "/公開/申請書.txt")) Assert.Equal(("内容", "text/plain; charset=utf-8"), (await read.Content.ReadAsStringAsync(), read.Content.Headers.ContentType!.ToString()));
        using (var list = await broker.GetAsync(me, "/公開/"))
        {
            var page = await list.Content.ReadAsStringAsync();
            Assert.Contains("申請書.txt", WebUtility.HtmlDecode(page), StringComparison.Ordinal);
            Assert.Contains("multipart/form-data", page, StringComparison.Ordinal);
            Assert.DoesNotContain("?export", page, StringComparison.Ordinal);
            Assert.DoesNotContain("sandbox", list.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
        }
        // Another site's form, names that are no names, a directory without the right.
        foreach (var (directory, name, site, status) in ((string, string, string, HttpStatusCode)[])[("/公開/", "x.txt", "cross-site", HttpStatusCode.MethodNotAllowed), ("/公開/", "x.txt", "same-site", HttpStatusCode.MethodNotAllowed), ("/公開/", "..", "same-origin", HttpStatusCode.BadRequest), ("/公開/", "../秘密/台帳.txt", "same-origin", HttpStatusCode.BadRequest), ("/公開/", "..\\秘密.txt", "same-origin", HttpStatusCode.BadRequest), ("/秘密/", "x.txt", "same-origin", HttpStatusCode.Forbidden), ("/", "x.txt", "same-origin", HttpStatusCode.Forbidden)])
            using (var refused = await UploadAsync(me, directory, name, "owned", site)) Assert.Equal((directory, name, status), (directory, name, refused.StatusCode));
        Assert.Equal("SECRET-OF-THE-CITY", await File.ReadAllTextAsync(Path.Combine(broker.Root, "秘密/台帳.txt")));
        using (var none = await broker.GetAsync(me, "/公開/?upload", HttpMethod.Post, new StringContent("no form"))) Assert.Equal(HttpStatusCode.BadRequest, none.StatusCode);
        using (var gone = await broker.GetAsync(me, "/公開/申請書.txt?delete", HttpMethod.Post)) Assert.Equal(HttpStatusCode.SeeOther, gone.StatusCode);
        Assert.False(File.Exists(Path.Combine(broker.Root, "公開/申請書.txt")));
        Assert.Equal("done  p-1001 t-01", await broker.LastEventAsync("files.delete"));
        // What waits to take its place is nobody's file.
        foreach (var path in (string[])["/.accessbroker", "/.accessbroker/", "/.accessbroker/x"])
            using (var hidden = await broker.GetAsync(me, path)) Assert.Equal((path, HttpStatusCode.BadRequest), (path, hidden.StatusCode));
    }

    /// <summary>Between commit and place the node died: row and event are there, the disk follows; what nobody committed never appears.</summary>
    [Fact, Trait("Requirement", "DAT-02")]
    public async Task What_a_crash_leaves_is_finished()
    {
        using var me = await broker.VisitAsync(_terminal, "read write delete");
        using (var first = await broker.GetAsync(me, "/公開/途中.txt", HttpMethod.Put, new StringContent("一"))) Assert.True(first.IsSuccessStatusCode);
        using (var other = await broker.GetAsync(me, "/公開/消す.txt", HttpMethod.Put, new StringContent("一"))) Assert.True(other.IsSuccessStatusCode);
        await File.WriteAllTextAsync(Path.Combine(broker.Root, ".accessbroker/left-behind"), "二");
        await broker.SqlAsync("delete from file_server.unfinished; insert into file_server.unfinished (path, beside, at) values ('/公開/途中.txt', 'left-behind', now()), ('/公開/消す.txt', null, now())");
        await Eventually.TrueAsync(async () => await File.ReadAllTextAsync(Path.Combine(broker.Root, "公開/途中.txt")) == "二" && !File.Exists(Path.Combine(broker.Root, "公開/消す.txt")), "what is recorded is done", 25);
        // Done is done: what a program writes there afterwards stays.
        await File.WriteAllTextAsync(Path.Combine(broker.Root, "公開/消す.txt"), "新しい");
        using (var again = await broker.GetAsync(me, "/公開/途中.txt", HttpMethod.Put, new StringContent("三"))) Assert.True(again.IsSuccessStatusCode);
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from file_server.unfinished"));
        await Task.Delay(11_000);
        Assert.Equal("新しい", await File.ReadAllTextAsync(Path.Combine(broker.Root, "公開/消す.txt")));
        Assert.Equal("三", await File.ReadAllTextAsync(Path.Combine(broker.Root, "公開/途中.txt")));
    }

    /// <summary>Twenty write the same file at once: the last version recorded is what stands on the disk.</summary>
    [Fact, Trait("Requirement", "DAT-02")]
    public async Task Many_store_the_same_file_at_once()
    {
        using var me = await broker.VisitAsync(_terminal, "read write");
        await Parallel.ForEachAsync(Enumerable.Range(0, 20), new ParallelOptions { MaxDegreeOfParallelism = 10 }, async (n, _) =>
        {
            using var stored = await broker.GetAsync(me, "/公開/競う.txt", HttpMethod.Put, new StringContent($"版 {n}"));
            Assert.True(stored.IsSuccessStatusCode);
        });
        var hash = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(await File.ReadAllBytesAsync(Path.Combine(broker.Root, "公開/競う.txt"))));
        Assert.Equal([$"20|{hash}"], await broker.SqlAsync("select version, sha256 from file_permissions.files where path = '/公開/競う.txt'"));
        Assert.Equal([], Directory.GetFiles(Path.Combine(broker.Root, ".accessbroker")));
    }

    [Fact]
    public async Task What_runs_nothing_is_shown_and_the_rest_is_saved()
    {
        using var me = await broker.VisitAsync(_terminal, "read write print export");
        foreach (var (name, type) in ((string, string)[])[("a.html", "application/octet-stream"), ("a.svg", "application/octet-stream"), ("a.pdf", "application/pdf"), ("a.csv", "text/plain; charset=utf-8"), ("a.PNG", "image/png")])
        {
            using (var stored = await broker.GetAsync(me, "/公開/" + name, HttpMethod.Put, new ByteArrayContent(Encoding.UTF8.GetBytes("<script>alert(1)</script>")))) Assert.True(stored.IsSuccessStatusCode);
            using var read = await broker.GetAsync(me, "/公開/" + name);
            Assert.Equal((name, type, "inline", "nosniff"), (name, read.Content.Headers.ContentType!.ToString(), read.Content.Headers.ContentDisposition!.DispositionType, read.Headers.GetValues("X-Content-Type-Options").Single()));
            Assert.Contains("default-src 'none'", read.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
            using var taken = await broker.GetAsync(me, $"/公開/{name}?export");
            Assert.Equal(("application/octet-stream", "attachment"), (taken.Content.Headers.ContentType!.ToString(), taken.Content.Headers.ContentDisposition!.DispositionType));
        }
    }
}
