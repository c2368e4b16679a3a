using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace AccessBroker.TimeSource;

/// <summary>What a time server said.</summary>
/// <param name="Offset">Server minus us: what our clock lacks.</param>
/// <param name="Delay">Of the question and its answer: the offset errs by half of it at most.</param>
internal sealed record TimeAnswer(TimeSpan Offset, TimeSpan Delay, int Stratum);

/// <summary>The client half of SNTP (RFC 4330 §5, RFC 5905 §14): one question, one answer.</summary>
internal static class Sntp
{
    private static readonly DateTime Era = new(1900, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    /// <summary>Null: nothing usable within <paramref name="patience"/>, or the server itself does not know the time.</summary>
    internal static async Task<TimeAnswer?> AskAsync(string server, TimeSpan patience, TimeProvider time, CancellationToken ct)
    {
        if (server.Split(':') is not [var host, var port]) return null;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(patience);
        try
        {
            var addresses = IPAddress.TryParse(host, out var literal) ? [literal] : await Dns.GetHostAddressesAsync(host, limit.Token);
            if (addresses.Length == 0) return null;
            using var socket = new Socket(addresses[0].AddressFamily, SocketType.Dgram, ProtocolType.Udp);
            await socket.ConnectAsync(new IPEndPoint(addresses[0], int.Parse(port, System.Globalization.CultureInfo.InvariantCulture)), limit.Token);
            // Not our time but a random value stands in the field that comes back: who did not see the question cannot answer it (RFC 9109 in spirit).
            var request = new byte[48];
            request[0] = 0x23;    // no warning, version 4, client
            RandomNumberGenerator.Fill(request.AsSpan(40, 8));
            var (sent, since) = (time.GetUtcNow().UtcDateTime, Stopwatch.GetTimestamp());
            await socket.SendAsync(request, limit.Token);
            var answer = new byte[512];
            while (true)
            {
                var length = await socket.ReceiveAsync(answer, limit.Token);
                var took = Stopwatch.GetElapsedTime(since);
                if (length >= 48 && answer.AsSpan(24, 8).SequenceEqual(request.AsSpan(40, 8))) return Read(answer, sent, took);
            }
        }
        catch (Exception e) when (e is SocketException or FormatException or OverflowException || (e is OperationCanceledException && !ct.IsCancellationRequested)) { return null; }
    }

    /// <summary>Reads an answer: offset ((t2 − t1) + (t3 − t4)) / 2. Null: a kiss of death, an unsynchronised server, or no server's answer.</summary>
    /// <param name="sent">t1, our clock.</param>
    /// <param name="took">t4 − t1, by the monotonic clock.</param>
    internal static TimeAnswer? Read(ReadOnlySpan<byte> packet, DateTime sent, TimeSpan took)
    {
        var (leap, version, mode, stratum) = (packet[0] >> 6, (packet[0] >> 3) & 7, packet[0] & 7, packet[1]);
        if (leap == 3 || version is < 3 or > 4 || mode != 4 || stratum is 0 or > 15) return null;
        var (received, transmitted) = (Timestamp(packet[32..]), Timestamp(packet[40..]));
        if (received is null || transmitted is null || transmitted < received) return null;
        var offset = ((received.Value - sent) + (transmitted.Value - (sent + took))) / 2;
        return new(offset, took - (transmitted.Value - received.Value), stratum);
    }

    /// <summary>Seconds and fractions since 1900; a cleared top bit means the era that begins in 2036 (RFC 4330 §3). Zero: unknown.</summary>
    private static DateTime? Timestamp(ReadOnlySpan<byte> bytes)
    {
        var (seconds, fraction) = (BinaryPrimitives.ReadUInt32BigEndian(bytes), BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]));
        if (seconds == 0 && fraction == 0) return null;
        return Era.AddSeconds((seconds & 0x8000_0000) == 0 ? seconds + 0x1_0000_0000L : seconds) + TimeSpan.FromSeconds(fraction / 4294967296.0);
    }
}
