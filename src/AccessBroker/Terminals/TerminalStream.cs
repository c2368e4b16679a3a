using System.Diagnostics;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.RateLimiting;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Terminals;

/// <summary>The agents' streams: a WebSocket over mutual TLS. The messages are in this slice's README. <clause>MIC 6.2(3)</clause></summary>
internal sealed partial class TerminalStream(Store store, CertificateAuthorities authorities, ITerminalPresence presence, IEnumerable<ITerminalRequest> requests,
    Coalescer coalescer, TerminalConfiguration configuration, DatabaseClock clock, ActivePolicies policies, TimeProvider time, ILogger<TerminalStream> log)
{
    private readonly Dictionary<string, ITerminalRequest> _requests = requests.ToDictionary(r => r.Type, StringComparer.Ordinal);
    private readonly Dictionary<TerminalId, Attachment> _attached = [];
    private volatile bool _leaving;

    /// <summary>Ours: 60 attaches a minute; a terminal must not fill the history by coming and going.</summary>
    private readonly PartitionedRateLimiter<TerminalId> _attaches = PartitionedRateLimiter.Create<TerminalId, TerminalId>(terminal => RateLimitPartition.GetFixedWindowLimiter(terminal, _ => new() { PermitLimit = 60, Window = TimeSpan.FromMinutes(1) }));

    /// <summary>A stream under way: how to end it, how to ask it to leave once it serves, and when it has ended.</summary>
    private sealed record Attachment(CancellationTokenSource Ended, TaskCompletionSource Done)
    {
        internal Func<Task>? Leave { get; set; }
        internal JsonFrames? Frames { get; set; }
        internal AttachedTerminal? Attached { get; set; }
    }

    /// <summary>Ours: an agent beats each second; a stream silent for 10 s is dead.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(10);

    /// <summary>Requests of one terminal that are answered at once.</summary>
    private const int Parallel = 4;

    /// <summary>Ours: requests under way have 3 s to be answered before a stream is closed.</summary>
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(3);

    /// <summary>This node stops, or must not work: every terminal is told to go to another one. Requests under way are answered first.</summary>
    internal async Task SendAwayAsync(bool forGood = false)
    {
        _leaving |= forGood;
        Attachment[] all;
        lock (_attached) all = [.. _attached.Values];
        await Task.WhenAll(all.Select(a => a.Leave?.Invoke() ?? Task.CompletedTask));
    }

    /// <summary>Ends the streams of terminals that are no longer in good standing: disabled, lost, isolated, certificate revoked.</summary>
    internal async Task CutOffAsync(CancellationToken ct)
    {
        Attachment[] all;
        lock (_attached) all = [.. _attached.Values.Where(a => a.Attached is not null)];
        if (all.Length == 0) return;
        await using var work = await store.ReadAsync(ct);
        var standing = await work.AskAsync(TerminalRegister.InGoodStanding([.. all.Select(a => (byte[])[.. a.Attached!.Certificate])], time.GetUtcNow()), ct);
        foreach (var attachment in all.Where(a => !standing.Contains(Convert.ToHexString([.. a.Attached!.Certificate]))))
        {
            try { await attachment.Ended.CancelAsync(); }
            catch (ObjectDisposedException) { /* it ended by itself just now */ }
        }
    }

    /// <summary>The terminals attached to this node, by id.</summary>
    internal string[] AttachedIds() { lock (_attached) return [.. _attached.Where(a => a.Value.Frames is not null).Select(a => a.Key.Value)]; }

    /// <summary>Sends a message to an attached terminal; it answers with a request of its own, or not at all.</summary>
    internal async Task PushAsync(TerminalId terminal, JsonObject message, CancellationToken ct)
    {
        JsonFrames? frames;
        lock (_attached) frames = _attached.GetValueOrDefault(terminal)?.Frames;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(TimeSpan.FromSeconds(2));
        // One that does not read holds up nobody else.
        try { if (frames is not null) await frames.SendAsync(message, limit.Token); }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException || (e is OperationCanceledException && !ct.IsCancellationRequested)) { StreamEnded(log, terminal, e.Message); }
    }

    /// <summary>Terminals attached to this node.</summary>
    internal int Attached { get { lock (_attached) return _attached.Count; } }

    internal async Task HandleAsync(HttpContext context)
    {
        var address = context.Connection.RemoteIpAddress?.ToString() ?? "";
        if (!context.WebSockets.IsWebSocketRequest || await IdentifyAsync(context, address) is not { } terminal)
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var mine = new Attachment(ended, new(TaskCreationOptions.RunContinuationsAsynchronously));
        try { await AttachAsync(context, terminal, address, mine); }
        finally
        {
            lock (_attached) if (_attached.TryGetValue(terminal.Id, out var current) && current == mine) _attached.Remove(terminal.Id);
            mine.Done.SetResult();
        }
    }

    /// <summary>The newest stream of a terminal is the one that counts: an agent that lost its network comes back before we notice. The older one is over before this one speaks.</summary>
    private async Task AttachAsync(HttpContext context, Terminal terminal, string address, Attachment mine)
    {
        Attachment? older;
        lock (_attached)
        {
            _attached.TryGetValue(terminal.Id, out older);
            _attached[terminal.Id] = mine;
        }
        if (older is not null)
        {
            try { await older.Ended.CancelAsync(); }
            catch (ObjectDisposedException) { /* it ended by itself just now */ }
            await older.Done.Task.WaitAsync(Silence, context.RequestAborted);
        }
        var certificate = (await context.Connection.GetClientCertificateAsync(context.RequestAborted))!.GetCertHash(HashAlgorithmName.SHA256);
        var attached = new AttachedTerminal(terminal, address, certificate);
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        using var frames = new JsonFrames(socket);
        try { await ServeAsync(attached, frames, mine, older is not null); }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException) { StreamEnded(log, terminal.Id, e.Message); }
        finally { presence.Detached(attached); }
    }

    private async Task<Terminal?> IdentifyAsync(HttpContext context, string address)
    {
        var certificate = await context.Connection.GetClientCertificateAsync(context.RequestAborted);
        if (certificate is null || !authorities.Terminals.Vouches(certificate, time.GetUtcNow())) return Refuse("terminals.certificate-unknown", address);
        await using var work = await store.ReadAsync(context.RequestAborted);
        var terminal = await work.AskAsync(TerminalRegister.FindByCertificate(certificate.GetCertHash(HashAlgorithmName.SHA256), time.GetUtcNow()), context.RequestAborted);
        if (terminal is null) return Refuse("terminals.certificate-revoked", address);
        if (!terminal.InUse) return Refuse("terminals.not-in-use", address);
        if (!_attaches.AttemptAcquire(terminal.Id).IsAcquired) return Refuse("terminals.attaches-too-often", address);
        return terminal.Address == address ? terminal : Refuse("terminals.certificate-elsewhere", address);
    }

    private Terminal? Refuse(string reason, string address)
    {
        coalescer.Add(new("terminals.attach", HistoryOutcome.Refused, reason) { Address = address });
        return null;
    }

    private async Task ServeAsync(AttachedTerminal attached, JsonFrames frames, Attachment mine, bool replaced)
    {
        var (ended, ct) = (mine.Ended, mine.Ended.Token);
        ended.CancelAfter(Silence);
        using var answering = new SemaphoreSlim(Parallel);
        mine.Leave = () => LeaveAsync(frames, answering, ended);
        if (_leaving) await mine.Leave();
        if (await frames.ReadAsync(ct) is not { } hello || StrictJson.Text(hello, "type") != "hello" || Epoch(hello) is not { } epoch) return;
        await store.RecordAsync(new("terminals.attach", HistoryOutcome.Done) { Terminal = attached.Terminal.Id, Address = attached.Address, Details = new Dictionary<string, string> { ["replacedLiveStream"] = replaced ? "yes" : "no" } }, time.GetUtcNow(), ct);
        if (hello.TryGetProperty("at", out var said) && said.ValueKind == JsonValueKind.Number && said.TryGetInt64(out var at) && at is > 0 and < 4_000_000_000_000)
            await store.ExecuteAsync($"update terminals.terminals set clock_offset_ms = {at - time.GetUtcNow().ToUnixTimeMilliseconds()} where id = {attached.Terminal.Id}", ct);
        if (!await configuration.AcceptsAsync(attached.Terminal.Id, StrictJson.Text(hello, "fingerprint"), ct)) return;
        attached.Epoch = epoch;
        mine.Frames = frames;
        mine.Attached = attached;
        presence.Beat(attached);
        await presence.EpochAsync(attached, epoch, "attached");
        var writing = Task.CompletedTask;
        await frames.SendAsync(new() { ["type"] = "welcome", ["terminal"] = attached.Terminal.Id.Value, ["name"] = attached.Terminal.Name }, ct);
        while (await frames.ReadAsync(ct) is { } message)
        {
            ended.CancelAfter(Silence);
            switch (StrictJson.Text(message, "type"))
            {
                case "beat" when Epoch(message) == attached.Epoch: presence.Beat(attached); break;
                // A beat with a new epoch says "changed" even when the change's own message is late or lost.
                case "presence" or "beat" when Epoch(message) is { } changed:
                    attached.Epoch = changed;
                    // Known at this node from here on. Written in turn, while beats are still read: a slow database must not make this terminal silent.
                    presence.Beat(attached);
                    writing = AfterAsync(writing, () => presence.EpochAsync(attached, changed, StrictJson.Text(message, "cause") ?? "unknown"));
                    break;
                case { } type when _requests.TryGetValue(type, out var request):
                    await answering.WaitAsync(ct);
                    _ = AnswerAsync(request, attached, message, frames, answering, ct);
                    break;
                default: return;
            }
        }
    }

    private static async Task AfterAsync(Task earlier, Func<Task> next)
    {
        await earlier;
        await next();
    }

    /// <summary>The presence epoch of a message: an identifier of 8 to 64 characters, or null.</summary>
    private static string? Epoch(JsonElement message) => StrictJson.Text(message, "epoch") is { Length: >= 8 } epoch && IdForm.Fits(epoch) ? epoch : null;

    private async Task AnswerNowAsync(ITerminalRequest request, AttachedTerminal attached, JsonElement message, JsonFrames frames, CancellationToken ct)
    {
        JsonObject answer;
        using var pinned = policies.Pin();
        using var span = Instruments.Activities.StartActivity($"terminal {request.Type}", ActivityKind.Server, default(ActivityContext));
        try
        {
            // What is recorded would bear a wrong time.
            if (!clock.MayWork) throw new TerminalRequestException("broker.unavailable");
            answer = await request.AnswerAsync(attached, message, ct);
            answer["ok"] = true;
        }
        catch (TerminalRequestException e) { answer = new() { ["ok"] = false, ["code"] = e.Message }; }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter) { answer = new() { ["ok"] = false, ["code"] = "terminals.malformed" }; }
        catch (Exception e) when (e is NpgsqlException or HsmUnavailableException or TimeoutException)
        {
            RequestFailed(log, request.Type, attached.Terminal.Id, e);
            answer = new() { ["ok"] = false, ["code"] = "broker.unavailable" };
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            RequestFailed(log, request.Type, attached.Terminal.Id, e);
            answer = new() { ["ok"] = false, ["code"] = "broker.error" };
        }
        answer["type"] = "answer";
        answer["id"] = message.TryGetProperty("id", out var id) && id.TryGetInt64(out var number) ? number : 0;
        try { await frames.SendAsync(answer, ct); }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or ObjectDisposedException) { StreamEnded(log, attached.Terminal.Id, e.Message); }
    }

    private async Task AnswerAsync(ITerminalRequest request, AttachedTerminal attached, JsonElement message, JsonFrames frames, SemaphoreSlim answering, CancellationToken ct)
    {
        try { await AnswerNowAsync(request, attached, message, frames, ct); }
        // After the answer has gone out: who leaves waits for it.
        finally { try { answering.Release(); } catch (ObjectDisposedException) { /* the stream has ended */ } }
    }

    private static async Task LeaveAsync(JsonFrames frames, SemaphoreSlim answering, CancellationTokenSource ended)
    {
        using var limit = new CancellationTokenSource(Grace);
        try
        {
            for (var i = 0; i < Parallel; i++) await answering.WaitAsync(limit.Token);
            await frames.GoAwayAsync(limit.Token);
            ended.CancelAfter(TimeSpan.FromSeconds(1));
        }
        catch (ObjectDisposedException) { /* it ended by itself meanwhile */ }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException) { await ended.CancelAsync(); }
    }

    [LoggerMessage(LogLevel.Information, "the stream of terminal {Terminal} ended: {Why}")]
    private static partial void StreamEnded(ILogger log, TerminalId terminal, string why);
    [LoggerMessage(LogLevel.Error, "request {Type} of terminal {Terminal} failed")]
    private static partial void RequestFailed(ILogger log, string type, TerminalId terminal, Exception e);
}
