using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.FileServer;

/// <summary>The product's nginx over a directory: open files, closed ones, large ones, and links that lead where they must not.</summary>
internal sealed class FilesNginx(string data, int nodes = 1)
{
    private readonly (int Broker, int Nginx)[] _ports = [.. Enumerable.Range(0, nodes).Select(_ => (Place.FreePort(), Place.FreePort()))];
    private readonly List<Process> _running = [];

    internal int Port => _ports[0].Nginx;
    /// <summary>The nginx beside a node. Cookies know no ports: who is let in at one is let in at both.</summary>
    internal string OriginOf(int node) => $"https://127.0.0.3:{_ports[node].Nginx}";
    internal string Origin => OriginOf(0);
    internal string Root => Path.Combine(data, "files");

    internal IEnumerable<KeyValuePair<string, string>> Settings => SettingsOf(0);
    internal IEnumerable<KeyValuePair<string, string>> SettingsOf(int node) => [new("Broker__ListenFiles", $"127.0.0.1:{_ports[node].Broker}"), new("Broker__FileOrigin", Origin), new("Broker__FileRoot", Root)];

    internal async Task StartAsync()
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
        for (var node = 0; node < _ports.Length; node++) await StartAsync(node);
    }

    /// <summary>The product's sample with this place's addresses; and, to compare, the same files without any decision.</summary>
    private async Task StartAsync(int node)
    {
        var (filesPort, nginxPort) = _ports[node];
        var sample = await File.ReadAllTextAsync(Path.Combine(Place.Root, "src/AccessBroker/samples/nginx-files.conf"));
        foreach (var (from, to) in ((string, string)[])[("127.0.0.1:7460", $"127.0.0.1:{filesPort}"), ("listen 10.1.0.20:443 ssl sndbuf=64k;", $"listen 127.0.0.3:{nginxPort} ssl sndbuf=64k; listen 127.0.0.1:{nginxPort} ssl sndbuf=64k;"), ("/etc/accessbroker/files.pem", $"{Place.Directory}/tls/files.pem"), ("/etc/accessbroker/files.key", $"{Place.Directory}/tls/files.key"), ("/srv/files", Root)])
        {
            Assert.Contains(from, sample, StringComparison.Ordinal);
            sample = sample.Replace(from, to, StringComparison.Ordinal);
        }
        if (Bare) sample = sample.Replace("location / {", $"location /bare/ {{ alias {Root}/; }}\n    location / {{", StringComparison.Ordinal);
        var own = Path.Combine(data, $"nginx-{node}");
        Directory.CreateDirectory(own);
        var configuration = Path.Combine(own, "nginx.conf");
        await File.WriteAllTextAsync(configuration, $"user root;\npid {own}/nginx.pid;\nerror_log {own}/nginx.log warn;\n" + sample.Replace("http {", $"http {{\n  client_body_temp_path {own}/body;\n  proxy_temp_path {own}/proxy;\n  fastcgi_temp_path {own}/f;\n  uwsgi_temp_path {own}/u;\n  scgi_temp_path {own}/s;", StringComparison.Ordinal));
        _running.Add(Process.Start(new ProcessStartInfo("nginx", ["-c", configuration, "-g", "daemon off;"]) { RedirectStandardError = true })!);
        await Eventually.TrueAsync(async () =>
        {
            if (_running[^1].HasExited) Assert.Fail("nginx: " + await _running[^1].StandardError.ReadToEndAsync());
            using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
            try { await socket.ConnectAsync(System.Net.IPAddress.Loopback, nginxPort); return true; }
            catch (System.Net.Sockets.SocketException) { return false; }
        }, "nginx listens");
    }

    /// <summary>Serves the same files below /bare/ to anybody: for benchmarks only.</summary>
    internal bool Bare { get; init; }

    internal async Task StopAsync()
    {
        foreach (var nginx in _running)
        {
            nginx.Kill(entireProcessTree: true);
            await nginx.WaitForExitAsync();
        }
    }
}

/// <summary>A city with a file server.</summary>
public class FilesCity : BrokerHost
{
    private FilesNginx? _files;
    private FilesNginx Files => _files ??= new(DataDirectory);

    internal int NginxPort => Files.Port;
    internal string Origin => Files.Origin;
    internal string Root => Files.Root;

    protected override IEnumerable<KeyValuePair<string, string>> Settings => Files.Settings;
    protected override Task ArrangeAsync() => Files.StartAsync();
    protected override Task EndAsync() => Files.StopAsync();

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
        var grant = (await SqlAsync("select max(id) from file_permissions.grants"))[0];
        var me = await ConsoleBrowser.SignInAsync(this, terminal, card);
        // Served by this very grant: rights of the test before may still be known for a moment.
        await Eventually.TrueAsync(async () =>
        {
            using var entered = await EnterAsync(me, "/公開/お知らせ.txt");
            return entered.StatusCode == System.Net.HttpStatusCode.OK && await SqlAsync("select details->>'grant' from history.events where operation = 'files.read' and outcome = 'done' order by id desc limit 1") is [var by] && by == grant;
        }, "the file is served");
        return me;
    }

    /// <summary>As no right and no bulk update were ever there.</summary>
    internal async Task ClearFilesAsync()
    {
        await ClearAsync();
        await SqlAsync("update file_permissions.batches set ended_at = now(), ended_by = 'test', outcome = 'released' where ended_at is null; update file_permissions.sets set batch_since = null; delete from file_permissions.uses; delete from file_permissions.grants; delete from file_permissions.files");
    }
}
