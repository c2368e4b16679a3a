using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Privileged;

/// <summary>A privileged session as it stands.</summary>
/// <param name="State">opening, open, ending, ended.</param>
/// <param name="Place">Account, host, port and so on, as the target's agent said; null before it is open.</param>
public sealed record PrivilegedSession(string Id, long? Request, string Work, string Target, string Kind, PersonId Person, TerminalId Terminal, SessionId Session, string Address, string Reason, string Ticket, IReadOnlyList<string> Approvers,
    DateTimeOffset StartedAt, DateTimeOffset EndsAt, string State, JsonElement? Place, string? EndReason, DateTimeOffset? EndedAt, double? EndedIn, int? LeftOver, IReadOnlyList<string> Found, string? Result, string? ReviewedBy, DateTimeOffset? ReviewedAt, string? Finding,
    SecondPerson? Second)
{
    /// <summary>When it was read, by the database's clock: a node whose own clock has jumped neither ends nor prolongs anything.</summary>
    internal DateTimeOffset ReadAt { get; init; }
    /// <summary>Until its end; 0 or less: it is over.</summary>
    internal TimeSpan Left => EndsAt - ReadAt;
    /// <summary>Begun without prior approval. <clause>MIC 7.4(2)</clause></summary>
    public bool IsEmergency => Request is null;
    /// <summary>A target's agent opens and ends it.</summary>
    internal bool HasAgent => PrivilegedPolicy.HasAgent(Kind);
    /// <summary>Something of it may still run.</summary>
    public bool IsRunning => State != "ended";
    /// <summary>Its target did not open it: nothing was done, and there is nothing to tell or to look at.</summary>
    public bool NeverOpened => !IsRunning && HasAgent && Place is null;
    /// <summary>Who closed it in place of its agent, and how they made sure that nothing runs; null: its agent did. <clause>MIC 6.2(6)</clause></summary>
    public (string By, string Note)? Closed { get; init; }
    /// <summary>A reviewer has found something that is not right; null: nobody has looked yet.</summary>
    public bool? Concern { get; init; }
}

/// <summary>Two-person work. <clause>MIC 6.1(4)③</clause></summary>
/// <param name="HeldAt">Since when it stands still; null: it goes on.</param>
/// <param name="Present">Who watches; null: nobody.</param>
/// <param name="SignIn">The sign-in of whoever watches.</param>
/// <param name="AloneSince">Since when nobody has watched, if nobody does; null: it is not open yet.</param>
/// <param name="Witnesses">Everybody who has watched.</param>
public sealed record SecondPerson(DateTimeOffset? HeldAt, PersonId? Present, SessionId? SignIn, DateTimeOffset? AloneSince, IReadOnlyList<string> Witnesses);

/// <summary>SQL of privileged sessions.</summary>
internal static class PrivilegedStore
{
    private static Sql Select(Sql which) => $"""
        select id, request, work, target, kind, person, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, place, end_reason, ended_at, ended_in, left_over, found, result, reviewed_by, reviewed_at, finding,
          two_person, held_at, case when two_person then array(select w.person || ' ' || w.sign_in from privileged.witnesses w where w.session = s.id and w.left_at is null and w.seen_at > clock_timestamp() - interval '3 seconds') end,
          case when two_person then coalesce((select max(coalesce(w.left_at, w.seen_at)) from privileged.witnesses w where w.session = s.id), opened_at) end, case when two_person then array(select distinct w.person from privileged.witnesses w where w.session = s.id) end,
          clock_timestamp(), concern, closed_by, closed_note
        from privileged.sessions s where {which}
        """;

    internal static Question<PrivilegedSession?> Find(string id) => Question.First(Select($"id = {id}"), Read);
    internal static Question<PrivilegedSession?> Lock(string id) => Question.First(Select($"id = {id} for update"), Read);
    internal static Question<List<PrivilegedSession>> Running() => Question.All(Select($"ended_at is null order by ends_at"), Read);
    /// <summary>What runs at these targets; and what no agent looks after, which is every node's: files, systems, and what was begun at a target that is attached nowhere.</summary>
    internal static Question<List<PrivilegedSession>> RunningAt(string[] targets, TimeSpan openWithin) => Question.All(Select($"""
        ended_at is null and (target = any({targets}) or kind in ('files', 'oidc')
          or place is null and started_at < clock_timestamp() - {openWithin} and not {Attached($"s.target")})
        """), Read);
    /// <summary>The target's agent was attached to some node just now.</summary>
    internal static Question<bool> IsAttached(string target) => Question.Any($"select where {Attached($"{target}")}");
    private static Sql Attached(Sql target) => $"exists (select from privileged.agents a where a.target = {target} and a.revoked_at is null and a.seen_at > clock_timestamp() - interval '10 seconds')";
    /// <summary>What is open and hangs on this sign-in.</summary>
    internal static Question<List<PrivilegedSession>> OpenOf(SessionId session) => Question.All(Select($"session = {session} and state = 'open'"), Read);
    internal static Question<List<PrivilegedSession>> Latest(PersonId? person, int count) => Question.All(Select($"({person} is null or person = {person}) and ended_at is not null order by started_at desc limit {count}"), Read);
    /// <inheritdoc cref="PrivilegedSession.NeverOpened"/>
    private static Sql NeverOpened => $"(ended_at is not null and place is null and kind not in ('files', 'oidc'))";
    /// <summary>Ended, but without a result or its review.</summary>
    internal static Question<List<PrivilegedSession>> Unfinished() => Question.All(Select($"ended_at is not null and (result is null or reviewed_at is null) and not {NeverOpened} order by started_at limit 200"), Read);

