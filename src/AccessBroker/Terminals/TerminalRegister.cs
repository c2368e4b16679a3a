using AccessBroker.Database;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using Npgsql;

namespace AccessBroker.Terminals;

/// <summary>A registered terminal.</summary>
/// <param name="Address">The network address its browser and its agent come from. <clause>MIC 6.2(3)</clause></param>
/// <param name="InUse">False for disabled and lost terminals: nothing works there.</param>
public sealed record Terminal(TerminalId Id, string Name, string Place, string System, string Address, bool InUse);

/// <summary>A terminal with everything the register of configuration keeps. <clause>INA 第14(5)</clause></summary>
/// <param name="State">in-use, disabled, lost, isolated, out, quarantine.</param>
/// <param name="Link">wired or wifi.</param>
/// <param name="Fingerprint">Of the configuration as approved; empty until the first attach.</param>
/// <param name="Reported">As last reported by the agent.</param>
public sealed record TerminalLine(TerminalId Id, string Name, PersonId Responsible, string Place, string System, string Address, string State, string Segment, string Link, bool Mobile, string Mac, string Fingerprint, string Reported, DateTimeOffset ChangedAt)
{
    /// <summary>Its clock minus ours when it last attached; null: it has not said.</summary>
    public TimeSpan? ClockOffset { get; init; }

    /// <summary>As the register of configuration enters it.</summary>
    public Dictionary<string, string> Entry() => new()
    {
        ["name"] = Name,
        ["responsible"] = Responsible.Value,
        ["place"] = Place,
        ["system"] = System,
        ["segment"] = Segment,
        ["link"] = Link,
        ["address"] = Address,
        ["mac"] = Mac,
        ["fingerprint"] = Fingerprint,
        ["state"] = State,
    };
}

/// <summary>Who may sit at a terminal, from when to when, and by whose approval. <clause>MOJ 第5-4(1)</clause></summary>
public sealed record Seat(TerminalId Terminal, PersonId Person, PersonId ApprovedBy, string Reason, DateTimeOffset ValidFrom, DateTimeOffset? ValidUntil);

/// <summary>The register of terminals: the public queries of this slice.</summary>
public static class TerminalRegister
{
    /// <summary>The terminal, or null when there is none of that id.</summary>
    public static Question<Terminal?> Find(TerminalId terminal) => Question.First($"select id, name, place, system, address, state from terminals.terminals where id = {terminal}", Read);

    /// <inheritdoc cref="Find"/>
    public static Task<Terminal?> FindAsync(UnitOfWork work, TerminalId terminal, CancellationToken ct) => work.AskAsync(Find(terminal), ct);

    /// <summary>True when an approved grant lets the person sit there at <paramref name="at"/>. Default: no. <clause>MOJ 第5-4(1)</clause></summary>
    public static Question<bool> HasGrant(TerminalId terminal, PersonId person, DateTimeOffset at) =>
        Question.Any($"select from terminals.grants where terminal = {terminal} and person = {person} and valid_from <= {at} and (valid_until is null or valid_until > {at})");

    /// <summary>True while the terminal is in use and the certificate it attached with is neither revoked nor over: asked again at every sign-in. <clause>MIC 6.2(3)</clause></summary>
    public static Question<bool> IsInGoodStanding(AttachedTerminal attached, DateTimeOffset at) =>
        FindByCertificate([.. attached.Certificate], at).Select(terminal => terminal is { InUse: true } && terminal.Id == attached.Terminal.Id);

    /// <summary>The terminal whose valid, unrevoked certificate has this SHA-256 thumbprint, or null.</summary>
    internal static Question<Terminal?> FindByCertificate(byte[] thumbprint, DateTimeOffset at) => Question.First($"""
        select t.id, t.name, t.place, t.system, t.address, t.state from terminals.certificates c join terminals.terminals t on t.id = c.terminal
        where c.thumbprint = {thumbprint} and c.revoked_at is null and c.expires_at > {at}
        """, Read);

    /// <summary>Of all terminals, whatever their state.</summary>
    public static Question<List<string>> Ids() => Question.All($"select id from terminals.terminals", r => r.GetString(0));

    /// <summary>The whole line of one terminal, or null.</summary>
    public static Question<TerminalLine?> FindLine(TerminalId terminal) => Question.First($"{Line()} where id = {terminal}", ReadLine);

    /// <summary>Terminals whose id, name, place or system contains <paramref name="text"/>, by id, at most <paramref name="count"/>.</summary>
    public static Question<List<TerminalLine>> Search(string text, int count = 500)
    {
        var like = $"%{text.Trim().Replace("%", "\\%", StringComparison.Ordinal).Replace("_", "\\_", StringComparison.Ordinal)}%";
        return Question.All($"{Line()} where {text.Trim().Length == 0} or id like {like} or name like {like} or place like {like} or system like {like} order by id limit {count}", ReadLine);
    }

