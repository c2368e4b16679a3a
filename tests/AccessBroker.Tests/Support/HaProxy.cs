using System.Diagnostics;
using System.Globalization;

namespace AccessBroker.Tests.Support;

/// <summary>A real HAProxy in front of several nodes: TCP passed through, the PROXY protocol tells the clients' addresses. The README's sample configuration.</summary>
internal sealed class HaProxy(string directory, int browsers, int terminals, IReadOnlyList<(int Browsers, int Terminals)> nodes) : IAsyncDisposable
{
    private Process? _process;

    internal const string Address = "127.0.0.9";

    internal async Task StartAsync()
    {
        var file = Path.Combine(directory, "haproxy.cfg");
        var template = await File.ReadAllTextAsync(Path.Combine(Place.Root, "src/AccessBroker/samples/haproxy.cfg"));
        await File.WriteAllTextAsync(file, Configure(template));
        _process = Process.Start(new ProcessStartInfo("haproxy", ["-db", "-f", file]) { RedirectStandardError = true })!;
        await Eventually.TrueAsync(async () =>
        {
            Assert.False(_process.HasExited, _process.HasExited ? await _process.StandardError.ReadToEndAsync() : "");
            using var socket = new System.Net.Sockets.TcpClient();
            try { await socket.ConnectAsync("127.0.0.1", browsers); return true; }
            catch (System.Net.Sockets.SocketException) { return false; }
        }, "haproxy listens");
    }

    /// <summary>Each server's state as HAProxy sees it: "backend/server" → UP, DOWN, no check, ….</summary>
    internal async Task<Dictionary<string, string>> StatesAsync()
    {
        using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        await socket.ConnectAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(Path.Combine(directory, "stats.sock")));
        await using var stream = new System.Net.Sockets.NetworkStream(socket);
        await stream.WriteAsync("show stat\n"u8.ToArray());
        var lines = (await new StreamReader(stream).ReadToEndAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var status = Array.IndexOf(lines[0].TrimStart('#', ' ').Split(','), "status");
        return lines.Skip(1).Select(l => l.Split(',')).Where(f => f.Length > status && f[1] is not ("FRONTEND" or "BACKEND")).ToDictionary(f => $"{f[0]}/{f[1]}", f => f[status]);
    }

    /// <summary>The sample with this place's addresses: its lines are the ones a city would write.</summary>
    private string Configure(string template)
    {
        string[] sample = ["10.1.0.11", "10.1.0.12"];
        var text = template.Replace("10.1.0.10:443", $"127.0.0.1:{browsers}", StringComparison.Ordinal).Replace("10.1.0.10:7444", $"127.0.0.1:{terminals}", StringComparison.Ordinal).Replace("source 10.1.0.9", $"source {Address}", StringComparison.Ordinal).Replace("conn_cur gt 200", "conn_cur gt 2000", StringComparison.Ordinal).Replace("conn_cur gt 20 ", "conn_cur gt 1000 ", StringComparison.Ordinal).Replace("global\n", $"global\n    stats socket {Path.Combine(directory, "stats.sock")}\n", StringComparison.Ordinal);
        for (var i = 0; i < nodes.Count; i++)
            text = text.Replace($"{sample[i]}:443", $"127.0.0.1:{nodes[i].Browsers}", StringComparison.Ordinal).Replace($"{sample[i]}:7444", $"127.0.0.1:{nodes[i].Terminals}", StringComparison.Ordinal)
                .Replace($"port 443 # {i + 1}", string.Create(CultureInfo.InvariantCulture, $"port {nodes[i].Browsers}"), StringComparison.Ordinal);
        return text;
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is null) return;
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
