using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>
/// Opens and ends, at the targets attached to this node, what the database says: woken by whoever changes it, at this node or another, and by every end of a
/// sign-in. The order to end goes out first, its record follows. The limit itself is the target's own: nothing here needs to live for it.
/// <clause>MIC 6.2(6), INA 第16-5</clause>
/// </summary>
internal sealed partial class SessionDirector(Store store, TargetStream targets, LiveSessions sessions, HistorySpool history, TemporaryGrants files, Active<PrivilegedPolicy> policy, Wakeups wakeups, TimeProvider time, ILogger<SessionDirector> log) : BackgroundService
{
    internal const string Topic = "privileged";
    /// <summary>Ours: looked at every 100 ms without being woken; an order that was not answered is given again after 1 s; a target that does not open within 20 s does not; a question is prompt within 50 ms.</summary>
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100), Again = TimeSpan.FromSeconds(1), OpenWithin = TimeSpan.FromSeconds(20), Prompt = TimeSpan.FromMilliseconds(50);
    private readonly ConcurrentDictionary<(string Session, string Order), long> _ordered = new();
    private readonly Dictionary<string, DateTimeOffset> _told = [];
    private DateTimeOffset? _next;
    private long _seen;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var news = wakeups.Listen(Topic, LiveSessions.EndedTopic);
        // The end of nothing: most of what the first real one needs is compiled by then.
        try { await EndAsync([], "privileged.revoked"); }
        catch (Exception e) when (e is not OutOfMemoryException) { Waiting(log, e.Message); }
        while (!stoppingToken.IsCancellationRequested)
        {
            // A limit that no target counts is met to the millisecond.
            var wait = _next - time.GetUtcNow() is { } left && left < Turn ? left : Turn;
            try { await news.WaitAsync(wait > TimeSpan.Zero ? wait : TimeSpan.FromMilliseconds(1), stoppingToken); }
            catch (OperationCanceledException) { return; }
            try { await TurnAsync(stoppingToken); }
            // Whatever it is: the next turn tries again, and the targets' own limits hold.
            catch (Exception e) when (e is not OutOfMemoryException && !stoppingToken.IsCancellationRequested) { Waiting(log, e.Message); }
        }
    }

    internal async Task TurnAsync(CancellationToken ct)
    {
        var (attached, asked, began) = (targets.Attached, time.GetUtcNow(), time.GetTimestamp());
        var running = await store.AskAsync(PrivilegedStore.RunningAt(attached, OpenWithin), ct);
        var read = time.GetTimestamp();
        // What is left is told to the targets as of before the question, so never too long; if that took long it would be too short, and only the end is told.
        var isPrompt = time.GetElapsedTime(began, read) < Prompt;
        var standing = await sessions.StandingOfAsync([.. running.SelectMany(s => new[] { s.Session, s.Second?.SignIn }).OfType<SessionId>().Distinct()], ct);
        var ending = await EndDueAsync(running, standing, asked, ct);
        await CloseAsync([.. running.Where(s => s.State == "ending" && (!s.HasAgent || !attached.Contains(s.Target)))]);
        foreach (var session in running.Where(s => s is { State: "open", Second: not null })) await TellWatchedAsync(session, session.Second!.SignIn is { } watching && standing[watching] == Standing.Live);
        foreach (var session in running.Where(s => s.State == "opening" && s.HasAgent && !ending.Contains(s.Id))) await OpenAsync(session, read, ct);
        foreach (var group in running.Where(s => s.State == "ending" && s.HasAgent && IsTime(s.Id, "end")).GroupBy(s => (s.Target, s.EndReason))) await EndAsync(group.Key.Target, [.. group.Select(s => s.Id)], group.Key.EndReason ?? "privileged.revoked");
        foreach (var session in running.Where(s => s.State == "open" && s.HasAgent && _told.GetValueOrDefault(s.Id) != s.EndsAt)) await TellEndAsync(session, isPrompt ? began : null);
        if (attached.Length > 0) await AdmitAsync(attached, ct);
        if (_seen == 0 || time.GetElapsedTime(_seen) > Again)
        {
            _seen = time.GetTimestamp();
            await targets.CutOffAsync(ct);
            // Said only by who could look at everything: without the database nobody could end anything, and targets end it themselves after a while.
            await Task.WhenAll(attached.Select(t => targets.OrderAsync(t, new() { ["type"] = "alive" })));
            if (attached.Length > 0) await store.ExecuteAsync($"update privileged.agents set seen_at = clock_timestamp() where target = any({attached}) and revoked_at is null", ct);
            foreach (var old in _ordered.Where(o => time.GetElapsedTime(o.Value) > TimeSpan.FromMinutes(1)).Select(o => o.Key).ToList()) _ordered.TryRemove(old, out _);
        }
    }

    /// <summary>What must end now: its time is over, or the sign-in it hangs on is. When nobody can tell, the target's own limit holds.</summary>
    private async Task<HashSet<string>> EndDueAsync(List<PrivilegedSession> running, IReadOnlyDictionary<SessionId, Standing> standing, DateTimeOffset asked, CancellationToken ct)
    {
        var candidates = running.Where(s => s.State is "opening" or "open").ToList();
        _next = null;
        if (candidates.Count == 0) return [];
        // A stop covers also what was just beginning when it came.
        var stops = await store.AskAsync(EmergencyStop.Holding(), ct);
        _next = asked + candidates.Where(s => !s.HasAgent && s.Left > TimeSpan.Zero).Min(s => (TimeSpan?)s.Left);
        var due = candidates.Select(s => (Session: s, Reason: Reason(s, standing, stops))).Where(d => d.Reason is not null).GroupBy(d => d.Reason!, d => d.Session).ToList();
        // All orders first; what cannot be written for one cause keeps no other waiting.
        foreach (var group in due) await OrderEndAsync([.. group], group.Key);
        foreach (var group in due)
        {
            try { await EndAsync([.. group], group.Key, decided: asked); }
            catch (Exception e) when (e is not OutOfMemoryException && !ct.IsCancellationRequested) { Waiting(log, e.Message); }
        }
        return [.. due.SelectMany(g => g.Select(s => s.Id))];
    }

    /// <summary>Why it must end now; null: it need not.</summary>
    private string? Reason(PrivilegedSession session, IReadOnlyDictionary<SessionId, Standing> standing, List<Stop> stops)
    {
        if (session.Left <= TimeSpan.Zero) return "privileged.limit";
        if (standing[session.Session] == Standing.Over) return "privileged.session-over";
        if (stops.Exists(stop => stop.Covers(session))) return "privileged.emergency-stop";
        if (session.State == "opening" && session.StartedAt + OpenWithin < session.ReadAt) return "privileged.not-opened";
        return session.Second is { Present: null, AloneSince: { } alone } && alone + policy.Now.WatchedWithin < session.ReadAt ? "privileged.no-witness" : null;
    }

    /// <summary>Ends sessions, wherever they are: those at this node at once, the others by the record, which wakes their node.</summary>
    /// <param name="decided">When this node was asked, or found out, that they must end. Null: now.</param>
    internal async Task<int> EndAsync(IReadOnlyCollection<PrivilegedSession> which, string reason, LiveSession? by = null, string why = "", DateTimeOffset? decided = null)
    {
        decided ??= time.GetUtcNow();
        // Before anything is written: the end waits for no database.
        await OrderEndAsync(which, reason);
        var ids = which.Select(s => s.Id).ToArray();
        var ended = await history.NarrowAsync(async work =>
        {
            var done = await work.QueryAsync($"update privileged.sessions set state = 'ending', asked_at = {decided.Value}, end_reason = {reason} where id = any({ids}) and state in ('opening', 'open') returning id", r => r.GetString(0), CancellationToken.None);
            var entries = which.Where(s => done.Contains(s.Id)).Select(s => new Narrowed((by is null ? TargetReports.Event(s, "privileged.order-end", HistoryOutcome.Ended, reason) : TargetReports.Event(s, by, "privileged.order-end", HistoryOutcome.Ended, reason)) with { Details = TargetReports.Details(s, ("why", why)) }, time.GetUtcNow())).ToList();
            if (Permissions(which.Where(s => done.Contains(s.Id))) is { Count: > 0 } held) await files.EndAsync(work, held);
            return entries;
        });
        wakeups.Wake(Topic);
        return ended.Count;
    }

    private Task OrderEndAsync(IReadOnlyCollection<PrivilegedSession> which, string reason)
    {
        if (which.Any(s => s.Kind == "files")) files.Forget([.. which.Where(s => s.Kind == "files").Select(s => (s.Id, s.Person))]);
        var here = targets.Attached;
        return Task.WhenAll(which.Where(s => s.HasAgent && here.Contains(s.Target) && IsTime(s.Id, "end")).GroupBy(s => s.Target).Select(g => EndAsync(g.Key, [.. g.Select(s => s.Id)], reason)));
    }

    /// <summary>
    /// What no agent looks after has ended with the order: transfers are cut by the file server, tokens are worth nothing, and what was begun at a target that is
    /// attached nowhere was never open to anybody. Every node tries; one records it.
    /// </summary>
    private async Task CloseAsync(List<PrivilegedSession> ending)
    {
        if (ending.Count == 0) return;
        await history.NarrowAsync(async work =>
        {
            var (ids, now) = (ending.Select(s => s.Id).ToArray(), time.GetUtcNow());
            var done = await work.QueryAsync($"update privileged.sessions set state = 'ended', over_at = clock_timestamp(), ended_at = clock_timestamp(), ended_in = 0, left_over = 0, found = '{{}}' where id = any({ids}) and state = 'ending' returning id", r => r.GetString(0), CancellationToken.None);
            var entries = new List<Narrowed>();
            foreach (var group in ending.Where(s => done.Contains(s.Id)).GroupBy(s => s.EndReason ?? "privileged.revoked"))
            {
                if (Permissions(group) is { Count: > 0 } held) entries.AddRange(await files.EndedAsync(work, held, group.Key));
                foreach (var session in group)
                {
                    entries.Add(new(TargetReports.Event(session, "privileged.end", HistoryOutcome.Ended, group.Key), now));
                    work.Notify([session.Person], session.HasAgent ? "特権作業を始められませんでした" : "特権作業が終わりました。結果を書いてください", PrivilegedWords.Reason(group.Key), $"/privileged/{session.Id}", now);
                }
            }
            return entries;
        });
    }

    private static List<string> Permissions(IEnumerable<PrivilegedSession> sessions) => [.. sessions.Where(s => s.Kind == "files").Select(s => s.Id)];

    private async Task EndAsync(string target, string[] ids, string reason)
    {
        foreach (var id in ids) _ordered[(id, "end")] = time.GetTimestamp();
        await targets.OrderAsync(target, new() { ["type"] = "end", ["session"] = ids[0], ["more"] = new JsonArray([.. ids.Skip(1).Select(i => JsonValue.Create(i))]), ["reason"] = reason });
    }

    private async Task OpenAsync(PrivilegedSession session, long read, CancellationToken ct)
    {
        if (!policy.Now.Work.TryGetValue(session.Work, out var rules)) { await EndAsync([session], "privileged.policy-changed"); return; }
        if (!IsTime(session.Id, "open")) return;
        _ordered[(session.Id, "open")] = time.GetTimestamp();
        await targets.OrderAsync(session.Target, new()
        {
            ["type"] = "open",
            ["session"] = session.Id,
            ["left"] = LeftNow(session, read),
            ["ends"] = session.EndsAt.ToUnixTimeMilliseconds(),
            ["idle"] = rules.Idle.TotalSeconds,
            ["cutOff"] = policy.Now.CutOff.TotalSeconds,
            ["twoPerson"] = session.Second is not null,
            ["person"] = session.Person.Value,
            ["work"] = session.Work,
            ["warnings"] = new JsonArray([.. policy.Now.Warnings.Select(w => JsonValue.Create(w.TotalSeconds))]),
            ["grants"] = rules.Grants(session.Kind),
        });
    }

    /// <summary>Logins that wait for the agent of a database.</summary>
    private async Task AdmitAsync(string[] attached, CancellationToken ct)
    {
        foreach (var (id, session, target, verifier) in await store.AskAsync(Question.All($"""
            select a.id, a.session, s.target, a.verifier from privileged.admissions a join privileged.sessions s on s.id = a.session where a.answered is null and s.state = 'open' and s.target = any({attached}) and a.asked_at > clock_timestamp() - interval '10 seconds'
            """, r => (r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3))), ct))
        {
            if (!IsTime($"{id}", "admit")) continue;
            _ordered[($"{id}", "admit")] = time.GetTimestamp();
            await targets.OrderAsync(target, new() { ["type"] = "admit", ["order"] = id, ["session"] = session, ["verifier"] = verifier, ["window"] = policy.Now.Establish.TotalSeconds });
        }
    }

    /// <summary>A later end that was approved; and once to every node that a target comes to: the same end moves nothing there, but an order to open may have been long on its way.</summary>
    private async Task TellEndAsync(PrivilegedSession session, long? read)
    {
        var order = new JsonObject { ["type"] = "extend", ["session"] = session.Id, ["ends"] = session.EndsAt.ToUnixTimeMilliseconds() };
        if (read is { } at) order["left"] = LeftNow(session, at);
        if (await targets.OrderAsync(session.Target, order)) _told[session.Id] = session.EndsAt;
        foreach (var old in _told.Where(t => t.Value < session.ReadAt).Select(t => t.Key).ToList()) _told.Remove(old);
    }

    /// <summary>Seconds; now, not when it was read: of many that are told in a row the last would end later than its limit.</summary>
    private double LeftNow(PrivilegedSession session, long read) => (session.Left - time.GetElapsedTime(read)).TotalSeconds;

    /// <summary>A lease, renewed each second while the second person watches: whatever fails, two-person work stands still after 3 s. That nobody watches any more is said at once.</summary>
    private async Task TellWatchedAsync(PrivilegedSession session, bool watched)
    {
        if (!watched && !_ordered.ContainsKey((session.Id, "watched")) || watched && !IsTime(session.Id, "watched")) return;
        await targets.OrderAsync(session.Target, new() { ["type"] = "watched", ["session"] = session.Id, ["seconds"] = watched ? 3 : 0 });
        if (watched) _ordered[(session.Id, "watched")] = time.GetTimestamp();
        else _ordered.TryRemove((session.Id, "watched"), out _);
    }

    private bool IsTime(string id, string order) => !_ordered.TryGetValue((id, order), out var last) || time.GetElapsedTime(last) > Again;

    [LoggerMessage(LogLevel.Warning, "privileged sessions wait: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