    /// <summary>Seats at a terminal, or of a person, valid at <paramref name="at"/> or later.</summary>
    public static Question<List<Seat>> Seats(TerminalId? terminal, PersonId? person, DateTimeOffset at) => Question.All($"""
        select terminal, person, approved_by, reason, valid_from, valid_until from terminals.grants
        where ({terminal} is null or terminal = {terminal}) and ({person} is null or person = {person}) and (valid_until is null or valid_until > {at}) order by terminal, person, valid_from
        """, r => new Seat(TerminalId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), PersonId.Parse(r.GetString(2)), r.GetString(3), r.GetFieldValue<DateTimeOffset>(4), r.IsDBNull(5) ? null : r.GetFieldValue<DateTimeOffset>(5)));

    /// <summary>Ends seats of a person at <paramref name="at"/>, and says so in the register: all on a leave; on a transfer those that began before it. <clause>MIC 6.2(1)②</clause></summary>
    public static async Task EndSeatsAsync(UnitOfWork work, PersonId person, DateTimeOffset at, PersonId by, string why, bool all, CancellationToken ct)
    {
        var ended = await work.QueryAsync($"""
            update terminals.grants set valid_until = greatest({at}, valid_from) where person = {person} and (valid_until is null or valid_until > {at}) and ({all} or valid_from < {at}) returning terminal
            """, r => r.GetString(0), ct);
        foreach (var terminal in ended.Distinct()) work.Enter("seats", $"{terminal}/{person}", why, by.Value, new Dictionary<string, string> { ["terminal"] = terminal, ["person"] = person.Value, ["reason"] = why }, at, removed: true);
    }

    private static Sql Line() => $"select id, name, responsible_person, place, system, address, state, segment, link, mobile, mac, fingerprint, reported, changed_at, clock_offset_ms from terminals.terminals";

    private static TerminalLine ReadLine(NpgsqlDataReader r) => new(TerminalId.Parse(r.GetString(0)), r.GetString(1), PersonId.Parse(r.GetString(2)), r.GetString(3), r.GetString(4), r.GetString(5), r.GetString(6), r.GetString(7), r.GetString(8), r.GetBoolean(9), r.GetString(10), r.GetString(11), r.GetString(12), r.GetFieldValue<DateTimeOffset>(13)) { ClockOffset = r.IsDBNull(14) ? null : TimeSpan.FromMilliseconds(r.GetInt64(14)) };

    /// <summary>Which of these certificates (SHA-256 thumbprints) still stand, in upper-case hex.</summary>
    internal static Question<HashSet<string>> InGoodStanding(byte[][] thumbprints, DateTimeOffset at) => Question.All($"""
        select c.thumbprint from terminals.certificates c join terminals.terminals t on t.id = c.terminal
        where c.thumbprint = any({thumbprints}) and c.revoked_at is null and c.expires_at > {at} and t.state = 'in-use'
        """, r => Convert.ToHexString(r.GetFieldValue<byte[]>(0))).Select(rows => rows.ToHashSet());

    /// <summary>The first terminal of a city, in use, with seats for the first people; there is nobody yet to approve it.</summary>
    public static async Task AddFirstAsync(UnitOfWork work, TerminalId id, string name, PersonId responsible, string place, string system, string address, IEnumerable<PersonId> seats, DateTimeOffset at, CancellationToken ct)
    {
        var context = Context(work);
        context.Add(new TerminalRow { Id = id.Value, Name = name, ResponsiblePerson = responsible.Value, Place = place, System = system, Address = address, State = "in-use", ChangedAt = at });
        await context.SaveChangesAsync(ct);
        context.AddRange(seats.Select(p => new GrantRow { Terminal = id.Value, Person = p.Value, ApprovedBy = responsible.Value, Reason = "最初の日", ValidFrom = at.AddMinutes(-1) }));
        await context.SaveChangesAsync(ct);
    }

    /// <summary>A one-time code for the terminal's agent.</summary>
    public static void AddEnrolmentCode(UnitOfWork work, TerminalId terminal, string code, DateTimeOffset until) =>
        work.Write($"insert into terminals.enrolment_codes (code_hash, terminal, expires_at) values ({Secret.Hash(code)}, {terminal}, {until})");

    internal static TerminalsContext Context(UnitOfWork work) => work.Context<TerminalsContext>(o => new(o));

    private static Terminal Read(NpgsqlDataReader r) => new(TerminalId.Parse(r.GetString(0)), r.GetString(1), r.GetString(2), r.GetString(3), r.GetString(4), r.GetString(5) == "in-use");
}
