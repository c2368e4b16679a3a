using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.Privileged;

/// <summary>The streams of the targets' agents: a WebSocket over mutual TLS. The messages are in this slice's README. <clause>MIC 6.2(3)</clause></summary>
internal sealed partial class TargetStream(Store store, CertificateAuthorities authorities, TargetReports reports, TargetRights rights, ObeyedStops obeyed, Active<PrivilegedPolicy> policy, Coalescer coalescer, Wakeups wakeups, IHostApplicationLifetime lifetime, TimeProvider time, ILogger<TargetStream> log) : IHealthReport
{
    /// <summary>Ours: an agent beats each second; a stream silent for 10 s is dead.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromSeconds(10);
    private sealed record Attachment(JsonFrames Frames, CancellationTokenSource Ended, byte[] Certificate)
    {
        /// <summary>1 knew sessions only.</summary>
        internal long Version { get; set; } = 1;
    }
    private readonly Dictionary<string, Attachment> _attached = [];

    /// <summary>Targets whose agents are attached to this node.</summary>
    internal string[] Attached { get { lock (_attached) return [.. _attached.Keys]; } }

    /// <summary>Sends an order. False: nobody is there to take it.</summary>
    internal async Task<bool> OrderAsync(string target, JsonObject order)
    {
        Attachment? attachment;
        lock (_attached) attachment = _attached.GetValueOrDefault(target);
        // An older agent takes orders about sessions only.
        if (attachment is null || (attachment.Version < 2 && order["session"] is null)) return false;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        try { await attachment.Frames.SendAsync(order, limit.Token); return true; }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or OperationCanceledException or InvalidOperationException)
        {
            // One that does not listen holds up nobody else: it may attach anew.
            try { await attachment.Ended.CancelAsync(); } catch (ObjectDisposedException) { /* it ended by itself just now */ }
            return false;
        }
    }

    /// <summary>Ends the streams of agents whose certificates no longer count.</summary>
    internal async Task CutOffAsync(CancellationToken ct)
    {
        Attachment[] all;
        lock (_attached) all = [.. _attached.Values];
        if (all.Length == 0) return;
        var good = await store.AskAsync(Question.All($"select certificate from privileged.agents where certificate = any({all.Select(a => a.Certificate).ToArray()}) and revoked_at is null and expires_at > clock_timestamp()", r => Convert.ToHexString(r.GetFieldValue<byte[]>(0))), ct);
        foreach (var attachment in all.Where(a => !good.Contains(Convert.ToHexString(a.Certificate))))
            try { await attachment.Ended.CancelAsync(); } catch (ObjectDisposedException) { /* it ended by itself just now */ }
    }

    internal async Task HandleAsync(HttpContext context)
    {
        var address = context.Connection.RemoteIpAddress?.ToString() ?? "";
        if (!context.WebSockets.IsWebSocketRequest || await IdentifyAsync(context, address) is not var (target, certificate))
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        using var frames = new JsonFrames(socket);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var mine = new Attachment(frames, ended, certificate);
        try { await ServeAsync(target, mine, address); }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException) { StreamEnded(log, target, e.Message); }
        finally { lock (_attached) if (_attached.GetValueOrDefault(target) == mine) _attached.Remove(target); }
    }

    private async Task<(string Target, byte[] Certificate)?> IdentifyAsync(HttpContext context, string address)
    {
        var certificate = await context.Connection.GetClientCertificateAsync(context.RequestAborted);
        if (certificate is null || !authorities.Terminals.Vouches(certificate, time.GetUtcNow())) return Refuse("privileged.agent-unknown", address);
        var hash = certificate.GetCertHash(HashAlgorithmName.SHA256);
        var target = await store.FindAsync($"select target from privileged.agents where certificate = {hash} and revoked_at is null and expires_at > clock_timestamp()", r => r.GetString(0), context.RequestAborted);
        return target is null || policy.Now.KindOf(target) is null ? Refuse("privileged.agent-revoked", address) : (target, hash);
    }

    private (string, byte[])? Refuse(string reason, string address)
    {
        coalescer.Add(new("privileged.attach-agent", HistoryOutcome.Refused, reason) { Address = address });
        return null;
    }

    private async Task ServeAsync(string target, Attachment mine, string address)
    {
        var (frames, ct) = (mine.Frames, mine.Ended.Token);
        mine.Ended.CancelAfter(Silence);
        if (await frames.ReadAsync(ct) is not { } hello || StrictJson.Text(hello, "type") != "hello" || StrictJson.Text(hello, "kind") != policy.Now.KindOf(target)) return;
        await store.RecordAsync(new("privileged.attach-agent", HistoryOutcome.Done) { Address = address, Details = new Dictionary<string, string> { ["target"] = target } }, time.GetUtcNow(), ct);
        mine.Version = hello.TryGetProperty("version", out var version) && version.TryGetInt64(out var number) ? number : 1;
        var strays = await reports.GreetAsync(target, hello, ct);
        Attachment? older;
        lock (_attached) (older, _attached[target]) = (_attached.GetValueOrDefault(target), mine);
        if (older is not null) try { await older.Ended.CancelAsync(); } catch (ObjectDisposedException) { /* it ended by itself just now */ }
        await frames.SendAsync(new() { ["type"] = "welcome", ["target"] = target }, ct);
        foreach (var stray in strays) await frames.SendAsync(new() { ["type"] = "end", ["session"] = stray, ["more"] = new JsonArray(), ["reason"] = TargetReports.Unknown }, ct);
        wakeups.Wake(SessionDirector.Topic);
        // Without the database nothing is taken note of, but the stream stays: orders that need no database go out on it.
        for (var waiting = false; await frames.ReadAsync(ct) is { } message;)
        {
            mine.Ended.CancelAfter(Silence);
            try
            {
                if (StrictJson.Text(message, "type") != "beat") await TakeAsync(target, frames, message, ct);
                // It answers again: the agent says everything anew on its next stream.
                else if (waiting && await store.AskAsync(Question.Any($"select"), ct)) return;
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable)
            {
                if (!waiting) ReportWaits(log, target, e.Message);
                waiting = true;
            }
            catch (Exception e) when (e is FormatException or KeyNotFoundException or InvalidOperationException) { Malformed(log, target, e.Message); return; }
        }
    }

    private async Task TakeAsync(string target, JsonFrames frames, JsonElement message, CancellationToken ct)
    {
        switch (StrictJson.Text(message, "type"))
        {
            // An order that is not about a session was not obeyed: said in the agent's log and here, and no more.
            case "refused" when StrictJson.Text(message, "session") is null: OrderRefused(log, target, StrictJson.Text(message, "code") ?? ""); break;
            case "rights": await rights.TakeAsync(target, message, ct); break;
            case "stop-obeyed":
                // What does not hold is kept by the agent: somebody looks at it.
                if (!await obeyed.ReportAsync(target, message, ct)) { Malformed(log, target, "a stop that does not hold"); break; }
                await frames.SendAsync(new() { ["type"] = "stop-noted", ["nonce"] = StrictJson.Text(message, "nonce") }, ct);
                break;
            default:
                if (await reports.TakeAsync(target, message, ct) is { } answer) await frames.SendAsync(answer, ct);
                break;
        }
    }

    public async Task<ComponentHealth> ReportAsync(CancellationToken ct)
    {
        const string title = "特権作業の対象";
        bool late, missing, unseen;
        try
        {
            late = await store.AskAsync(Question.Any($"select from privileged.sessions where ended_at is null and ends_at < clock_timestamp() - interval '30 seconds'"), ct);
            missing = (await store.AskAsync(Missing(), ct)).Count > 0;
            unseen = await store.AskAsync(Question.Any($"select from privileged.agents a left join privileged.rights_reports r on r.target = a.target where a.revoked_at is null and a.seen_at > clock_timestamp() - interval '10 seconds' and a.enrolled_at < clock_timestamp() - interval '5 minutes' and coalesce(r.at, '-infinity') < clock_timestamp() - interval '5 minutes'"), ct);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException) { return new("privileged", title, "degraded", "データベースが応答しないため、確かめられません。"); }
        return late ? new("privileged", title, "broken", "終了を確かめられない特権作業があります。対象の機器とエージェントを確かめてください。")
            : missing ? new("privileged", title, "degraded", "対象のエージェントがつながっていません。新しい特権作業は始められません。実施中のものは期限で終わります。")
            : unseen ? new("privileged", title, "degraded", "対象の権限を調べられていません。エージェントの記録を確かめてください。")
            : new("privileged", title, "ok");
    }

    /// <summary>Enrolled targets whose agents are attached to no node.</summary>
    private static Question<List<string>> Missing() => Question.All($"select distinct target from privileged.agents where revoked_at is null and expires_at > clock_timestamp() and coalesce(seen_at, '-infinity') < clock_timestamp() - interval '10 seconds'", r => r.GetString(0));

    [LoggerMessage(LogLevel.Information, "the stream of target {Target} ended: {Why}")]
    private static partial void StreamEnded(ILogger log, string target, string why);
    [LoggerMessage(LogLevel.Warning, "a report of target {Target} waits: {Why}")]
    private static partial void ReportWaits(ILogger log, string target, string why);
    [LoggerMessage(LogLevel.Warning, "target {Target} did not obey: {Code}")]
    private static partial void OrderRefused(ILogger log, string target, string code);
    [LoggerMessage(LogLevel.Error, "target {Target} said what cannot be understood: {Why}")]
    private static partial void Malformed(ILogger log, string target, string why);
}
