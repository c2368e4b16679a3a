using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>What a target's agent says of its sessions: written down, and only then taken note of. An agent speaks for its own target only.</summary>
internal sealed class TargetReports(Store store, PrivilegedNotices notices, Wakeups wakeups, TimeProvider time)
{
    /// <summary>What was open and the agent does not know any more is over: it is asked for the closing word, which it gives for whatever it does not know.</summary>
    /// <returns>What runs there but not here: over, or unknown, as after a restore of the database. It must end.</returns>
    internal async Task<List<string>> GreetAsync(string target, JsonElement hello, CancellationToken ct)
    {
        string[] running = hello.TryGetProperty("running", out var list) ? [.. list.EnumerateArray().Select(r => r.GetString()!)] : [];
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync($"update privileged.sessions set state = 'ending', asked_at = clock_timestamp(), end_reason = {Restarted} where target = {target} and state = 'open' and not (id = any({running}))", ct);
        var strays = await work.QueryAsync($"select id from unnest({running}) id where not exists (select from privileged.sessions s where s.id = id and s.target = {target} and s.ended_at is null)", r => r.GetString(0), ct);
        foreach (var stray in strays) work.Record(new("privileged.order-end", HistoryOutcome.Ended, Unknown) { Details = new Dictionary<string, string> { ["target"] = target, ["privileged"] = IdForm.Fits(stray) ? stray : "malformed" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return strays;
    }

    internal const string Unknown = "privileged.no-such-session";
    private const string Restarted = "privileged.agent-restarted";

    /// <summary>The answer, or null. Throws <see cref="KeyNotFoundException"/> or <see cref="InvalidOperationException"/> for what is malformed.</summary>
    internal async Task<JsonObject?> TakeAsync(string target, JsonElement message, CancellationToken ct)
    {
        var id = StrictJson.Text(message, "session") is { Length: <= 64 } given ? given : throw new InvalidOperationException("no session");
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { } session || session.Target != target)
        {
            // Unknown here: it is told to forget it, and the history tells that it was said.
            work.Record(new("privileged.report", HistoryOutcome.Refused, Unknown) { Details = new Dictionary<string, string> { ["target"] = target, ["session"] = IdForm.Fits(id) ? id : "malformed" } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return message.TryGetProperty("number", out var n) ? new() { ["type"] = "noted", ["session"] = id, ["number"] = n.GetInt32() } : new() { ["type"] = "noted", ["session"] = id };
        }
        var answer = StrictJson.Text(message, "type") switch
        {
            "opened" => await OpenedAsync(work, session, message, ct),
            "admitted" => await AdmittedAsync(work, session, message, "admitted " + StrictJson.Text(message, "account"), ct),
            "refused" when message.TryGetProperty("order", out var order) && order.GetInt64() > 0 => await AdmittedAsync(work, session, message, StrictJson.Text(message, "code") ?? "", ct),
            "refused" => await FailedAsync(work, session, StrictJson.Text(message, "code") ?? "privileged.target-failed", ct),
            "over" => await OverAsync(work, session, message, ct),
            "ended" => await EndedAsync(work, session, message, ct),
            "chunk" => await ChunkAsync(work, session, message, ct),
            "extension" => await ExtensionAsync(work, session, message, ct),
            "held" => await HeldAsync(work, session, message.GetProperty("held").GetBoolean(), ct),
            "extended" => null,
            _ => throw new InvalidOperationException("unknown report"),
        };
        await work.CommitAsync(ct);
        wakeups.Wake(SessionDirector.Topic);
        return answer;
    }

    private async Task<JsonObject?> OpenedAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, CancellationToken ct)
    {
        // Too late: it ends at the target as well.
        if (session.State is "ending" or "ended") return new() { ["type"] = "end", ["session"] = session.Id, ["reason"] = session.EndReason ?? "privileged.revoked" };
        if (!Fits(message)) throw new InvalidOperationException("a place that no helper may be sent to");
        var place = new JsonObject();
        foreach (var name in (string[])["account", "host", "port", "hostKey", "database", "statementLog"]) if (message.TryGetProperty(name, out var value)) place[name] = JsonNode.Parse(value.GetRawText());
        if (await work.ExecuteAsync($"update privileged.sessions set state = 'open', opened_at = clock_timestamp(), place = {place.ToJsonString():json} where id = {session.Id} and state = 'opening'", ct) == 1)
            work.Record(Event(session, "privileged.open", HistoryOutcome.Done) with { Details = Details(session, ("account", StrictJson.Text(message, "account") ?? "")) }, time.GetUtcNow());
        return null;
    }

    /// <summary>What goes to the operator's ssh and psql is what it says it is: a compromised target must not put options into their commands.</summary>
    private static bool Fits(JsonElement message) =>
        Plain(message, "host", ".:-") && Plain(message, "database", "_-") && Plain(message, "account", "_-") && (!message.TryGetProperty("hostKey", out var key) || (key.GetString() is { Length: < 1000 } line && line.All(c => char.IsAsciiLetterOrDigit(c) || " +/=-@.".Contains(c, StringComparison.Ordinal))))
        && message.TryGetProperty("port", out var port) && port.TryGetInt32(out var number) && number is > 0 and < 65536;

    private static bool Plain(JsonElement message, string name, string also) =>
        !message.TryGetProperty(name, out var value) || (value.GetString() is { Length: > 0 and <= 200 } text && char.IsAsciiLetterOrDigit(text[0]) && text.All(c => char.IsAsciiLetterOrDigit(c) || also.Contains(c, StringComparison.Ordinal)));

    private static async Task<JsonObject?> AdmittedAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, string answer, CancellationToken ct)
    {
        await work.ExecuteAsync($"update privileged.admissions set answered = {answer} where id = {message.GetProperty("order").GetInt64()} and session = {session.Id} and answered is null", ct);
        return null;
    }

    /// <summary>Could not be opened: over at once, and whoever waits is told why.</summary>
    private async Task<JsonObject?> FailedAsync(UnitOfWork work, PrivilegedSession session, string code, CancellationToken ct)
    {
        if (session.State != "opening") return null;
        await work.ExecuteAsync($"update privileged.sessions set state = 'ended', end_reason = {code}, over_at = clock_timestamp(), ended_at = clock_timestamp(), ended_in = 0, left_over = 0, found = '{{}}' where id = {session.Id}", ct);
        work.Record(Event(session, "privileged.open", HistoryOutcome.Refused, code), time.GetUtcNow());
        work.Notify([session.Person], "特権作業を始められませんでした", PrivilegedWords.Reason(code), $"/privileged/{session.Id}", time.GetUtcNow());
        return null;
    }

    private static async Task<JsonObject?> OverAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, CancellationToken ct)
    {
        await work.ExecuteAsync($"""
            update privileged.sessions set state = 'ending', asked_at = coalesce(asked_at, clock_timestamp()), end_reason = coalesce(end_reason, {StrictJson.Text(message, "reason")}), over_at = clock_timestamp(), ended_in = {message.GetProperty("milliseconds").GetDouble()}, left_over = {message.GetProperty("left").GetInt32()}
            where id = {session.Id} and ended_at is null and over_at is null
            """, ct);
        return null;
    }

    /// <summary>Two-person work stands still, or goes on.</summary>
    private async Task<JsonObject?> HeldAsync(UnitOfWork work, PrivilegedSession session, bool held, CancellationToken ct)
    {
        if (session.Second is not { } second || session.State != "open" || await work.ExecuteAsync($"update privileged.sessions set held_at = case when {held} then clock_timestamp() end where id = {session.Id} and (held_at is not null) <> {held}", ct) == 0) return null;
        work.Record(Event(session, held ? "privileged.hold" : "privileged.go-on", HistoryOutcome.Done) with { Details = Details(session, ("witness", second.Present?.Value ?? "")) }, time.GetUtcNow());
        return null;
    }

    /// <summary>The closing record: nothing runs, what was left is removed, or somebody is told.</summary>
    private async Task<JsonObject?> EndedAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, CancellationToken ct)
    {
        var noted = new JsonObject { ["type"] = "noted", ["session"] = session.Id };
        if (session is { EndedAt: not null } and ({ Closed: null } or { LeftOver: not null })) return noted;
        var (reason, left, took, found) = ((session.EndReason == Restarted ? null : session.EndReason) ?? StrictJson.Text(message, "reason") ?? Restarted, message.GetProperty("left").GetInt32(), message.GetProperty("milliseconds").GetDouble(), message.GetProperty("found").EnumerateArray().Select(f => f.GetString()!).Take(200).ToArray());
        await work.ExecuteAsync($"""
            update privileged.sessions set state = 'ended', end_reason = {reason}, asked_at = coalesce(asked_at, clock_timestamp()), over_at = coalesce(over_at, clock_timestamp()), ended_at = coalesce(ended_at, clock_timestamp()), ended_in = coalesce(ended_in, {took}), left_over = {left}, found = {found} where id = {session.Id}
            """, ct);
        work.Record(Event(session, "privileged.end", HistoryOutcome.Ended, reason) with { Details = Details(session, ("milliseconds", took.ToString("0.0", CultureInfo.InvariantCulture)), ("left", $"{left}"), ("found", string.Join("; ", found.Take(20)))) }, time.GetUtcNow());
        // After it was closed by hand: what its agent kept is on record all the same, and somebody looks whether it fits.
        if (session.Closed is not null) await notices.TellAsync(work, FinishSession.ReviewOperation(session), "人が閉じた特権作業の、対象からの知らせが届きました", $"{session.Id} {session.Target}", $"/privileged/{session.Id}", ct);
        else work.Notify([session.Person], "特権作業が終わりました。結果を書いてください", PrivilegedWords.Reason(reason), $"/privileged/{session.Id}", time.GetUtcNow());
        if (left != 0 || found.Length > 0) await notices.TellAsync(work, "privileged.review", left != 0 ? "特権作業の終了後も残っているものがあります" : "特権作業の終了時に、残されたものを取り除きました", $"{session.Id} {session.Target}", $"/privileged/{session.Id}", ct);
        return noted;
    }

