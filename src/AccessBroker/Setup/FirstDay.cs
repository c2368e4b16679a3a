using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;

namespace AccessBroker.Setup;

/// <summary>
/// <c>AccessBroker init</c>: the first 管理者, the first PIN manager and the issuing station of an empty register. Both people come to the station with
/// their single-use codes and get their cards; then it is closed for ever. There is no default administrator. <clause>MIC 6.2(1)③(カ)</clause>
/// </summary>
internal sealed class FirstDay(Store store, TimeProvider time)
{
    /// <summary>Ours: 8 h from the codes to the cards, 2 h at the station.</summary>
    private static readonly TimeSpan CodesLive = TimeSpan.FromHours(8), SessionLives = TimeSpan.FromHours(2);

    /// <summary>What the city gives: two people, one section each, the station.</summary>
    internal sealed record Given(FirstPerson Administrator, FirstPerson PinManager, FirstTerminal Station);
    internal sealed record FirstPerson(string StaffNumber, string Name, string Kana, string Section, string Post);
    internal sealed record FirstTerminal(string Id, string Name, string Place, string System, string Address);

    /// <summary>What is printed once: each code for its person, the enrolment code for the station.</summary>
    internal sealed record Codes(string Administrator, string PinManager, string Enrolment);

    /// <summary>As the owner role, once, on an empty register. Throws <see cref="InvalidOperationException"/> with what stands against it.</summary>
    internal static async Task<Codes> BeginAsync(Store owner, Given given, TimeProvider time, CancellationToken ct)
    {
        if (given.Administrator.StaffNumber == given.PinManager.StaffNumber) throw new InvalidOperationException("the administrator and the PIN manager must be two people (CRD-03)");
        if (!given.Administrator.StaffNumber.All(char.IsAsciiLetterOrDigit) || !given.PinManager.StaffNumber.All(char.IsAsciiLetterOrDigit)) throw new InvalidOperationException("staff numbers must be letters and digits");
        var now = time.GetUtcNow();
        await using var work = await owner.BeginAsync(ct);
        if (await work.AskAsync(PeopleRegister.WholeAt(now), ct) is { Count: > 0 }) throw new InvalidOperationException("there are people on the register already; 'init' is for the first day only");
        var (administrator, manager) = (await AddAsync(work, given.Administrator, "administrator", now, ct), await AddAsync(work, given.PinManager, "pin-manager", now, ct));
        var station = TerminalId.Parse(given.Station.Id);
        await TerminalRegister.AddFirstAsync(work, station, given.Station.Name, administrator, given.Station.Place, given.Station.System, given.Station.Address, [administrator, manager], now, ct);
        var codes = new Codes(Secret.New(16), Secret.New(16), Secret.New(16));
        await work.ExecuteAsync($"""
            insert into setup.first_day (administrator, pin_manager, terminal, administrator_code, pin_manager_code, begun_at)
            values ({administrator}, {manager}, {station}, {Secret.Hash(codes.Administrator)}, {Secret.Hash(codes.PinManager)}, {now})
            """, ct);
        TerminalRegister.AddEnrolmentCode(work, station, codes.Enrolment, now + CodesLive);
        work.Enter("terminals", station.Value, "最初の日", "setup", new Dictionary<string, string> { ["name"] = given.Station.Name, ["place"] = given.Station.Place, ["system"] = given.Station.System, ["address"] = given.Station.Address, ["responsible"] = administrator.Value, ["state"] = "in-use" }, now);
        work.Record(new("setup.init", HistoryOutcome.Done) { Terminal = station, Details = new Dictionary<string, string> { ["administrator"] = administrator.Value, ["pinManager"] = manager.Value } }, now);
        await work.CommitAsync(ct);
        return codes;
    }

