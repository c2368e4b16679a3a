using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Sessions;

/// <summary>What a sign-in has proven, to be made a session.</summary>
public sealed record ProvenSignIn(PersonId Person, CardId Card, TerminalId Terminal, string Address, string Epoch, string Acr, IReadOnlyList<string> Amr);

/// <summary>Starting, finding and ending sessions: the public face of this slice.</summary>
public sealed partial class LiveSessions(Store store, SessionsPolicy policy, HistorySpool spool, Leases leases, TimeProvider time, ILogger<LiveSessions> log)
{
    /// <summary>What came of the wish to start a session.</summary>
    public abstract record StartOutcome
    {
        private StartOutcome() { }
        /// <summary>The session lives; the cookie is for the browser and known to nobody else.</summary>
        public sealed record Started(SessionId Session, string Cookie, bool Renewed) : StartOutcome;
        /// <summary>The card was moved or the terminal fell silent since the proof.</summary>
        public sealed record CardMoved : StartOutcome;
        /// <summary>The person has a live session at another terminal. <clause>MIC 5.4(1)①</clause></summary>
        public sealed record ElsewhereToo(TerminalId Terminal) : StartOutcome;
    }

    /// <summary>The session of this cookie if it lives and the request comes from its terminal; else null. <clause>INA 第16-5</clause></summary>
    public async Task<LiveSession?> FindByCookieAsync(string? cookie, string? address, CancellationToken ct) =>
        Secret.Fits(cookie) && await SessionStore.FindLiveByCookieAsync(store, Secret.Hash(cookie!), policy.Idle, ct) is { } session && session.Address == address && !leases.Contradicts(session) ? session : null;

    /// <summary>The session if it lives; else null. A node that knows better than the database (card out, not yet written) says null.</summary>
    public async Task<LiveSession?> FindAsync(SessionId id, CancellationToken ct) =>
        await SessionStore.FindLiveAsync(store, id, policy.Idle, ct) is { } session && !leases.Contradicts(session) ? session : null;

    /// <summary>The same, in the caller's unit of work: no second connection while it holds one.</summary>
    public async Task<LiveSession?> FindAsync(UnitOfWork work, SessionId id, CancellationToken ct) =>
        await SessionStore.FindLiveAsync(work, id, policy.Idle, ct) is { } session && !leases.Contradicts(session) ? session : null;

    /// <summary>The person's session before <paramref name="current"/>; null when there was none.</summary>
    public static Task<LastSession?> FindLastAsync(UnitOfWork work, PersonId person, SessionId current, CancellationToken ct) => SessionStore.FindLastAsync(work, person, current, ct);

    /// <summary>
    /// Starts a session in the caller's unit of work. The same person at the same terminal keeps the session and proves it anew, with the card
    /// still in or to unlock it; somebody else's session at the terminal, and the person's own locked one elsewhere, end first, and nothing of
    /// them is inherited. <clause>INA 第16-5, MIC 5.1(1)⑦</clause>
    /// </summary>
    public async Task<StartOutcome> StartAsync(UnitOfWork work, ProvenSignIn proven, CancellationToken ct)
    {
        if (await SessionStore.FindLeasedSystemAsync(work, proven.Terminal, proven.Epoch, ct) is not { } system) return new StartOutcome.CardMoved();
        await EndDeadAsync(work, proven, ct);
        var cookie = Secret.New();
        var now = time.GetUtcNow();
        if (await SessionStore.RenewAsync(work, proven, Secret.Hash(cookie), now, ct) is { } renewed)
        {
            if (renewed.WasLocked) work.Record(new("sessions.unlock", HistoryOutcome.Done) { Session = renewed.Id, Person = proven.Person, Card = proven.Card, Terminal = proven.Terminal }, now);
            return new StartOutcome.Started(renewed.Id, cookie, true);
        }
        if (await work.FindAsync($"select terminal from sessions.sessions where person = {proven.Person} and ended_at is null and terminal <> {proven.Terminal}", r => r.GetString(0), ct) is { } elsewhere)
            return new StartOutcome.ElsewhereToo(TerminalId.Parse(elsewhere));
        await EndWhereAsync(work, $"""
            update sessions.sessions set ended_at = clock_timestamp(), end_reason = 'sessions.replaced' where terminal = {proven.Terminal} and ended_at is null
            returning id, person, card, terminal, end_reason, ended_at
            """, ct);
        var id = SessionId.New();
        await work.ExecuteAsync($"""
            insert into sessions.sessions (id, cookie_hash, person, card, terminal, address, epoch, acr, amr, auth_time, started_at, seen_at, expires_at, card_out)
            values ({id}, {Secret.Hash(cookie)}, {proven.Person}, {proven.Card}, {proven.Terminal}, {proven.Address}, {proven.Epoch}, {proven.Acr}, {proven.Amr.ToArray()}, {now}, {now}, clock_timestamp(), clock_timestamp() + {policy.Absolute},
                {(policy.CardOutOf(system) == CardOut.Lock ? "lock" : "terminate")})
            """, ct);
        return new StartOutcome.Started(id, cookie, false);
    }

