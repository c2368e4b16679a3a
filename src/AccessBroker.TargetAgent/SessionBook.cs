using System.Collections.Concurrent;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>
/// The sessions of this target and their ends. A deadline is counted on the monotonic clock from the moment the order came: no broker, no network and
/// no wall clock is needed to end a session. An end that has begun is tried until the target says that nothing is left; what has ended is kept on disk
/// until the broker has taken note. Two-person work runs on a lease that the broker renews while the second person watches: without it, it stands still.
/// <clause>MIC 6.2(6), 6.1(4)③</clause>
/// </summary>
internal sealed class SessionBook(ITarget target, string directory, TimeProvider time, Action<JsonObject> report) : IDisposable
{
    /// <summary>Ours: 5 ms for each of those that end together.</summary>
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(200), PerTidying = TimeSpan.FromMilliseconds(5);
    /// <summary>Ours: what would end 5 ms later ends together with what is due. One after the other, each would wait for the dying of those before it.</summary>
    private static readonly TimeSpan Together = TimeSpan.FromMilliseconds(5);
    private readonly ConcurrentDictionary<string, Live> _live = new();
    /// <summary>What has ended in this run: a late order does not open it again.</summary>
    private readonly ConcurrentDictionary<string, byte> _over = new();
    private readonly ConcurrentDictionary<Task, byte> _ending = new();
    private readonly SemaphoreSlim _changed = new(0);
    private readonly Closings _closings = new(directory, report);

    internal IReadOnlyCollection<string> Running => [.. _live.Keys];

    /// <summary>Of the living sessions those that a stop covers.</summary>
    internal IReadOnlyCollection<string> RunningOf(Func<string, string, bool> covers) => [.. _live.Values.Where(l => covers(l.About.Person, l.About.Work)).Select(l => l.Id)];

    /// <summary>What a former run left is over: the agent was not there to guard it.</summary>
    internal async Task RecoverAsync()
    {
        var left = _closings.Left();
        await target.RecoverAsync(left);
        foreach (var session in left) _closings.Close(session, Closings.Word(session, Closings.Restarted, 0, []));
        await target.RehearseAsync();
    }

    /// <summary>Opens, or says again how it was opened. Throws <see cref="TargetException"/>.</summary>
    /// <param name="cutOff">Without a broker for so long it ends.</param>
    internal async Task<JsonObject> OpenAsync(Opening opening, TimeSpan left, long ends, TimeSpan idle, TimeSpan cutOff, IEnumerable<TimeSpan> warnings, CancellationToken ct)
    {
        if (_over.ContainsKey(opening.Session)) throw new TargetException("privileged.ended");
        var now = time.GetTimestamp();
        var fresh = new Live(opening.Session, now + Ticks(left), ends, idle, new(warnings.Where(w => w < left).OrderDescending())) { LastUse = now, CutOff = cutOff, TwoPerson = opening.TwoPerson, Held = opening.TwoPerson, About = (opening.Person, opening.Work) };
        var live = _live.GetOrAdd(opening.Session, fresh);
        lock (live)
        {
            if (live.Reason is not null) throw new TargetException("privileged.ended");
            live.Opened ??= MakeAsync(opening, ct);
        }
        _changed.Release();
        try { return (JsonObject)(await live.Opened).DeepClone(); }
        catch (TargetException) { _live.TryRemove(opening.Session, out _); throw; }
    }

    private async Task<JsonObject> MakeAsync(Opening opening, CancellationToken ct)
    {
        try
        {
            // On record before anything is open: a crash in between leaves a session that the next start ends.
            await _closings.BeginAsync(opening.Session, ct);
            return await target.OpenAsync(opening, ct);
        }
        catch (Exception e)
        {
            if (e is not TargetException)
            {
                Log.Warn($"a session could not be opened: {e.Message}", opening.Session);
                await UntilNothingAsync([opening.Session]);
                await CleanAsync(opening.Session);
            }
            _closings.Forget(opening.Session);
            throw e as TargetException ?? new TargetException("privileged.target-failed", e);
        }
    }

    internal Task<string> AdmitAsync(string session, long order, string verifier, TimeSpan window, CancellationToken ct) =>
        _live.TryGetValue(session, out var live) && live.Reason is null ? target.AdmitAsync(session, order, verifier, window, ct) : throw new TargetException("privileged.ended");

    /// <summary>Somebody typed, or something was shown: the idle clock starts anew.</summary>
    internal void Used(string session) { if (_live.TryGetValue(session, out var live)) live.LastUse = time.GetTimestamp(); }

