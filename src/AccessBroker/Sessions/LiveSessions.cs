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
    /// Starts a session in the caller's unit of work. The same person at the same terminal with the same card keeps the session and proves it
    /// anew; somebody else's session at the terminal ends first, and nothing of it is inherited. <clause>INA 第16-5</clause>
    /// </summary>
    public async Task<StartOutcome> StartAsync(UnitOfWork work, ProvenSignIn proven, CancellationToken ct)
    {
        if (!await SessionStore.LeaseHoldsAsync(work, proven.Terminal, proven.Epoch, ct)) return new StartOutcome.CardMoved();
        // Ends what is dead but not yet marked, so that the one-live-session rule judges only the living.
        await EndWhereAsync(work, $"""
            update sessions.sessions s set ended_at = clock_timestamp(), end_reason = 'sessions.lease-lost'
            where s.ended_at is null and (s.person = {proven.Person} or s.terminal = {proven.Terminal})
              and not exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch = s.epoch and l.until > clock_timestamp())
            returning s.id, s.person, s.card, s.terminal, s.end_reason
            """, ct);
        var cookie = Secret.New();
        var renewed = await work.FindAsync($"""
            update sessions.sessions set auth_time = {time.GetUtcNow()}, seen_at = clock_timestamp(), cookie_hash = {Secret.Hash(cookie)}, acr = {proven.Acr}, amr = {proven.Amr.ToArray()}
            where person = {proven.Person} and terminal = {proven.Terminal} and card = {proven.Card} and epoch = {proven.Epoch} and ended_at is null returning id
            """, r => r.GetString(0), ct);
        if (renewed is not null) return new StartOutcome.Started(SessionId.Parse(renewed), cookie, true);
        if (await work.FindAsync($"select terminal from sessions.sessions where person = {proven.Person} and ended_at is null and terminal <> {proven.Terminal}", r => r.GetString(0), ct) is { } elsewhere)
            return new StartOutcome.ElsewhereToo(TerminalId.Parse(elsewhere));
        await EndWhereAsync(work, $"""
            update sessions.sessions set ended_at = clock_timestamp(), end_reason = 'sessions.replaced' where terminal = {proven.Terminal} and ended_at is null
            returning id, person, card, terminal, end_reason
            """, ct);
        var id = SessionId.New();
        var now = time.GetUtcNow();
        await work.ExecuteAsync($"""
            insert into sessions.sessions (id, cookie_hash, person, card, terminal, address, epoch, acr, amr, auth_time, started_at, seen_at, expires_at)
            values ({id}, {Secret.Hash(cookie)}, {proven.Person}, {proven.Card}, {proven.Terminal}, {proven.Address}, {proven.Epoch}, {proven.Acr}, {proven.Amr.ToArray()}, {now}, {now}, clock_timestamp(), clock_timestamp() + {policy.Absolute})
            """, ct);
        return new StartOutcome.Started(id, cookie, false);
    }

    /// <summary>Notes that the session is in use, at most once a minute: the idle time-out starts anew.</summary>
    public async Task SeenAsync(SessionId id, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.ExecuteAsync($"update sessions.sessions set seen_at = clock_timestamp() where id = {id} and ended_at is null and seen_at < clock_timestamp() - interval '1 minute'", ct) > 0) await work.CommitAsync(ct);
    }

    /// <summary>Ends one session: sign-out. Returns false when it was over already.</summary>
    public Task<bool> EndAsync(SessionId id, string reason) => EndNowAsync($"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where id = {id} and ended_at is null returning id, person, card, terminal, end_reason
        """, new("sessions.end", HistoryOutcome.Ended, reason) { Session = id });

    /// <summary>Ends whatever lives on a card: reported lost.</summary>
    public Task<bool> EndByCardAsync(CardId card, string reason) => EndNowAsync($"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where card = {card} and ended_at is null returning id, person, card, terminal, end_reason
        """, new("sessions.end", HistoryOutcome.Ended, reason) { Card = card });

    /// <summary>Ends whatever lives at a terminal with another epoch than <paramref name="epoch"/>: card out, reader gone, agent restarted.</summary>
    internal Task<bool> EndByEpochAsync(TerminalId terminal, string epoch, string reason) => EndNowAsync($"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where terminal = {terminal} and epoch <> {epoch} and ended_at is null returning id, person, card, terminal, end_reason
        """, new("sessions.end", HistoryOutcome.Ended, reason) { Terminal = terminal }, leaseEndsIt: true);

    /// <summary>Marks what is over by lease or time-out, with its event. Any node may do it, any number of times.</summary>
    internal async Task SweepAsync(CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await EndWhereAsync(work, $"""
            update sessions.sessions s set ended_at = clock_timestamp(), end_reason = case
                when s.expires_at <= clock_timestamp() then 'sessions.absolute-time-out'
                when s.seen_at + {policy.Idle} <= clock_timestamp() then 'sessions.idle-time-out'
                when exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch <> s.epoch) then 'sessions.card-removed'
                else 'sessions.lease-lost' end
            where s.ended_at is null and (s.expires_at <= clock_timestamp() or s.seen_at + {policy.Idle} <= clock_timestamp()
              or not exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch = s.epoch and l.until > clock_timestamp()))
            returning s.id, s.person, s.card, s.terminal, s.end_reason
            """, ct) > 0) await work.CommitAsync(ct);
    }

    private async Task<bool> EndNowAsync(Sql update, HistoryEvent whenAway, bool leaseEndsIt = false)
    {
        try
        {
            await using var work = await store.BeginAsync(CancellationToken.None);
            var ended = await EndWhereAsync(work, update, CancellationToken.None);
            await work.CommitAsync(CancellationToken.None);
            return ended > 0;
        }
        // Without a new epoch the lease goes on: a sign-out or a lost card must not be called done when it is not, so the caller hears of it.
        catch (NpgsqlException e) when (leaseEndsIt)
        {
            // Ending never waits: the lease runs out by itself, and the sweep marks the row when the database is back.
            EndingSpooled(log, whenAway.Reason, e);
            try { spool.Append(whenAway, time.GetUtcNow()); }
            catch (IOException disk) { EndingLost(log, whenAway.Reason, disk); }
            return true;
        }
    }

    private async Task<int> EndWhereAsync(UnitOfWork work, Sql update, CancellationToken ct)
    {
        var ended = await work.QueryAsync(update, r => new HistoryEvent("sessions.end", HistoryOutcome.Ended, r.GetString(4))
        {
            Session = SessionId.Parse(r.GetString(0)),
            Person = PersonId.Parse(r.GetString(1)),
            Card = CardId.Parse(r.GetString(2)),
            Terminal = TerminalId.Parse(r.GetString(3)),
        }, ct);
        foreach (var entry in ended)
        {
            work.Record(entry, time.GetUtcNow());
            Ended(log, entry.Session!.Value, entry.Reason);
        }
        return ended.Count;
    }

    [LoggerMessage(LogLevel.Information, "session {Session} ended: {Reason}")]
    private static partial void Ended(ILogger log, SessionId session, string reason);
    [LoggerMessage(LogLevel.Critical, "a session's end ({Reason}) could be written neither to the history nor to the spool; the session ends with its lease, and the sweep will record it")]
    private static partial void EndingLost(ILogger log, string reason, Exception e);
    [LoggerMessage(LogLevel.Error, "a session's end ({Reason}) could not be written; spooled")]
    private static partial void EndingSpooled(ILogger log, string reason, Exception e);
}
