using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Authorization;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.Privileged;

/// <summary>An emergency stop on a card: the text, the card's signature key (SubjectPublicKeyInfo) and its signature over the text.</summary>
/// <param name="Order">JSON: expires (Unix s), nonce (32 hex digits), reason, scope, value.</param>
internal sealed record SignedStop(string Order, string Key, string Signature);

/// <summary>
/// Ends privileged work when nobody can sign in any more: an order that somebody listed has signed with their card (key 9C). Each target's agent has a
/// list, signed by the HSM, of whose cards count, judges the order itself, and reports it; no database is needed on the way.
/// <clause>MIC 1(2)⑤, TAG 第3章</clause>
/// </summary>
internal sealed partial class StopOrders(Store store, TargetStream targets, Permissions permissions, SshCertificates ssh, ObeyedStops obeyed, Wakeups wakeups, Coalescer coalescer, TimeProvider time, ILogger<StopOrders> log) : BackgroundService
{
    /// <summary>SSHSIG namespace of the list (OpenSSH PROTOCOL.sshsig).</summary>
    internal const string Namespace = "accessbroker-stop-list";
    /// <summary>Ours: a list is good for 7 days and renewed every minute; an order is good for 15 minutes.</summary>
    private static readonly TimeSpan ListLifetime = TimeSpan.FromDays(7), Every = TimeSpan.FromMinutes(1), OrderLifetime = TimeSpan.FromMinutes(15);
    private readonly Dictionary<string, long> _told = [];
    /// <summary>Keys of the last list: what nobody listed signed is not brought to anybody.</summary>
    private volatile HashSet<string> _listed = [];
    private long _listedAt;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Another node's: whoever reaches Redis may have sent it, so it is judged like one from outside.
        wakeups.Carried += text => _ = RelayFromAsync(text);
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
            try { await TellListAsync(stoppingToken); }
            // Whatever it is: it is tried again, and the node lives.
            catch (Exception e) when (e is not OutOfMemoryException) { ListWaits(log, e.Message); }
    }

    /// <summary>Whose cards count, to every target here that has not heard it for a minute.</summary>
    private async Task TellListAsync(CancellationToken ct)
    {
        var attached = targets.Attached;
        foreach (var gone in _told.Keys.Except(attached).ToList()) _told.Remove(gone);
        string[] due = [.. attached.Where(t => !_told.TryGetValue(t, out var at) || time.GetElapsedTime(at) > Every)];
        if (due.Length == 0 && _listed.Count > 0 && time.GetElapsedTime(_listedAt) < Every) return;
        _listedAt = time.GetTimestamp();
        var now = time.GetUtcNow();
        var holders = (await store.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith("privileged.stop")], now), ct)).Select(h => h.Id);
        var keys = await store.AskAsync(CardRegister.SignatureKeysOf([.. holders], now), ct);
        _listed = [.. keys.Select(k => Convert.ToBase64String(k.Key))];
        var list = new JsonObject { ["at"] = now.ToUnixTimeSeconds(), ["until"] = (now + ListLifetime).ToUnixTimeSeconds(), ["keys"] = new JsonArray([.. keys.Select(k => new JsonObject { ["person"] = k.Person.Value, ["key"] = Convert.ToBase64String(k.Key) })]) }.ToJsonString();
        var signature = await ssh.SignAsync(Namespace, Encoding.UTF8.GetBytes(list), ct);
        foreach (var target in due) if (await targets.OrderAsync(target, new() { ["type"] = "stop-list", ["list"] = list, ["signature"] = signature })) _told[target] = time.GetTimestamp();
    }

    /// <summary>Takes an order from whoever brings it: to all targets of all nodes; and into force here, if the database answers.</summary>
    internal async Task<IResult> TakeAsync(SignedStop stop, string? address, CancellationToken ct)
    {
        if (Read(stop, time.GetUtcNow()) is not { } order || !_listed.Contains(stop.Key))
        {
            coalescer.Add(new("privileged.order-stop", HistoryOutcome.Refused, "privileged.order-refused") { Address = address });
            return Problems.Json(StatusCodes.Status403Forbidden, "privileged.order-refused", "停止の指示の形、署名または期限が正しくありません。");
        }
        var text = JsonSerializer.Serialize(stop, JsonSerializerOptions.Web);
        var told = await RelayAsync(text);
        wakeups.Carry(text);
        // Into force for what has no agent, and against what begins: where the database answers.
        try { await obeyed.EnterAsync(order, stop, "broker", ct); }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { ListWaits(log, e.Message); }
        OrderTaken(log, order.Scope, order.Value, string.Join(' ', told));
        return Results.Json(new { targets = told });
    }

    private async Task RelayFromAsync(string text)
    {
        try { if (JsonSerializer.Deserialize<SignedStop>(text, JsonSerializerOptions.Web) is { } stop && Read(stop, time.GetUtcNow()) is not null && _listed.Contains(stop.Key)) await RelayAsync(text); }
        catch (JsonException e) { ListWaits(log, e.Message); }
    }

    /// <summary>To the targets attached to this node. Each judges it for itself.</summary>
    private async Task<string[]> RelayAsync(string text)
    {
        var told = new List<string>();
        foreach (var target in targets.Attached) if (await targets.OrderAsync(target, new() { ["type"] = "stop-order", ["stop"] = JsonNode.Parse(text) })) told.Add(target);
        return [.. told];
    }

    internal sealed record Order(string Scope, string Value, string Reason, string Nonce);

    /// <summary>Well-formed, signed by the key it names and, where <paramref name="now"/> is given, in time; else null.</summary>
    internal static Order? Read(SignedStop stop, DateTimeOffset? now)
    {
        if (stop.Order is null || stop.Key is null || stop.Signature is null) return null;
        try
        {
            using var key = ECDsa.Create();
            key.ImportSubjectPublicKeyInfo(Convert.FromBase64String(stop.Key), out _);
            if (stop.Order.Length > 1500 || !key.VerifyData(SignedFields.Encode(SignedFields.StopOrder, stop.Order), Convert.FromBase64String(stop.Signature), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)) return null;
            var order = JsonElement.Parse(stop.Order);
            var read = new Order(order.GetProperty("scope").GetString()!, order.GetProperty("value").GetString()!, order.GetProperty("reason").GetString()!, order.GetProperty("nonce").GetString()!);
            var expires = DateTimeOffset.FromUnixTimeSeconds(order.GetProperty("expires").GetInt64());
            return EmergencyStop.Scopes.Contains(read.Scope) && (read.Scope == "everyone" ? read.Value.Length == 0 : IdForm.Fits(read.Value)) && FreeText.Fits(read.Reason, lines: false) && read.Reason.Length is >= 2 and <= 400 && read.Nonce.Length == 32 && read.Nonce.All(char.IsAsciiHexDigitLower)
                && (now is not { } at || (expires > at && expires <= at + OrderLifetime)) ? read : null;
        }
        catch (Exception e) when (e is FormatException or CryptographicException or JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException) { return null; }
    }

    [LoggerMessage(LogLevel.Warning, "the list of who may order a stop waits: {Why}")]
    private static partial void ListWaits(ILogger log, string why);
    [LoggerMessage(LogLevel.Warning, "a stop was ordered on a card ({Scope} {Value}); brought to {Targets}")]
    private static partial void OrderTaken(ILogger log, string scope, string value, string targets);
}