    internal static Question<long> EmergenciesSince(PersonId person, DateTimeOffset since) => Question.All($"select count(*) from privileged.sessions where person = {person} and request is null and started_at > {since} and not {NeverOpened}", r => r.GetInt64(0)).Select(r => r[0]);
    /// <summary>An emergency of this person, or on this target, that nobody has reviewed yet.</summary>
    internal static Question<bool> HasUnreviewedEmergency(PersonId person, string target) => Question.Any($"select from privileged.sessions where request is null and reviewed_at is null and (person = {person} or target = {target}) and not {NeverOpened}");

    /// <summary>What is stopped for a session of this kind; null: nothing.</summary>
    internal static Question<string?> StopOn(PersonId person, string target, string work) => Question.First($"""
        select scope from privileged.stops where lifted_at is null and (scope = 'everyone' or scope = 'person' and value = {person} or scope = 'target' and value = {target} or scope = 'work' and value = {work}) limit 1
        """, r => r.GetString(0));

    /// <summary>The session of this opening of recurring work has been.</summary>
    internal static Question<bool> HasOccurred(long request, DateOnly day) => Question.Any($"select from privileged.sessions where request = {request} and occurrence = {day}");

    internal static void Add(UnitOfWork work, PrivilegedSession session, CardId card, DateOnly? occurrence) => work.Write($"""
        insert into privileged.sessions (id, request, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, two_person, occurrence)
        values ({session.Id}, {session.Request?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {session.Work}, {session.Target}, {session.Kind}, {session.Person}, {card}, {session.Terminal}, {session.Session}, {session.Address}, {session.Reason}, {session.Ticket}, {session.Approvers.ToArray()}, {session.StartedAt}, {session.EndsAt}, {session.State}, {session.Second is not null}, {occurrence?.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture)}::date)
        """);

    internal static void Keep(UnitOfWork work, string session, ConfirmedOperation operation, OperationSignature proof)
    {
        var (card, key) = (proof as OperationSignature.OfCard, proof as OperationSignature.OfPasskey);
        work.Write($"""
            insert into privileged.signatures (session, document, signed, signature, certificate, card, public_key, authenticator, client)
            values ({session}, {operation.Text}, {proof.Content}, {proof.Signature}, {card?.Certificate}, {key?.Card.Value}, {key?.PublicKey}, {key?.Authenticator}, {key?.Client})
            """);
    }

    /// <summary>What whoever began it signed; empty: they proved themselves with something that signs nothing.</summary>
    internal static Question<List<SignedApproval>> StartOf(string session) => Question.All($"select g.document, g.certificate, g.signed, g.signature, g.card, g.public_key, g.authenticator, g.client, s.started_at from privileged.signatures g join privileged.sessions s on s.id = g.session where g.session = {session}",
        r => new SignedApproval("start", r.GetString(0), ApprovalSignatures.Read(r, 1)!, r.GetFieldValue<DateTimeOffset>(8)));

    private static PrivilegedSession Read(NpgsqlDataReader r) => new(r.GetString(0), r.IsDBNull(1) ? null : r.GetInt64(1), r.GetString(2), r.GetString(3), r.GetString(4), PersonId.Parse(r.GetString(5)), TerminalId.Parse(r.GetString(6)), SessionId.Parse(r.GetString(7)), r.GetString(8), r.GetString(9), r.GetString(10), r.GetFieldValue<string[]>(11),
        r.GetFieldValue<DateTimeOffset>(12), r.GetFieldValue<DateTimeOffset>(13), r.GetString(14), r.IsDBNull(15) ? null : JsonElement.Parse(r.GetString(15)), Text(r, 16), Time(r, 17), r.IsDBNull(18) ? null : r.GetDouble(18), r.IsDBNull(19) ? null : r.GetInt32(19), r.IsDBNull(20) ? [] : r.GetFieldValue<string[]>(20),
        Text(r, 21), Text(r, 22), Time(r, 23), Text(r, 24), r.GetBoolean(25) ? SecondOf(r) : null)
    { ReadAt = r.GetFieldValue<DateTimeOffset>(30), Concern = r.IsDBNull(31) ? null : r.GetBoolean(31), Closed = r.IsDBNull(32) ? null : (r.GetString(32), r.GetString(33)) };

    private static SecondPerson SecondOf(NpgsqlDataReader r)
    {
        var present = r.GetFieldValue<string[]>(27).FirstOrDefault()?.Split(' ');
        return new(Time(r, 26), present is null ? null : PersonId.Parse(present[0]), present is null ? null : SessionId.Parse(present[1]), Time(r, 28), r.GetFieldValue<string[]>(29));
    }

    private static string? Text(NpgsqlDataReader r, int column) => r.IsDBNull(column) ? null : r.GetString(column);
    private static DateTimeOffset? Time(NpgsqlDataReader r, int column) => r.IsDBNull(column) ? null : r.GetFieldValue<DateTimeOffset>(column);
}
