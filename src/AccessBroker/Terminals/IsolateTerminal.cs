using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.Terminals;

/// <summary>
/// Takes a terminal out of use: rest, loss, isolation, the way out and back. What lives there ends with the same commit, and none of it waits for
/// the history. <clause>MOJ 第5-4(1), INA 第14(1), MIC 7.3(2)③(エ)</clause>
/// </summary>
public sealed class IsolateTerminal(HistorySpool history, ITerminalPresence presence, Wakeups wakeups, TimeProvider time)
{
    /// <summary>Wakes the streams: a node looks again at what is attached to it.</summary>
    internal const string Topic = "terminals";

    internal static readonly IReadOnlyDictionary<string, (string State, string Operation, string What)> Acts = new Dictionary<string, (string, string, string)>
    {
        ["disable"] = ("disabled", "terminals.disable", "利用停止"),
        ["lost"] = ("lost", "terminals.report-lost", "紛失・盗難"),
        ["isolate"] = ("isolated", "terminals.isolate-now", "緊急の切離し"),
        ["check-out"] = ("out", "terminals.check-out", "持出し"),
        ["check-in"] = ("quarantine", "terminals.check-in", "持帰り(検査待ち)"),
        ["revoke"] = ("", "terminals.revoke-certificate", "証明書の失効"),
    };

    /// <summary>In the caller's unit of work: the state, the certificates of what is lost, the sessions. Returns the events; empty: no such terminal.</summary>
    /// <param name="state">The new state; empty: only the certificates are revoked.</param>
    internal async Task<List<Narrowed>> RunAsync(UnitOfWork work, TerminalId terminal, PersonId by, string state, string what, string reason)
    {
        var now = time.GetUtcNow();
        if (await work.ExecuteAsync($"update terminals.terminals set state = case when {state} = '' then state else {state} end, changed_at = {now} where id = {terminal}", CancellationToken.None) == 0) return [];
        if (state is "" or "lost") await work.ExecuteAsync($"update terminals.certificates set revoked_at = clock_timestamp() where terminal = {terminal} and revoked_at is null", CancellationToken.None);
        work.Enter("terminals", terminal.Value, what, by.Value, (await work.AskAsync(TerminalRegister.FindLine(terminal), CancellationToken.None))!.Entry(), now);
        var ended = await presence.EndAsync(work, terminal, $"sessions.terminal-{(state.Length == 0 ? "revoked" : state)}");
        work.AfterCommit(() => wakeups.Wake(Topic));
        return [new(new($"terminals.{(state.Length == 0 ? "revoke-certificate" : $"set-{state}")}", HistoryOutcome.Ended, $"terminals.{(state.Length == 0 ? "certificate-revoked" : state)}") { Person = by, Terminal = terminal, Details = new Dictionary<string, string> { ["why"] = reason } }, now), .. ended];
    }

    /// <summary>The same as an operation of its own, with the report to 統括 that an emergency needs. False: no such terminal.</summary>
    internal async Task<bool> RunAsync(TerminalId terminal, PersonId by, string act, string reason)
    {
        var (state, _, what) = Acts[act];
        var done = await history.NarrowAsync(async work =>
        {
            var ended = await RunAsync(work, terminal, by, state, what, reason);
            if (ended.Count > 0 && act == "isolate") await RequestDesk.FileAsync(work, IsolationReportKind.KindName, new Dictionary<string, string> { ["terminal"] = terminal.Value }, reason, by, time.GetUtcNow(), TimeSpan.FromDays(1));
            return ended;
        });
        return done.Count > 0;
    }

    /// <summary>May this person do that to this terminal: a responsible person only to terminals of their own.</summary>
    internal static bool May(MayDo may, RolesPolicy roles, string operation, TerminalLine terminal) =>
        may.Allows(operation) && (terminal.Responsible == may.Person!.Id || roles.Allows(may.Person.Roles.Where(r => r != "responsible-person"), operation));
}

/// <summary>Ends a seat early. <clause>MOJ 第5-4(1)</clause></summary>
internal sealed class Seats(HistorySpool history, ITerminalPresence presence, TimeProvider time)
{
    /// <summary>False: there was none.</summary>
    internal async Task<bool> EndAsync(TerminalId terminal, PersonId person, PersonId by, string reason)
    {
        var done = await history.NarrowAsync(async work =>
        {
            var now = time.GetUtcNow();
            if (await work.ExecuteAsync($"update terminals.grants set valid_until = greatest({now}, valid_from) where terminal = {terminal} and person = {person} and (valid_until is null or valid_until > {now})", CancellationToken.None) == 0) return [];
            work.Enter("seats", $"{terminal}/{person}", "取消", by.Value, new Dictionary<string, string> { ["terminal"] = terminal.Value, ["person"] = person.Value, ["reason"] = reason }, now, removed: true);
            var ended = await presence.EndAsync(work, terminal, "sessions.grant-ended", person);
            return [new(new("terminals.end-grant", HistoryOutcome.Ended, "terminals.grant-ended") { Person = by, Terminal = terminal, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["why"] = reason } }, now), .. ended];
        });
        return done.Count > 0;
    }

    internal static Dictionary<string, string> Entry(Seat seat) => new()
    {
        ["terminal"] = seat.Terminal.Value,
        ["person"] = seat.Person.Value,
        ["approvedBy"] = seat.ApprovedBy.Value,
        ["reason"] = seat.Reason,
        ["from"] = Web.JapaneseTime.Precise(seat.ValidFrom),
        ["until"] = seat.ValidUntil is { } until ? Web.JapaneseTime.Precise(until) : "",
    };
}
