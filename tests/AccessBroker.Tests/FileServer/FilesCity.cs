using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.FileServer;

/// <summary>A city with files behind a real nginx: open ones, closed ones, large ones, and links that lead where they must not.</summary>
public class FilesCity : BrokerHost
{
    private readonly int _filesPort = Place.FreePort(), _nginxPort = Place.FreePort();
    private Process? _nginx;

    internal int NginxPort => _nginxPort;
    internal string Origin => $"https://127.0.0.2:{_nginxPort}";
    internal string Root => Path.Combine(DataDirectory, "files");

    protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__ListenFiles", $"127.0.0.1:{_filesPort}"), new("Broker__FileOrigin", Origin), new("Broker__FileRoot", Root)];

    protected override async Task ArrangeAsync()
    {
        foreach (var (path, text) in ((string, string)[])[("公開/お知らせ.txt", "みんなに"), ("公開/下/a.txt", "下のもの"), ("秘密/台帳.txt", "SECRET-OF-THE-CITY"), ("秘密.txt", "SECRET-OF-THE-CITY")])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(Root, path))!);
            await File.WriteAllTextAsync(Path.Combine(Root, path), text);
        }
        await using (var large = File.Create(Path.Combine(Root, "公開/大きい.bin"))) large.SetLength(64L << 20);
        File.CreateSymbolicLink(Path.Combine(Root, "公開/link.txt"), Path.Combine(Root, "秘密/台帳.txt"));
        Directory.CreateSymbolicLink(Path.Combine(Root, "公開/linked"), Path.Combine(Root, "秘密"));
        File.CreateSymbolicLink(Path.Combine(Root, "公開/passwd"), "/etc/passwd");
        var sample = await File.ReadAllTextAsync(Path.Combine(Place.Root, "src/AccessBroker/samples/nginx-files.conf"));
        foreach (var (from, to) in ((string, string)[])[("127.0.0.1:7460", $"127.0.0.1:{_filesPort}"), ("10.1.0.20:443", $"127.0.0.1:{_nginxPort}"), ("/etc/accessbroker/files.pem", $"{Place.Directory}/tls/rp.pem"), ("/etc/accessbroker/files.key", $"{Place.Directory}/tls/rp.key"), ("/srv/files", Root)])
        {
            Assert.Contains(from, sample, StringComparison.Ordinal);
            sample = sample.Replace(from, to, StringComparison.Ordinal);
        }
        var configuration = Path.Combine(DataDirectory, "nginx.conf");
        await File.WriteAllTextAsync(configuration, $"user root;\npid {DataDirectory}/nginx.pid;\nerror_log {DataDirectory}/nginx.log warn;\n" + sample.Replace("http {", $"http {{\n  client_body_temp_path {DataDirectory}/body;\n  proxy_temp_path {DataDirectory}/proxy;\n  fastcgi_temp_path {DataDirectory}/f;\n  uwsgi_temp_path {DataDirectory}/u;\n  scgi_temp_path {DataDirectory}/s;", StringComparison.Ordinal));
        _nginx = Process.Start(new ProcessStartInfo("nginx", ["-c", configuration, "-g", "daemon off;"]) { RedirectStandardError = true });
    }

    protected override async Task EndAsync()
    {
        _nginx!.Kill(entireProcessTree: true);
        await _nginx.WaitForExitAsync();
    }

    internal Task<List<string>> GrantAsync(string path, string subject, string actions, bool deny = false) => SqlAsync($"""
        insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('{path}', 'x', 1, now(), 'test') on conflict do nothing;
        insert into file_permissions.grants (resource, subject, actions, deny, valid_from, valid_until, reason, requested_by, approved_by) values ('{path}', '{subject}', string_to_array('{actions}', ' '), {deny}, now(), now() + interval '1 day', 'x', 'test', 'test')
        """);

    internal async Task<HttpResponseMessage> GetAsync(ConsoleBrowser me, string path, HttpMethod? method = null, HttpContent? content = null, HttpCompletionOption option = HttpCompletionOption.ResponseContentRead)
    {
        using var request = new HttpRequestMessage(method ?? HttpMethod.Get, Origin + path) { Content = content };
        return await me.Http.SendAsync(request, option);
    }

    /// <summary>Follows the browser from the file server to the broker and back; the first page at the file server.</summary>
    internal async Task<HttpResponseMessage> EnterAsync(ConsoleBrowser me, string path)
    {
        var response = await GetAsync(me, path);
        for (var hop = 0; hop < 4 && response.StatusCode == System.Net.HttpStatusCode.Redirect; hop++)
        {
            var to = response.Headers.Location!;
            response.Dispose();
            response = await me.Http.GetAsync(to.IsAbsoluteUri ? to : new Uri(new Uri(Origin), to));
        }
        return response;
    }

    /// <summary>Somebody with rights at /公開, signed in and let in.</summary>
    internal async Task<ConsoleBrowser> VisitAsync(TestTerminal terminal, string actions = "read", string card = "sato", string person = "p-1001")
    {
        await GrantAsync("/公開", $"person:{person}", actions);
        var me = await ConsoleBrowser.SignInAsync(this, terminal, card);
        await Eventually.TrueAsync(async () => { using var entered = await EnterAsync(me, "/公開/お知らせ.txt"); return entered.StatusCode == System.Net.HttpStatusCode.OK; }, "the file is served");
        return me;
    }

    /// <summary>As no right and no bulk update were ever there.</summary>
    internal async Task ClearFilesAsync()
    {
        await ClearAsync();
        await SqlAsync("update file_permissions.batches set ended_at = now(), ended_by = 'test', outcome = 'released' where ended_at is null; update file_permissions.sets set batch_since = null; delete from file_permissions.uses; delete from file_permissions.grants; delete from file_permissions.files");
    }
}
