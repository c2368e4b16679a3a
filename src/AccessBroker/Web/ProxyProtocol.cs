using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace AccessBroker.Web;

/// <summary>
/// The PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt §2.1): a proxy in front that passes TCP through tells in one line where the
/// connection really comes from. TLS and the terminals' client certificates stay end to end.
/// </summary>
internal static partial class ProxyProtocol
{
    /// <summary>§2.1: the longest line has 107 characters with its CRLF.</summary>
    private const int Longest = 107;
    /// <summary>Ours: 3 s for the first line.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(3);

    /// <summary>Connections of <paramref name="trusted"/> must begin with the line; all others must not, and are taken as they come.</summary>
    internal static void UseProxyProtocol(this ListenOptions listen, IReadOnlyCollection<IPAddress> trusted)
    {
        if (trusted.Count == 0) return;
        var log = listen.ApplicationServices.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(ProxyProtocol));
        listen.Use(next => async connection =>
        {
            if (connection.RemoteEndPoint is IPEndPoint peer && trusted.Contains(peer.Address))
            {
                if (await ReadLineAsync(connection.Transport.Input) is not { } line || !TryParse(line, out var source))
                {
                    Malformed(log, peer.Address);
                    connection.Abort();
                    return;
                }
                if (source is not null) connection.RemoteEndPoint = source;
            }
            await next(connection);
        });
    }

    /// <summary>True for a well-formed line; <paramref name="source"/> is null for UNKNOWN (a health check of the proxy itself).</summary>
    internal static bool TryParse(string line, out IPEndPoint? source)
    {
        source = null;
        switch (line.Split(' '))
        {
            case ["PROXY", "UNKNOWN", ..]: return true;
            case ["PROXY", "TCP4" or "TCP6", var from, var to, var fromPort, var toPort]:
                if (!IPAddress.TryParse(from, out var address) || !IPAddress.TryParse(to, out _) || !Port(fromPort, out var port) || !Port(toPort, out _)) return false;
                source = new(address, port);
                return true;
            default: return false;
        }
    }

    private static bool Port(string text, out ushort port) => ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port);

    /// <summary>The first line without its CRLF; null when there is none within length and time.</summary>
    private static async Task<string?> ReadLineAsync(PipeReader input)
    {
        using var limit = new CancellationTokenSource(Limit);
        try
        {
            while (true)
            {
                var read = await input.ReadAsync(limit.Token);
                var buffer = read.Buffer;
                if (buffer.PositionOf((byte)'\n') is { } end)
                {
                    var line = Encoding.ASCII.GetString(buffer.Slice(0, end));
                    input.AdvanceTo(buffer.GetPosition(1, end));
                    return line.Length < Longest && line.EndsWith('\r') ? line[..^1] : null;
                }
                input.AdvanceTo(buffer.Start, buffer.End);
                if (read.IsCompleted || buffer.Length >= Longest) return null;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ConnectionResetException or IOException) { return null; }
    }

    [LoggerMessage(LogLevel.Warning, "{Proxy} is a trusted proxy but sent no PROXY line; connection dropped")]
    private static partial void Malformed(ILogger log, IPAddress proxy);
}
