using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Sessions;

/// <summary>What a sign-in has proven, to be made a session.</summary>
public sealed record ProvenSignIn(PersonId Person, CardId Card, TerminalId Terminal, string Address, string Epoch, string Acr, IReadOnlyList<string> Amr, bool Attested = false);

/// <summary>Which sessions: those on a card, of a person, at a terminal, of a person at a terminal, or all.</summary>
public sealed record SessionFilter(CardId? Card, PersonId? Person, TerminalId? Terminal, bool All = false)
{
    /// <summary>Those on a card.</summary>
    public static SessionFilter OfCard(CardId card) => new(card, null, null);
    /// <summary>Those of a person.</summary>
    public static SessionFilter OfPerson(PersonId person) => new(null, person, null);
    /// <summary>Every session.</summary>
    public static SessionFilter Everything => new(null, null, null, All: true);
}

/// <summary>Whether a session lives; unsure: nobody can tell at this moment.</summary>
public enum Standing { Live, Over, Unsure }

/// <summary>Starting, finding and ending sessions: the public face of this slice.</summary>
public sealed partial class LiveSessions(Store store, Active<SessionsPolicy> policy, HistorySpool spool, Leases leases, Wakeups wakeups, TimeProvider time, ILogger<LiveSessions> log)
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
        Secret.Fits(cookie) && await SessionStore.FindLiveByCookieAsync(store, Secret.Hash(cookie!), policy.Now.Idle, ct) is { } session && session.Address == address ? Judge(session) : null;

    /// <summary>The session if it lives; else null. A node that knows better than the database (card out, not yet written) says null.</summary>
    public async Task<LiveSession?> FindAsync(SessionId id, CancellationToken ct) =>
        await SessionStore.FindLiveAsync(store, id, policy.Now.Idle, ct) is { } session ? Judge(session) : null;

    /// <summary>The same, in the caller's unit of work: no second connection while it holds one.</summary>
    public async Task<LiveSession?> FindAsync(UnitOfWork work, SessionId id, CancellationToken ct) =>
        await SessionStore.FindLiveAsync(work, id, policy.Now.Idle, ct) is { } session ? Judge(session) : null;

    /// <summary>How each of these sessions stands, in one question. Throws <see cref="NpgsqlException"/> when the database is away.</summary>
    public async Task<IReadOnlyDictionary<SessionId, Standing>> StandingOfAsync(IReadOnlyCollection<SessionId> ids, CancellationToken ct)
    {
        var live = (await store.AskAsync(SessionStore.LiveOf(ids, policy.Now.Idle), ct)).ToDictionary(s => s.Id);
        return ids.ToDictionary(id => id, id => !live.TryGetValue(id, out var session) || leases.Denies(session) ? Standing.Over : session.Unconfirmed || leases.IsUnsureOf(session) ? Standing.Unsure : Standing.Live);
    }

    /// <summary>What this node knows beside the database. Throws <see cref="PresenceUnknownException"/> when nobody can tell at this moment.</summary>
    private LiveSession? Judge(LiveSession session) =>
        leases.Denies(session) ? null : session.Unconfirmed || leases.IsUnsureOf(session) ? throw new PresenceUnknownException() : session;

    /// <summary>Has the person ever signed in at this terminal.</summary>
    public static Question<bool> HasBeenAt(PersonId person, TerminalId terminal) => Question.Any($"select 1 from sessions.sessions where person = {person} and terminal = {terminal} limit 1");

    /// <summary>How many sessions have begun and not ended.</summary>
    public static Question<long> Count() => Question.All($"select count(*) from sessions.sessions where ended_at is null", r => r.GetInt64(0)).Select(r => r[0]);

    /// <summary>The person's session before <paramref name="current"/>; null when there was none.</summary>
    public static Question<LastSession?> FindLast(PersonId person, SessionId current) => SessionStore.FindLast(person, current);

    /// <summary>
    /// Starts a session in the caller's unit of work. The same person at the same terminal keeps the session and proves it anew, with the card
    /// still in or to unlock it; somebody else's session at the terminal, and the person's own locked one elsewhere, end first, and nothing of
    /// them is inherited. <clause>INA 第16-5, MIC 5.1(1)⑦</clause>
    /// </summary>
    public async Task<StartOutcome> StartAsync(UnitOfWork work, ProvenSignIn proven, CancellationToken ct)
    {
        var (cookie, now) = (Secret.New(), time.GetUtcNow());
        var (lease, dead, elsewhere) = (SessionStore.FindLeasedSystem(proven.Terminal, proven.Epoch), Dead(proven), SessionStore.FindElsewhere(proven.Person, proven.Terminal));
        await work.AskAsync(ct, lease, dead, elsewhere);
        Record(work, dead.Answer);
        if (lease.Answer is not { } system) return new StartOutcome.CardMoved();
        if (elsewhere.Answer is { } terminal) return new StartOutcome.ElsewhereToo(TerminalId.Parse(terminal));
        var (renewed, replaced) = (SessionStore.Renew(proven, Secret.Hash(cookie), now), Replaced(proven));
        await work.AskAsync(ct, renewed, replaced);
        Record(work, replaced.Answer);
        if (renewed.Answer is { } going)
        {
            if (going.WasLocked) work.Record(new("sessions.unlock", HistoryOutcome.Done) { Session = going.Id, Person = proven.Person, Card = proven.Card, Terminal = proven.Terminal }, now);
            return new StartOutcome.Started(going.Id, cookie, true);
        }
        var id = SessionId.New();
        work.Write($"""
            insert into sessions.sessions (id, cookie_hash, person, card, terminal, address, epoch, acr, amr, attested, auth_time, started_at, seen_at, expires_at, card_out)
            values ({id}, {Secret.Hash(cookie)}, {proven.Person}, {proven.Card}, {proven.Terminal}, {proven.Address}, {proven.Epoch}, {proven.Acr}, {proven.Amr.ToArray()}, {proven.Attested}, {now}, {now}, clock_timestamp(), clock_timestamp() + {policy.Now.Absolute},
                {(policy.Now.CardOutOf(system) == CardOut.Lock ? "lock" : "terminate")})
            """);
        return new StartOutcome.Started(id, cookie, false);
    }

    /// <summary>Ends what is over but not yet marked, so that the one-live-session rule judges only the living.</summary>
    private Question<List<Narrowed>> Dead(ProvenSignIn proven) => Endings("sessions.end", $"""
        update sessions.sessions s set ended_at = clock_timestamp(), end_reason = case
            when s.expires_at <= clock_timestamp() then 'sessions.absolute-time-out'
            when s.seen_at + {policy.Now.Idle} <= clock_timestamp() then 'sessions.idle-time-out'
            when s.card_out = 'lock' then 'sessions.replaced'
            else 'sessions.lease-lost' end
        where s.ended_at is null and (s.person = {proven.Person} or s.terminal = {proven.Terminal})
          and (s.expires_at <= clock_timestamp() or s.seen_at + {policy.Now.Idle} <= clock_timestamp()
            or (not (s.card_out = 'lock' and s.person = {proven.Person} and s.terminal = {proven.Terminal})
              and (s.locked_at is not null or not exists (select from sessions.leases l, sessions.lease_clock c where l.terminal = s.terminal and l.epoch = s.epoch and l.since <= s.leased_at and (l.until > c.now or l.until > c.held_at and l.heard_at < c.fresh_after)))))
        returning s.id, s.person, s.card, s.terminal, s.end_reason, s.ended_at
        """);

    /// <summary>Somebody else's session at the terminal, or one's own that cannot go on. Asked after the renewal.</summary>
    private static Question<List<Narrowed>> Replaced(ProvenSignIn proven) => Endings("sessions.end", $"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = 'sessions.replaced'
        where terminal = {proven.Terminal} and ended_at is null and not (person = {proven.Person} and card = {proven.Card} and epoch = {proven.Epoch})
        returning id, person, card, terminal, end_reason, ended_at
        """);

    /// <summary>Notes that the session is in use, at most once a minute: the idle time-out starts anew.</summary>
    public async Task SeenAsync(LiveSession session, CancellationToken ct)
    {
        if (session.Unnoticed) await store.ExecuteAsync($"update sessions.sessions set seen_at = clock_timestamp() where id = {session.Id} and ended_at is null and seen_at < clock_timestamp() - interval '1 minute'", ct);
    }

    /// <summary>Ends one session: sign-out. Returns false when it was over already. Throws <see cref="NpgsqlException"/> when the database is away: it must not be called done.</summary>
    public Task<bool> EndAsync(SessionId id, string reason) => EndNowAsync(() => [Endings("sessions.end", $"""
        update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where id = {id} and ended_at is null returning id, person, card, terminal, end_reason, ended_at
        """)]);

    /// <summary>
    /// Ends what lives on a card, of a person or at a terminal, in the unit of work of what ended it: suspension, loss, isolation. The relying parties'
    /// notices are written by the same commit. The caller records the returned events.
    /// </summary>
    public async Task<List<Narrowed>> EndWithinAsync(UnitOfWork work, SessionFilter which, string reason)
    {
        var ended = await work.AskAsync(Endings("sessions.end", $"""
            update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason}
            where ended_at is null and ({which.All} or card = {which.Card} or (person = {which.Person} and ({which.Terminal} is null or terminal = {which.Terminal})) or ({which.Person} is null and terminal = {which.Terminal}))
            returning id, person, card, terminal, end_reason, ended_at
            """), CancellationToken.None);
        work.AfterCommit(() => wakeups.Wake(EndedTopic));
        foreach (var one in ended) work.AfterCommit(() => Ended(log, one.Event.Session!.Value, one.Event.Operation, one.Event.Reason));
        return ended;
    }

    /// <summary>Woken when sessions ended: notices to relying parties wait.</summary>
    public const string EndedTopic = "sessions-ended";

    /// <summary>Ends or locks whatever lives at a terminal with another epoch than <paramref name="epoch"/>: card out, reader gone, agent restarted. Never throws.</summary>
    internal async Task EndByEpochAsync(TerminalId terminal, string epoch, string reason)
    {
        try
        {
            await EndNowAsync(() => [Endings("sessions.lock", $"""
                update sessions.sessions set locked_at = clock_timestamp() where terminal = {terminal} and epoch <> {epoch} and ended_at is null and card_out = 'lock' and locked_at is null
                returning id, person, card, terminal, {reason}, locked_at
                """), Endings("sessions.end", $"""
                update sessions.sessions set ended_at = clock_timestamp(), end_reason = {reason} where terminal = {terminal} and epoch <> {epoch} and ended_at is null and card_out = 'terminate'
                returning id, person, card, terminal, end_reason, ended_at
                """)]);
        }
        catch (NpgsqlException e)
        {
            // Ending never waits: this node refuses by the new epoch at once, the lease runs out by itself, and the sweep marks the row when the database is back.
            EndingSpooled(log, reason, e);
            await spool.KeepAsync([new(new("sessions.end", HistoryOutcome.Ended, reason) { Terminal = terminal }, time.GetUtcNow())]);
        }
    }

    /// <summary>Marks what is over by lease, time-out or date (post, grant or card that ended by itself), with its event. Any node may do it, any number of times.</summary>
    internal Task SweepAsync() => EndNowAsync(() => [Endings("sessions.lock", $"""
        update sessions.sessions s set locked_at = clock_timestamp()
        where s.ended_at is null and s.card_out = 'lock' and s.locked_at is null and not exists (select from sessions.leases l, sessions.lease_clock c where l.terminal = s.terminal and l.epoch = s.epoch and l.since <= s.leased_at and (l.until > c.now or l.until > c.held_at and l.heard_at < c.fresh_after))
        returning s.id, s.person, s.card, s.terminal, 'sessions.lease-lost', s.locked_at
        """), Endings("sessions.end", $"""
        update sessions.sessions s set ended_at = clock_timestamp(), end_reason = case
            when s.expires_at <= clock_timestamp() then 'sessions.absolute-time-out'
            when s.seen_at + {policy.Now.Idle} <= clock_timestamp() then 'sessions.idle-time-out'
            when exists (select from sessions.leases l where l.terminal = s.terminal and l.epoch <> s.epoch) then 'sessions.card-removed'
            when not people.valid_at(s.person, {time.GetUtcNow()}) then 'sessions.person-not-valid'
            when not terminals.may_sit(s.terminal, s.person, {time.GetUtcNow()}) then 'sessions.grant-ended'
            when not cards.usable(s.card, {time.GetUtcNow()}) then 'sessions.card-not-usable'
            else 'sessions.lease-lost' end
        where s.ended_at is null and (s.expires_at <= clock_timestamp() or s.seen_at + {policy.Now.Idle} <= clock_timestamp()
          or not people.valid_at(s.person, {time.GetUtcNow()}) or not terminals.may_sit(s.terminal, s.person, {time.GetUtcNow()}) or not cards.usable(s.card, {time.GetUtcNow()})
          or (s.card_out = 'terminate' and not exists (select from sessions.leases l, sessions.lease_clock c where l.terminal = s.terminal and l.epoch = s.epoch and l.since <= s.leased_at and (l.until > c.now or l.until > c.held_at and l.heard_at < c.fresh_after))))
        returning s.id, s.person, s.card, s.terminal, s.end_reason, s.ended_at
        """)]);

    /// <param name="updates">Makes the statements that lock or end sessions and return them: they may run twice.</param>
    private async Task<bool> EndNowAsync(Func<Question<List<Narrowed>>[]> updates)
    {
        var ended = await spool.NarrowAsync(async work =>
        {
            var asked = updates();
            await work.AskAsync(CancellationToken.None, asked);
            return [.. asked.SelectMany(a => a.Answer)];
        });
        foreach (var one in ended) Ended(log, one.Event.Session!.Value, one.Event.Operation, one.Event.Reason);
        if (ended.Count > 0) wakeups.Wake(EndedTopic);
        return ended.Count > 0;
    }

    private void Record(UnitOfWork work, List<Narrowed> endings)
    {
        foreach (var ending in endings)
        {
            work.Record(ending.Event, ending.At);
            work.AfterCommit(() => Ended(log, ending.Event.Session!.Value, ending.Event.Operation, ending.Event.Reason));
        }
    }

    /// <summary>An ending happens at the database's time: a node whose clock is off still records it right.</summary>
    private static Question<List<Narrowed>> Endings(string operation, Sql update) => Question.All(update, r => new Narrowed(new(operation, HistoryOutcome.Ended, r.GetString(4))
    {
        Session = SessionId.Parse(r.GetString(0)),
        Person = PersonId.Parse(r.GetString(1)),
        Card = CardId.Parse(r.GetString(2)),
        Terminal = TerminalId.Parse(r.GetString(3)),
    }, r.GetFieldValue<DateTimeOffset>(5)));

    [LoggerMessage(LogLevel.Information, "session {Session} {Operation}: {Reason}")]
    private static partial void Ended(ILogger log, SessionId session, string operation, string reason);
    [LoggerMessage(LogLevel.Error, "the end of sessions ({Reason}) could not be written to the history; spooled")]
    private static partial void EndingSpooled(ILogger log, string reason, Exception e);
}
