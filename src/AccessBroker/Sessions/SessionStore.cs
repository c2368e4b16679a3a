using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Sessions;

/// <summary>A session that lives now: its lease holds, its epoch is the terminal's, no time-out has passed.</summary>
public sealed record LiveSession(SessionId Id, PersonId Person, CardId Card, TerminalId Terminal, string Address, string Epoch, string Acr, IReadOnlyList<string> Amr,
    DateTimeOffset AuthTime, DateTimeOffset ExpiresAt)
{
    /// <summary>It lived before the database or the nodes were away; its terminal has not been heard since.</summary>
    internal bool Unconfirmed { get; init; }

    /// <summary>It rests on a passkey whose model is known and trusted.</summary>
    public bool Attested { get; init; }

    /// <summary>Not noted as in use for a minute.</summary>
    internal bool Unnoticed { get; init; }

    /// <summary>The session of the request's cookie, as found when the request came in; null: nobody is signed in.</summary>
    public static LiveSession? Of(HttpContext context) => context.Features.Get<LiveSession>();
}

/// <summary>Right after an outage nobody knows whether the card is still there: 503 until its terminal has been heard again, at most 10 s.</summary>
public sealed class PresenceUnknownException : Exception, IUnavailable
{
    /// <inheritdoc/>
    public string Code => "sessions.presence-unknown";
    /// <inheritdoc/>
    public string Explanation => "端末の状態を確かめています。数秒待ってから、もう一度お試しください。";
    public PresenceUnknownException() : base("the terminal has not been heard since the outage") { }
    public PresenceUnknownException(string message) : base(message) { }
    public PresenceUnknownException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>What a person is shown after sign-in: the last time, and what failed since. <clause>MIC 6.2(4)</clause></summary>
public sealed record LastSession(TerminalId Terminal, DateTimeOffset StartedAt, DateTimeOffset? EndedAt, string? EndReason);

/// <summary>SQL of sessions and leases.</summary>
internal static class SessionStore
{
    private static LiveSession ReadLive(NpgsqlDataReader r) => new(SessionId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), CardId.Parse(r.GetString(2)), TerminalId.Parse(r.GetString(3)),
        r.GetString(4), r.GetString(5), r.GetString(6), r.GetFieldValue<string[]>(7), r.GetFieldValue<DateTimeOffset>(8), r.GetFieldValue<DateTimeOffset>(9))
    { Unnoticed = r.GetBoolean(10), Unconfirmed = r.GetBoolean(11), Attested = r.GetBoolean(12) };

    /// <summary>Whatever finds a session finds only what lives: neither ended nor locked, its lease holding, no time-out passed.</summary>
    private static Sql Live(Sql which, TimeSpan idle) => $"""
        select s.id, s.person, s.card, s.terminal, s.address, s.epoch, s.acr, s.amr, s.auth_time, s.expires_at, s.seen_at < clock_timestamp() - interval '1 minute', l.until <= c.now or l.heard_at < c.fresh_after, s.attested
        from sessions.sessions s join sessions.leases l on l.terminal = s.terminal and l.epoch = s.epoch and l.since <= s.leased_at, sessions.lease_clock c
        where {which} and s.ended_at is null and s.locked_at is null and (l.until > c.now or l.until > c.held_at and l.heard_at < c.fresh_after) and s.expires_at > clock_timestamp() and s.seen_at + {idle} > clock_timestamp()
        """;

    internal static Task<LiveSession?> FindLiveAsync(Store store, SessionId id, TimeSpan idle, CancellationToken ct) => store.FindAsync(Live($"s.id = {id}", idle), ReadLive, ct);

    internal static Task<LiveSession?> FindLiveAsync(UnitOfWork work, SessionId id, TimeSpan idle, CancellationToken ct) => work.FindAsync(Live($"s.id = {id}", idle), ReadLive, ct);

    internal static Question<List<LiveSession>> LiveOf(IReadOnlyCollection<SessionId> ids, TimeSpan idle) => Question.All(Live($"s.id = any({ids.Select(i => i.Value).ToArray()})", idle), ReadLive);

    internal static Task<LiveSession?> FindLiveByCookieAsync(Store store, byte[] cookieHash, TimeSpan idle, CancellationToken ct) => store.FindAsync(Live($"s.cookie_hash = {cookieHash}", idle), ReadLive, ct);

    internal static Question<LastSession?> FindLast(PersonId person, SessionId current) => Question.First($"""
        select terminal, started_at, ended_at, end_reason from sessions.sessions where person = {person} and id <> {current} order by started_at desc limit 1
        """, r => new LastSession(TerminalId.Parse(r.GetString(0)), r.GetFieldValue<DateTimeOffset>(1), r.IsDBNull(2) ? null : r.GetFieldValue<DateTimeOffset>(2), r.IsDBNull(3) ? null : r.GetString(3)));

    /// <summary>The lease of a terminal with this epoch holds now: the card has been there since.</summary>
    /// <returns>The system of the terminal; null: it does not hold.</returns>
    internal static Question<string?> FindLeasedSystem(TerminalId terminal, string epoch) =>
        Question.First($"select l.system from sessions.leases l, sessions.lease_clock c where l.terminal = {terminal} and l.epoch = {epoch} and l.until > c.now and l.heard_at >= c.fresh_after for share of l", r => r.GetString(0));

    /// <summary>Where the person has a session, other than here.</summary>
    internal static Question<string?> FindElsewhere(PersonId person, TerminalId terminal) =>
        Question.First($"select terminal from sessions.sessions where person = {person} and ended_at is null and terminal <> {terminal}", r => r.GetString(0));

    internal sealed record Renewed(SessionId Id, bool WasLocked);

    /// <summary>The person's session at this terminal, proven anew: with the card still in, or locked. Null: there is none to go on with.</summary>
    internal static Question<Renewed?> Renew(ProvenSignIn proven, byte[] cookieHash, DateTimeOffset now) => Question.First($"""
        with found as (
            select id, card_out = 'lock' and (locked_at is not null or epoch <> {proven.Epoch}) as locked from sessions.sessions
            where person = {proven.Person} and terminal = {proven.Terminal} and ended_at is null and ((card = {proven.Card} and epoch = {proven.Epoch}) or card_out = 'lock') for update)
        update sessions.sessions s set auth_time = {now}, seen_at = clock_timestamp(), cookie_hash = {cookieHash}, acr = {proven.Acr}, amr = {proven.Amr.ToArray()}, attested = {proven.Attested},
            card = {proven.Card}, epoch = {proven.Epoch}, address = {proven.Address}, locked_at = null, leased_at = clock_timestamp()
        from found where s.id = found.id returning s.id, found.locked
        """, r => new Renewed(SessionId.Parse(r.GetString(0)), r.GetBoolean(1)));
}