/// <summary>What targets have obeyed.</summary>
internal sealed class ObeyedStops(Store store, Permissions permissions, Wakeups wakeups, TimeProvider time)
{
    /// <summary>A target has obeyed: what it obeyed comes into force for all, until somebody else lifts it. Judged here as well. False: it does not hold.</summary>
    internal async Task<bool> ReportAsync(string target, JsonElement message, CancellationToken ct)
    {
        var stop = message.GetProperty("stop").Deserialize<SignedStop>(JsonSerializerOptions.Web)!;
        // It may come hours later, when the database is back: its time was the agent's to judge.
        if (StopOrders.Read(stop, null) is not { } order) return false;
        return await EnterAsync(order, stop, target, ct);
    }

    /// <summary>In force for all, until somebody else lifts it: once, whoever brings it. False: the card's holder may not stop.</summary>
    internal async Task<bool> EnterAsync(StopOrders.Order order, SignedStop stop, string target, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var by = await work.AskAsync(CardRegister.HolderOfSignatureKey(Convert.FromBase64String(stop.Key)), ct);
        if (by is null || !(await permissions.OfAsync(work, PersonId.Parse(by), ct)).Allows("privileged.stop")) return false;
        // One after the other: the second sees the first.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext({order.Nonce}))", ct);
        var first = !await work.AskAsync(Question.Any($"select from privileged.stop_orders where nonce = {order.Nonce}"), ct);
        if (await work.ExecuteAsync($"insert into privileged.stop_orders (nonce, target, at, order_text, key, signature) values ({order.Nonce}, {target}, {time.GetUtcNow()}, {stop.Order}, {Convert.FromBase64String(stop.Key)}, {Convert.FromBase64String(stop.Signature)}) on conflict do nothing", ct) == 0) return true;
        if (first) EmergencyStop.Hold(work, wakeups, new(0, order.Scope, order.Value, order.Reason, by, time.GetUtcNow()));
        work.Record(new("privileged.order-stop", HistoryOutcome.Ended, "privileged.emergency-stop") { Person = PersonId.Parse(by), Details = new Dictionary<string, string> { ["target"] = target, ["scope"] = order.Scope, ["value"] = order.Value, ["why"] = order.Reason, ["nonce"] = order.Nonce } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return true;
    }
}