    /// <summary>
    /// Another end: the deadline moves by as much as the broker's does. The same end, said again, moves nothing; but never is more left than the broker says:
    /// the order before may have been longer on its way.
    /// </summary>
    internal bool Extend(string session, long ends, TimeSpan most)
    {
        if (!_live.TryGetValue(session, out var live)) return false;
        TimeSpan left;
        bool same;
        lock (live)
        {
            if (live.Reason is not null) return false;
            var now = time.GetTimestamp();
            same = ends == live.Ends;
            live.Deadline += Ticks(TimeSpan.FromMilliseconds(ends - live.Ends));
            live.Ends = ends;
            if (Left(live, now) > most) live.Deadline = now + Ticks(most);
            left = Left(live, now);
        }
        _changed.Release();
        if (!same) target.Tell(session, $"終了の時刻が変わりました。あと {Words(left)} です。");
        return true;
    }

    /// <summary>The second person of two-person work watches, for so long; zero: no more.</summary>
    internal void Watched(string session, TimeSpan span)
    {
        if (!_live.TryGetValue(session, out var live) || !live.TwoPerson) return;
        Volatile.Write(ref live.Watched, time.GetTimestamp() + Ticks(span));
        _changed.Release();
    }

    /// <summary>Two-person work and whether it stands still, for a broker that has just come back.</summary>
    internal IEnumerable<JsonObject> Holds() => _live.Values.Where(l => l.TwoPerson && l.Reason is null).Select(l => Hold(l.Id, l.Held));

    private static JsonObject Hold(string session, bool held) => new() { ["type"] = "held", ["session"] = session, ["held"] = held };