    /// <summary>As the owner role: new codes for a first day that is not over, in place of codes that were lost or used up. Throws when there is none.</summary>
    internal static async Task<Codes> RenewAsync(Store owner, TimeProvider time, CancellationToken ct)
    {
        var (now, codes) = (time.GetUtcNow(), new Codes(Secret.New(16), Secret.New(16), Secret.New(16)));
        await using var work = await owner.BeginAsync(ct);
        var station = await work.QueryAsync($"""
            update setup.first_day set administrator_code = {Secret.Hash(codes.Administrator)}, pin_manager_code = {Secret.Hash(codes.PinManager)}, begun_at = {now}, session_hash = null where closed_at is null returning terminal
            """, r => TerminalId.Parse(r.GetString(0)), ct);
        if (station is not [var one]) throw new InvalidOperationException("there is no first day in progress");
        TerminalRegister.AddEnrolmentCode(work, one, codes.Enrolment, now + CodesLive);
        work.Record(new("setup.new-codes", HistoryOutcome.Done) { Terminal = one }, now);
        await work.CommitAsync(ct);
        return codes;
    }

    private static async Task<PersonId> AddAsync(UnitOfWork work, FirstPerson person, string role, DateTimeOffset now, CancellationToken ct)
    {
        var id = PersonId.Parse($"p-{person.StaffNumber.ToLowerInvariant()}");
        await PeopleChanges.AddAsync(work, id, person.Name, person.Kana, person.StaffNumber, "regular", null, now.AddMinutes(-1), null, [new(person.Post, person.Section, role)], ct);
        work.Enter("user-ids", id.Value, "最初の日", "setup", new Dictionary<string, string> { ["name"] = person.Name, ["staffNumber"] = person.StaffNumber, ["section"] = person.Section, ["post"] = person.Post, ["employment"] = "regular" }, now);
        return id;
    }

    /// <summary>The state of the first day as the page needs it; null: there was none, or it is closed.</summary>
    internal sealed record State(PersonId Administrator, PersonId PinManager, TerminalId Terminal, bool InSession, IReadOnlyList<PersonId> Missing);

    /// <summary>Open at this station only, and for this browser once both codes were given.</summary>
    internal async Task<State?> FindAsync(string? cookie, string? address, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var found = await work.AskAsync(Question.First($"""
            select administrator, pin_manager, terminal, session_hash = {Secret.Hash(cookie ?? "")} and session_until > clock_timestamp() from setup.first_day where closed_at is null and begun_at > {time.GetUtcNow() - CodesLive}
            """, r => new State(PersonId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), TerminalId.Parse(r.GetString(2)), !r.IsDBNull(3) && r.GetBoolean(3), [])), ct);
        if (found is null || await work.AskAsync(TerminalRegister.Find(found.Terminal), ct) is not { } terminal || terminal.Address != address) return null;
        var missing = new List<PersonId>();
        foreach (var person in (PersonId[])[found.Administrator, found.PinManager]) if ((await work.AskAsync(CardRegister.OfPerson(person), ct)).TrueForAll(c => c.State != "handed-over")) missing.Add(person);
        return found with { Missing = missing };
    }

    /// <summary>Both codes at once, used up together: the cookie for this browser; null: one is wrong, or they were used.</summary>
    internal async Task<string?> EnterAsync(string? administrator, string? manager, CancellationToken ct)
    {
        var cookie = Secret.New();
        await using var work = await store.BeginAsync(ct);
        var entered = Secret.Fits(administrator) && Secret.Fits(manager) && await work.ExecuteAsync($"""
            update setup.first_day set session_hash = {Secret.Hash(cookie)}, session_until = clock_timestamp() + {SessionLives}, administrator_code = {Secret.Hash(Secret.New())}, pin_manager_code = {Secret.Hash(Secret.New())}
            where closed_at is null and begun_at > {time.GetUtcNow() - CodesLive} and administrator_code = {Secret.Hash(administrator!)} and pin_manager_code = {Secret.Hash(manager!)}
            """, ct) == 1;
        work.Record(new("setup.enter", entered ? HistoryOutcome.Done : HistoryOutcome.Refused, entered ? "" : "setup.codes-wrong"), time.GetUtcNow());
        await work.CommitAsync(ct);
        return entered ? cookie : null;
    }

    /// <summary>Closes the first day when both have their cards.</summary>
    internal async Task CloseAsync(CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.ExecuteAsync($"update setup.first_day set closed_at = {time.GetUtcNow()}, session_hash = null where closed_at is null", ct) == 0) return;
        work.Record(new("setup.close", HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
    }
}
