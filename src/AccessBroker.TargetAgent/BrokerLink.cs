using System.Net.Security;
using System.Net.WebSockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;

namespace AccessBroker.TargetAgent;

/// <summary>The agent's stream to the broker: mutual TLS, one JSON object per frame (README of the Privileged slice). It reconnects by itself; sessions do not depend on it.</summary>
internal sealed class BrokerLink(TargetOptions options, TimeProvider time)
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1), ConnectWithin = TimeSpan.FromSeconds(5), MaxDelay = TimeSpan.FromSeconds(2);
    private Channel<JsonObject>? _out;

    /// <summary>What is to be done with an order.</summary>
    internal Func<JsonElement, CancellationToken, Task<JsonObject?>> Ordered { get; set; } = (_, _) => Task.FromResult<JsonObject?>(null);
    /// <summary>What is said first after each attachment.</summary>
    internal Func<IEnumerable<JsonObject>> Opening { get; set; } = () => [];

    /// <summary>When a broker last said that it can judge who may go on (monotonic).</summary>
    internal long Heard => Volatile.Read(ref _heard);
    private long _heard = time.GetTimestamp();

    /// <summary>Says something, if somebody listens; what must not be lost is kept by whoever says it.</summary>
    internal void Say(JsonObject message) => _out?.Writer.TryWrite(message);

    internal async Task RunAsync(CancellationToken ct)
    {
        var delay = TimeSpan.Zero;
        while (!ct.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(delay, time, ct);
                delay = delay == TimeSpan.Zero ? TimeSpan.FromMilliseconds(200) : delay * 2 < MaxDelay ? delay * 2 : MaxDelay;
                if (TargetKey.Load(options.DataDirectory) is not { } certificate) { Log.Warn("this target is not enrolled: run 'enrol' with the code from the administrator"); continue; }
                using (certificate) await ServeAsync(certificate, () => delay = TimeSpan.Zero, ct);
            }
            catch (OperationCanceledException) when (ct.IsCancellationRequested) { return; }
            catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"not attached to the broker: {e.Message}"); }
            finally { _out = null; }
        }
    }

    private async Task ServeAsync(X509Certificate2 certificate, Action attached, CancellationToken stopping)
    {
        using var socket = new ClientWebSocket();
        socket.Options.ClientCertificates = [certificate];
        socket.Options.KeepAliveInterval = Beat;
        socket.Options.KeepAliveTimeout = 3 * Beat;
        socket.Options.RemoteCertificateValidationCallback = (_, presented, _, errors) => presented is not null && Accepts(options, new X509Certificate2(presented), errors);
        using (var connecting = CancellationTokenSource.CreateLinkedTokenSource(stopping))
        {
            connecting.CancelAfter(ConnectWithin);
            await socket.ConnectAsync(new Uri(options.Broker.Replace("https://", "wss://", StringComparison.Ordinal) + "/targets/stream"), connecting.Token);
        }
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        var messages = Channel.CreateUnbounded<JsonObject>();
        _out = messages;
        var writing = WriteAsync(socket, messages.Reader, ended.Token);
        // The first word goes out at once; what waits on the disk follows in its turn.
        foreach (var first in Opening()) messages.Writer.TryWrite(first);
        var beating = BeatAsync(messages.Writer, ended.Token);
        try { await ReadAsync(socket, attached, ended.Token); }
        finally
        {
            await ended.CancelAsync();
            await Task.WhenAll(writing, beating);
        }
    }

    private static async Task WriteAsync(ClientWebSocket socket, ChannelReader<JsonObject> messages, CancellationToken ct)
    {
        try { await foreach (var message in messages.ReadAllAsync(ct)) await socket.SendAsync(JsonSerializer.SerializeToUtf8Bytes(message), WebSocketMessageType.Text, true, ct); }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException or IOException or ObjectDisposedException) { socket.Abort(); }
    }

    private async Task BeatAsync(ChannelWriter<JsonObject> messages, CancellationToken ct)
    {
        using var timer = new PeriodicTimer(Beat, time);
        try { while (await timer.WaitForNextTickAsync(ct)) messages.TryWrite(new() { ["type"] = "beat" }); }
        catch (OperationCanceledException) { /* the stream is over */ }
    }

    private async Task ReadAsync(ClientWebSocket socket, Action attached, CancellationToken ct)
    {
        var buffer = new byte[32 * 1024];
        while (true)
        {
            var length = 0;
            ValueWebSocketReceiveResult part;
            do
            {
                part = await socket.ReceiveAsync(buffer.AsMemory(length), ct);
                length += part.Count;
                if (part.MessageType == WebSocketMessageType.Close || length == buffer.Length) return;
            } while (!part.EndOfMessage);
            var message = JsonElement.Parse(buffer.AsSpan(0, length));
            if (message.GetProperty("type").GetString() == "alive") Volatile.Write(ref _heard, time.GetTimestamp());
            else if (message.GetProperty("type").GetString() == "welcome")
            {
                Volatile.Write(ref _heard, time.GetTimestamp());
                attached();
                Log.Info($"attached as target {message.GetProperty("target").GetString()}");
            }
            // In parallel: an order to end never waits for one to open.
            else _ = ObeyAsync(message, ct);
        }
    }

    private async Task ObeyAsync(JsonElement message, CancellationToken ct)
    {
        JsonObject? answer;
        try { answer = await Ordered(message, ct); }
        catch (TargetException e) { answer = new() { ["type"] = "refused", ["code"] = e.Message }; }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            Log.Warn($"an order could not be carried out: {e.Message}");
            answer = new() { ["type"] = "refused", ["code"] = "privileged.target-failed" };
        }
        if (answer is null) return;
        if (message.TryGetProperty("session", out var session)) answer["session"] = session.GetString();
        if (message.TryGetProperty("order", out var order)) answer["order"] = order.GetInt64();
        Say(answer);
    }

    /// <summary>The broker's TLS certificate must chain to the configured CA and carry the configured name. The system's own trust does not count.</summary>
    internal static bool Accepts(TargetOptions options, X509Certificate2 presented, SslPolicyErrors errors)
    {
        if ((errors & (SslPolicyErrors.RemoteCertificateNameMismatch | SslPolicyErrors.RemoteCertificateNotAvailable)) != 0) return false;
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.ImportFromPemFile(options.BrokerCa);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        return chain.Build(presented);
    }
}