    /// <summary>Ends what is over but not yet marked, so that the one-live-session rule judges only the living.</summary>
    private Task EndDeadAsync(UnitOfWork work, ProvenSignIn proven, CancellationToken ct) => EndWhereAsync(work, $"""
        update sessions.sessions s set ended_at = clock_timestamp(), end_reason = case
            when s.expires_at <= clock_timestamp() then 'sessions.absolute-time-out'
            when s.seen_at + {policy.Idle} <= clock_timestamp() then 'sessions.idle-time-out'
            when s.card_out = 'lock' then 'sessions.replaced'
            else 'sessions.lease-lost' end
        where s.ended_at is null and (s.person = {proven.Person} or s.terminal = {proven.Terminal})
          and (s.expires_at <= clock_timestamp() or s.seen_at + {policy.Idle} <= clock_timestamp()
            or (not (s.card_out = 'lock' and s.person = {proven.Person} and s.terminal = {proven.Terminal})
              and (s.locked_at is not null or not exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch = s.epoch and l.until > (select sessions.lease_clock())))))
        returning s.id, s.person, s.card, s.terminal, s.end_reason, s.ended_at
        """, ct);

    /// <summary>Notes that the session is in use, at most once a minute: the idle time-out starts anew.</summary>
    public async Task SeenAsync(SessionId id, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.ExecuteAsync($"update sessions.sessions set seen_at = clock_timestamp() where id = {id} and ended_at is null and seen_at < clock_timestamp() - interval '1 minute'", ct) > 0) await work.CommitAsync(ct);
    }

    /// <summary>Ends one session: sign-out. Returns false when it was over already. Throws <see cref="NpgsqlException"/> when the database is away: it must not be called done.</summary>
    public Task<bool> EndAsync(SessionId id, string reason) => EndNowAsync(Ends(() => $"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where id = {id} and ended_at is null returning id, person, card, terminal, end_reason, ended_at
        """));

    /// <summary>Ends whatever lives on a card: reported lost. Throws as <see cref="EndAsync"/>.</summary>
    public Task<bool> EndByCardAsync(CardId card, string reason) => EndNowAsync(Ends(() => $"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where card = {card} and ended_at is null returning id, person, card, terminal, end_reason, ended_at
        """));

    /// <summary>Ends or locks whatever lives at a terminal with another epoch than <paramref name="epoch"/>: card out, reader gone, agent restarted. Never throws.</summary>
    internal async Task EndByEpochAsync(TerminalId terminal, string epoch, string reason)
    {
        try
        {
            await EndNowAsync(Locks(() => $"""
                update sessions.sessions set locked_at = clock_timestamp() where terminal = {terminal} and epoch <> {epoch} and ended_at is null and card_out = 'lock' and locked_at is null
                returning id, person, card, terminal, {reason}, locked_at
                """), Ends(() => $"""
                update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where terminal = {terminal} and epoch <> {epoch} and ended_at is null and card_out = 'terminate'
                returning id, person, card, terminal, end_reason, ended_at
                """));
        }
        catch (NpgsqlException e)
        {
            // Ending never waits: this node refuses by the new epoch at once, the lease runs out by itself, and the sweep marks the row when the database is back.
            EndingSpooled(log, reason, e);
            Spool([new(new("sessions.end", HistoryOutcome.Ended, reason) { Terminal = terminal }, time.GetUtcNow())]);
        }
    }

    /// <summary>Marks what is over by lease or time-out, with its event. Any node may do it, any number of times.</summary>
    internal Task SweepAsync(CancellationToken ct) => EndNowAsync(Locks(() => $"""
        update sessions.sessions s set locked_at = clock_timestamp()
        where s.ended_at is null and s.card_out = 'lock' and s.locked_at is null and not exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch = s.epoch and l.until > (select sessions.lease_clock()))
        returning s.id, s.person, s.card, s.terminal, 'sessions.lease-lost', s.locked_at
        """), Ends(() => $"""
        update sessions.sessions s set ended_at = clock_timestamp(), end_reason = case
            when s.expires_at <= clock_timestamp() then 'sessions.absolute-time-out'
            when s.seen_at + {policy.Idle} <= clock_timestamp() then 'sessions.idle-time-out'
            when exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch <> s.epoch) then 'sessions.card-removed'
            else 'sessions.lease-lost' end
        where s.ended_at is null and (s.expires_at <= clock_timestamp() or s.seen_at + {policy.Idle} <= clock_timestamp()
          or (s.card_out = 'terminate' and not exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch = s.epoch and l.until > (select sessions.lease_clock()))))
        returning s.id, s.person, s.card, s.terminal, s.end_reason, s.ended_at
        """));

    /// <summary>One statement that locks or ends sessions and returns them. A function: it may run twice.</summary>
    private sealed record Step(string Operation, Func<Sql> Update);

    private static Step Locks(Func<Sql> update) => new("sessions.lock", update);

    private static Step Ends(Func<Sql> update) => new("sessions.end", update);

    private sealed record Ending(HistoryEvent Event, DateTimeOffset At);

    /// <summary>
    /// Ends, and writes the events with it. When the history alone cannot be written (read-only, disk full), the ending stands all the same: its
    /// events go to the spool first. Throws <see cref="NpgsqlException"/> when the database takes neither.
    /// </summary>
    private async Task<bool> EndNowAsync(params Step[] steps)
    {
        try
        {
            await using var work = await store.BeginAsync(CancellationToken.None);
            var endings = await RunAsync(work, CancellationToken.None, steps);
            if (endings.Count == 0) return false;
            foreach (var ending in endings) work.Record(ending.Event, ending.At);
            await work.CommitAsync(CancellationToken.None);
            foreach (var ending in endings) Ended(log, ending.Event.Session!.Value, ending.Event.Operation, ending.Event.Reason);
            return true;
        }
        catch (PostgresException e)
        {
            EndingSpooled(log, e.SqlState, e);
            await using var work = await store.BeginAsync(CancellationToken.None);
            var endings = await RunAsync(work, CancellationToken.None, steps);
            Spool(endings);
            await work.CommitAsync(CancellationToken.None);
            return endings.Count > 0;
        }
    }

    private void Spool(IReadOnlyCollection<Ending> endings)
    {
        try { foreach (var ending in endings) spool.Append(ending.Event, ending.At); }
        catch (IOException disk) { EndingLost(log, disk); }
    }

    private async Task EndWhereAsync(UnitOfWork work, Sql update, CancellationToken ct)
    {
        foreach (var ending in await RunAsync(work, ct, Ends(() => update)))
        {
            work.Record(ending.Event, ending.At);
            work.AfterCommit(() => Ended(log, ending.Event.Session!.Value, ending.Event.Operation, ending.Event.Reason));
        }
    }

    /// <summary>An ending happens at the database's time: a node whose clock is off still records it right.</summary>
    private static async Task<List<Ending>> RunAsync(UnitOfWork work, CancellationToken ct, params Step[] steps)
    {
        var endings = new List<Ending>();
        foreach (var step in steps)
            endings.AddRange(await work.QueryAsync<Ending>(step.Update(), r => new(new(step.Operation, HistoryOutcome.Ended, r.GetString(4))
            {
                Session = SessionId.Parse(r.GetString(0)),
                Person = PersonId.Parse(r.GetString(1)),
                Card = CardId.Parse(r.GetString(2)),
                Terminal = TerminalId.Parse(r.GetString(3)),
            }, r.GetFieldValue<DateTimeOffset>(5)), ct));
        return endings;
    }

    [LoggerMessage(LogLevel.Information, "session {Session} {Operation}: {Reason}")]
    private static partial void Ended(ILogger log, SessionId session, string operation, string reason);
    [LoggerMessage(LogLevel.Critical, "the end of sessions could be written neither to the history nor to the spool; it stands all the same, and this line is its record")]
    private static partial void EndingLost(ILogger log, Exception e);
    [LoggerMessage(LogLevel.Error, "the end of sessions ({Reason}) could not be written to the history; spooled")]
    private static partial void EndingSpooled(ILogger log, string reason, Exception e);
}
