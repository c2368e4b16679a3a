using System.Collections.Concurrent;
using System.Net.Security;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>The agent's stream to the broker: mutual TLS, one JSON object per frame, a beat a second, the reader's epoch at every change. It reconnects by itself.</summary>
internal sealed partial class BrokerStream(AgentOptions options, CardReader reader, NoticeBoard notices, TimeProvider time, ILogger<BrokerStream> log) : BackgroundService
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1), AnswerWithin = TimeSpan.FromSeconds(10), ConnectWithin = TimeSpan.FromSeconds(5), MaxDelay = TimeSpan.FromSeconds(2);
    private readonly ConcurrentDictionary<long, TaskCompletionSource<JsonElement>> _waiting = new();
    private readonly SemaphoreSlim _sending = new(1);
    private WebSocket? _socket;
    private long _lastId;

    /// <summary>The terminal's id and name as the broker knows it; null while not attached.</summary>
    internal (string Id, string Name)? Terminal { get; private set; }

    /// <summary>Asks the broker. Throws <see cref="BrokerRefusedException"/> with the code, or "broker.unavailable" when there is no answer.</summary>
    internal async Task<JsonElement> AskAsync(JsonObject request, CancellationToken ct)
    {
        var id = Interlocked.Increment(ref _lastId);
        var answer = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting[id] = answer;
        try
        {
            request["id"] = id;
            await SendAsync(request, ct);
            var result = await answer.Task.WaitAsync(AnswerWithin, time, ct);
            return result.GetProperty("ok").GetBoolean() ? result : throw new BrokerRefusedException(result.GetProperty("code").GetString()!);
        }
        catch (TimeoutException e)
        {
            _socket?.Abort();
            throw new BrokerRefusedException("broker.unavailable", e);
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException or InvalidOperationException or KeyNotFoundException) { throw new BrokerRefusedException("broker.unavailable", e); }
        finally { _waiting.TryRemove(id, out _); }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        reader.Changed += OnChanged;
        var delay = TimeSpan.Zero;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(delay, time, stoppingToken);
                delay = delay == TimeSpan.Zero ? TimeSpan.FromMilliseconds(200) : delay * 2 < MaxDelay ? delay * 2 : MaxDelay;
                if (TerminalKey.Load(options.DataDirectory) is not { } certificate) { NotEnrolled(log); continue; }
                using (certificate) await ServeAsync(certificate, () => delay = TimeSpan.Zero, stoppingToken);
            }
            catch (Exception e) when (e is WebSocketException or IOException or JsonException or CryptographicException or KeyNotFoundException or InvalidOperationException || (e is OperationCanceledException && !stoppingToken.IsCancellationRequested)) { Disconnected(log, e.Message); }
            catch (OperationCanceledException) { return; }
            finally
            {
                Terminal = null;
                _socket = null;
                foreach (var answer in _waiting.Values) answer.TrySetException(new IOException("the stream ended"));
            }
        }
    }

    private async Task ServeAsync(X509Certificate2 certificate, Action attached, CancellationToken stopping)
    {
        using var socket = new ClientWebSocket();
        socket.Options.ClientCertificates = [certificate];
        // A node that dies without a word is noticed, and the next one tried.
        socket.Options.KeepAliveInterval = Beat;
        socket.Options.KeepAliveTimeout = 3 * Beat;
        socket.Options.RemoteCertificateValidationCallback = (_, presented, _, errors) => Trusts(presented, errors);
        using (var connecting = CancellationTokenSource.CreateLinkedTokenSource(stopping))
        {
            connecting.CancelAfter(ConnectWithin);
            await socket.ConnectAsync(new Uri(options.Broker.Replace("https://", "wss://", StringComparison.Ordinal) + "/terminals/stream"), connecting.Token);
        }
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        await SendAsync(socket, () => new() { ["type"] = "hello", ["version"] = 1, ["epoch"] = reader.Epoch, ["fingerprint"] = Fingerprint.Of(), ["at"] = time.GetUtcNow().ToUnixTimeMilliseconds() }, ended.Token);
        _socket = socket;
        var beating = BeatAsync(socket, ended.Token);
        try { await ReceiveAsync(socket, attached, ended.Token); }
        finally
        {
            await ended.CancelAsync();
            await beating;
        }
    }

    private async Task BeatAsync(ClientWebSocket socket, CancellationToken ct)
    {
        using var timer = new PeriodicTimer(Beat, time);
        try
        {
            // The epoch goes along: a beat with another one than the broker knows says "changed" even if the change's own message was lost.
            while (await timer.WaitForNextTickAsync(ct)) await SendAsync(socket, () => new() { ["type"] = "beat", ["epoch"] = reader.Epoch }, ct);
        }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException or IOException or InvalidOperationException) { _socket?.Abort(); }
    }

    private async Task ReceiveAsync(ClientWebSocket socket, Action attached, CancellationToken ct)
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
            switch (message.GetProperty("type").GetString())
            {
                case "welcome":
                    Terminal = (message.GetProperty("terminal").GetString()!, message.GetProperty("name").GetString()!);
                    attached();
                    Attached(log, Terminal.Value.Id);
                    break;
                case "notice": _ = notices.ShowAsync(this, message.GetProperty("notice").GetInt64(), message.GetProperty("text").GetString() ?? "", ct); break;
                case "answer" when _waiting.TryRemove(message.GetProperty("id").GetInt64(), out var answer): answer.TrySetResult(message); break;
            }
        }
    }

    private void OnChanged(string epoch, string cause)
    {
        // The reader's thread waits here: a stream that does not take the message within the limit is no stream.
        using var limit = new CancellationTokenSource(Beat);
        try { SendAsync(new() { ["type"] = "presence", ["epoch"] = epoch, ["cause"] = cause }, limit.Token).GetAwaiter().GetResult(); }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException or IOException or InvalidOperationException or ObjectDisposedException)
        {
            // Not told: the broker must not take the next beat for an unchanged card. A new stream begins with the new epoch.
            _socket?.Abort();
        }
    }

    private Task SendAsync(JsonObject message, CancellationToken ct) => SendAsync(_socket ?? throw new IOException("not attached"), () => message, ct);

    /// <summary>The message is made when its turn has come: a beat must not carry an epoch older than a change that went before it.</summary>
    private async Task SendAsync(WebSocket socket, Func<JsonObject> message, CancellationToken ct)
    {
        await _sending.WaitAsync(ct);
        try { await socket.SendAsync(JsonSerializer.SerializeToUtf8Bytes(message()), WebSocketMessageType.Text, true, ct); }
        finally { _sending.Release(); }
    }

    private bool Trusts(X509Certificate? presented, SslPolicyErrors errors) => presented is not null && BrokerTrust.Accepts(options, new X509Certificate2(presented), errors);

    public override void Dispose()
    {
        _sending.Dispose();
        base.Dispose();
    }

    [LoggerMessage(LogLevel.Warning, "this terminal is not enrolled: run 'enrol' with the code from the administrator")]
    private static partial void NotEnrolled(ILogger log);
    [LoggerMessage(LogLevel.Warning, "not attached to the broker: {Why}")]
    private static partial void Disconnected(ILogger log, string why);
    [LoggerMessage(LogLevel.Information, "attached as terminal {Terminal}")]
    private static partial void Attached(ILogger log, string terminal);
}

/// <summary>The broker's TLS certificate must chain to the configured CA and carry the configured name. The system's own trust does not count.</summary>
internal static class BrokerTrust
{
    internal static bool Accepts(AgentOptions options, X509Certificate2 presented, SslPolicyErrors errors)
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

/// <summary>The broker said no; the message is its code.</summary>
internal sealed class BrokerRefusedException : Exception
{
    public BrokerRefusedException() { }
    public BrokerRefusedException(string code) : base(code) { }
    public BrokerRefusedException(string code, Exception inner) : base(code, inner) { }
}