    /// <summary>Each chunk's hash stands in the history: a recording cannot be exchanged afterwards. A chain that does not fit is taken, and said so.</summary>
    private async Task<JsonObject?> ChunkAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, CancellationToken ct)
    {
        var (number, data) = (message.GetProperty("number").GetInt32(), message.GetProperty("data").GetBytesFromBase64());
        var noted = new JsonObject { ["type"] = "noted", ["session"] = session.Id, ["number"] = number };
        var before = await work.QueryAsync($"select number, chain from privileged.chunks where session = {session.Id} and number in ({number}, {number - 1}) order by number", r => (Number: r.GetInt32(0), Chain: r.GetFieldValue<byte[]>(1)), ct);
        if (before.Exists(b => b.Number == number)) return noted;
        var former = before.Find(b => b.Number == number - 1).Chain;
        var chain = SHA256.HashData([.. former ?? new byte[32], .. data]);
        var fits = (number == 1 || former is not null) && StrictJson.Text(message, "chain") == Convert.ToHexStringLower(chain);
        // Somebody has reviewed it without this.
        if (session is { ReviewedBy: { } reviewer, ReviewedAt: { } reviewed } && !await work.AskAsync(Question.Any($"select from privileged.chunks where session = {session.Id} and at > {reviewed}"), ct)) work.Notify([PersonId.Parse(reviewer)], "確認した特権作業の、記録の続きが届きました", session.Id, $"/privileged/{session.Id}/recording", time.GetUtcNow());
        work.Write($"insert into privileged.chunks (session, number, data, chain, at) values ({session.Id}, {number}, {data}, {chain}, {time.GetUtcNow()})");
        work.Record(Event(session, "privileged.record", fits ? HistoryOutcome.Done : HistoryOutcome.Refused, fits ? "" : "privileged.recording-gap") with { Details = Details(session, ("number", $"{number}"), ("chain", Convert.ToHexStringLower(chain))) }, time.GetUtcNow());
        return noted;
    }

    /// <summary>More time is asked for from inside: an ordinary request, decided by the same people.</summary>
    private async Task<JsonObject?> ExtensionAsync(UnitOfWork work, PrivilegedSession session, JsonElement message, CancellationToken ct)
    {
        var minutes = Math.Clamp(message.GetProperty("minutes").GetInt32(), 1, 720);
        var reason = FreeText.Fits(StrictJson.Text(message, "reason") ?? "", lines: false) && StrictJson.Text(message, "reason") is { Length: >= 2 and <= 500 } said ? said : "(端末の中からの延長の申請)";
        if (session.State != "open" || session.IsEmergency || (await work.AskAsync(RequestDesk.By(session.Person, "privileged.extend", "open"), ct)).Exists(r => r["session"] == session.Id)) return null;
        var request = await RequestDesk.FileAsync(work, "privileged.extend", new Dictionary<string, string> { ["session"] = session.Id, ["minutes"] = $"{minutes}", ["work"] = session.Work }, reason, session.Person, time.GetUtcNow(), session.EndsAt - time.GetUtcNow());
        work.Record(Event(session, "privileged.request-extend", HistoryOutcome.Done) with { Details = Details(session, ("request", $"{request}"), ("minutes", $"{minutes}")) }, time.GetUtcNow());
        await notices.TellAsync(work, "privileged.approve-extend", "特権作業の延長の申請", reason, $"/requests/{request}", ct);
        return null;
    }

    internal static HistoryEvent Event(PrivilegedSession session, string operation, HistoryOutcome outcome, string reason = "") => new(operation, outcome, reason) { Person = session.Person, Terminal = session.Terminal, Session = session.Session, Address = session.Address, Details = Details(session) };

    /// <summary>What somebody did to it, from where they sat.</summary>
    internal static HistoryEvent Event(PrivilegedSession session, LiveSession by, string operation, HistoryOutcome outcome, string reason = "") => Event(session, operation, outcome, reason) with { Person = by.Person, Terminal = by.Terminal, Session = by.Id, Address = by.Address };

    internal static Dictionary<string, string> Details(PrivilegedSession session, params (string Name, string Value)[] more) =>
        new[] { ("privileged", session.Id), ("target", session.Target), ("work", session.Work), ("request", session.Request?.ToString(CultureInfo.InvariantCulture) ?? "emergency") }.Concat(more).GroupBy(m => m.Item1).ToDictionary(m => m.Key, m => m.Last().Item2);
}
