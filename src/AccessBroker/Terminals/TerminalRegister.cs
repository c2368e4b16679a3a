using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Terminals;

/// <summary>A registered terminal.</summary>
/// <param name="Address">The network address its browser and its agent come from. <clause>MIC 6.2(3)</clause></param>
/// <param name="InUse">False for disabled and lost terminals: nothing works there.</param>
public sealed record Terminal(TerminalId Id, string Name, string Place, string System, string Address, bool InUse);

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

    internal static TerminalsContext Context(UnitOfWork work) => work.Context<TerminalsContext>(o => new(o));

    private static Terminal Read(NpgsqlDataReader r) => new(TerminalId.Parse(r.GetString(0)), r.GetString(1), r.GetString(2), r.GetString(3), r.GetString(4), r.GetString(5) == "in-use");
}