    /// <summary>Until the target has done it, or the session ends, or the second person is there again.</summary>
    private async Task HoldAsync(Live live, bool held)
    {
        target.Tell(live.Id, held ? "立会人がいないため、止まっています。入力は捨てられます。" : "立会人がいます。続けられます。");
        while (live.Reason is null && live.Held == held)
        {
            try
            {
                await target.HoldAsync(live.Id, held);
                if (live.Held == held) report(Hold(live.Id, held));
                return;
            }
            catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"a session could not be held, tried again: {e.Message}", live.Id); }
            await Task.Delay(Again);
        }
    }

    /// <summary>The one verb: whatever the cause, sessions end here. Those that are ending already are left to whoever began. Never throws.</summary>
    internal async Task EndAsync(IEnumerable<string> sessions, string reason)
    {
        var (mine, opening) = (new List<Live>(), new List<Live>());
        foreach (var session in sessions.Distinct())
            if (!_live.TryGetValue(session, out var live))
            {
                _over[session] = 0;
                _closings.SayAgain(session);
            }
            else lock (live)
            {
                if (live.Reason is not null) continue;
                live.Reason = reason;
                // One that is just being opened keeps nobody else waiting.
                (live.Opened is { IsCompleted: false } ? opening : mine).Add(live);
            }
        var ending = Task.WhenAll([EndNowAsync(mine, reason), .. opening.Select(o => EndOpeningAsync(o, reason))]);
        _ending[ending] = 0;
        await ending;
        _ending.TryRemove(ending, out _);
    }

    private async Task EndOpeningAsync(Live live, string reason)
    {
        try { await live.Opened!; }
        catch (TargetException)
        {
            // Nothing was opened; the broker was told so.
            _live.TryRemove(live.Id, out _);
            return;
        }
        await EndNowAsync([live], reason);
    }

    private async Task EndNowAsync(List<Live> mine, string reason)
    {
        if (mine.Count == 0) return;
        var began = time.GetTimestamp();
        await UntilNothingAsync([.. mine.Select(l => l.Id)]);
        var took = time.GetElapsedTime(began).TotalMilliseconds;
        foreach (var live in mine)
        {
            report(new() { ["type"] = "over", ["session"] = live.Id, ["reason"] = reason, ["milliseconds"] = took, ["left"] = 0 });
            Log.Info($"ended ({reason}) in {took:0.0} ms", live.Id);
        }
        // What dies of itself now, connections and clients among it, has the processors first: a hundred tidyings at once would keep it waiting.
        await Task.Delay(PerTidying * mine.Count);
        await Parallel.ForEachAsync(mine, async (live, _) =>
        {
            var found = await CleanAsync(live.Id);
            _over[live.Id] = 0;
            for (var done = false; !done;)
            {
                try { _closings.Close(live.Id, Closings.Word(live.Id, reason, took, found)); done = true; }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    Log.Warn($"the closing word cannot be kept yet: {e.Message}", live.Id);
                    await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None);
                }
            }
            _live.TryRemove(live.Id, out var _);
        });
    }

    /// <summary>Again and again, until the target says that nothing of them is left: a database that does not answer, a process that does not die.</summary>
    private async Task UntilNothingAsync(IReadOnlyList<string> sessions)
    {
        while (true)
        {
            try
            {
                var left = await target.EndAsync(sessions);
                sessions = [.. sessions.Where(s => left.GetValueOrDefault(s) != 0)];
                if (sessions.Count == 0) return;
                Log.Warn($"{sessions.Count} session(s) are not over yet; tried again");
            }
            catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"sessions could not be ended, tried again: {e.Message}"); }
            await Task.Delay(Again);
        }
    }

    private async Task<IReadOnlyList<string>> CleanAsync(string session)
    {
        try { return await target.CleanAsync(session); }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            Log.Warn($"cleaning up failed: {e.Message}", session);
            return [$"cleaning up failed: {e.Message}"];
        }
    }

    /// <inheritdoc cref="Closings.Unreported"/>
    internal IEnumerable<JsonObject> Unreported() => _closings.Unreported();

    internal void Noted(string session) => _closings.Noted(session);

    /// <summary>Ends that are under way.</summary>
    internal Task EndedAsync() => Task.WhenAll(_ending.Keys);

    /// <summary>When a broker last said that it can judge who may go on; null: nobody need.</summary>
    internal Func<long?> Heard { get; set; } = () => null;

    /// <summary>Ends what is due, holds what nobody watches, warns of what will be.</summary>
    internal async Task WatchAsync(CancellationToken ct)
    {
        using var asking = new Timer(_ => _ = AskUseAsync(), null, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));
        while (!ct.IsCancellationRequested)
        {
            var now = time.GetTimestamp();
            var alone = Heard() is { } since ? time.GetElapsedTime(since, now) : TimeSpan.Zero;
            var (due, next) = (new List<(string Id, string Reason)>(), TimeSpan.FromSeconds(1));
            var running = _live.Values.Where(l => l.Reason is null).ToList();
            var limit = running.Exists(l => Left(l, now) <= TimeSpan.Zero) ? Together : TimeSpan.Zero;
            foreach (var live in running)
            {
                var (left, quiet) = (Left(live, now), live.Idle - time.GetElapsedTime(live.LastUse, now));
                if (left <= limit) due.Add((live.Id, "privileged.limit"));
                else if (quiet <= TimeSpan.Zero) due.Add((live.Id, "privileged.idle"));
                else if (live.CutOff > TimeSpan.Zero && alone > live.CutOff) due.Add((live.Id, "privileged.cut-off"));
                else if (left < next) next = left;
                if (live.TwoPerson && Span(Volatile.Read(ref live.Watched) - now) is var watched)
                {
                    if (live.Held != watched <= TimeSpan.Zero) _ = HoldAsync(live, live.Held = watched <= TimeSpan.Zero);
                    if (!live.Held && watched < next) next = watched;
                }
                Warn(live, left);
            }
            foreach (var group in due.GroupBy(d => d.Reason)) _ = EndAsync([.. group.Select(d => d.Id)], group.Key);
            try { await _changed.WaitAsync(due.Count > 0 ? TimeSpan.FromMilliseconds(1) : next, ct); }
            catch (OperationCanceledException) { return; }
        }
    }

    private async Task AskUseAsync()
    {
        try { foreach (var session in await target.BusyAsync([.. _live.Keys])) Used(session); }
        catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"nobody can tell what is in use: {e.Message}"); }
    }

    private void Warn(Live live, TimeSpan left)
    {
        var told = false;
        while (live.Warnings.TryPeek(out var at) && left <= at) { live.Warnings.Dequeue(); told = true; }
        if (told) target.Tell(live.Id, $"あと {Words(left)} で終了します。延長は access-extend 分数 '理由' で申請できます。");
    }

    public void Dispose() => _changed.Dispose();

    private TimeSpan Left(Live live, long now) => Span(live.Deadline - now);
    private TimeSpan Span(long ticks) => TimeSpan.FromTicks((long)(ticks * ((double)TimeSpan.TicksPerSecond / time.TimestampFrequency)));
    private long Ticks(TimeSpan span) => (long)(span.TotalSeconds * time.TimestampFrequency);
    private static string Words(TimeSpan left) => left.TotalSeconds < 90 ? $"{Math.Ceiling(left.TotalSeconds)} 秒" : $"{Math.Round(left.TotalMinutes)} 分";
}
