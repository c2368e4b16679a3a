using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>A stop that holds: since when, on what, by whom.</summary>
internal sealed record Stop(long Id, string Scope, string Value, string Reason, string By, DateTimeOffset At)
{
    internal bool Covers(PrivilegedSession session) => Scope switch { "everyone" => true, "person" => session.Person.Value == Value, "target" => session.Target == Value, _ => session.Work == Value };
}

/// <summary>One button: every session of a person, a target, a kind of work, or all of them, ends now, and nothing new begins until it is lifted. <clause>MIC 1(2)⑤, TAG 第3章</clause></summary>
internal sealed class EmergencyStop(Store store, SessionDirector director, Wakeups wakeups, TimeProvider time)
{
    internal static readonly string[] Scopes = ["everyone", "person", "target", "work"];

    internal static Question<List<Stop>> Holding() => Question.All($"select id, scope, value, reason, by, at from privileged.stops where lifted_at is null order by at", r => new Stop(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetString(4), r.GetFieldValue<DateTimeOffset>(5)));

    internal async Task StopAsync(string scope, string value, LiveSession by, string reason, CancellationToken ct)
    {
        var stop = new Stop(0, scope, value, reason, by.Person.Value, time.GetUtcNow());
        // What runs first: its end waits for no write. What began meanwhile is ended by the director, which looks at the stops that hold.
        await director.EndAsync([.. (await store.AskAsync(PrivilegedStore.Running(), ct)).Where(stop.Covers)], "privileged.emergency-stop", by, reason, stop.At);
        await using var work = await store.BeginAsync(ct);
        Hold(work, wakeups, stop);
        work.Record(new("privileged.stop", HistoryOutcome.Ended, "privileged.emergency-stop") { Person = by.Person, Terminal = by.Terminal, Session = by.Id, Address = by.Address, Details = new Dictionary<string, string> { ["scope"] = scope, ["value"] = value, ["why"] = reason } }, time.GetUtcNow());
        await work.CommitAsync(ct);
    }

    /// <summary>Nothing new begins from the commit on, and what has begun meanwhile is ended by the director.</summary>
    internal static void Hold(UnitOfWork work, Wakeups wakeups, Stop stop)
    {
        work.Write($"insert into privileged.stops (scope, value, reason, by, at) values ({stop.Scope}, {stop.Value}, {stop.Reason}, {stop.By}, {stop.At})");
        work.AfterCommit(() => wakeups.Wake(SessionDirector.Topic));
    }

    /// <summary>False: lifted already, or by whoever ordered it, whom it is about, or whose work it ended.</summary>
    internal async Task<bool> LiftAsync(long id, PersonId by, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.ExecuteAsync($"update privileged.stops set lifted_by = {by}, lifted_at = {time.GetUtcNow()} where id = {id} and lifted_at is null and by <> {by} and not (scope = 'person' and value = {by}) and not exists (select from privileged.sessions s where s.person = {by} and s.end_reason = 'privileged.emergency-stop' and s.asked_at >= at - interval '10 seconds')", ct) == 0) return false;
        work.Record(new("privileged.lift-stop", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["stop"] = $"{id}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return true;
    }
}
