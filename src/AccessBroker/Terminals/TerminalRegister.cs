using AccessBroker.Database;
using AccessBroker.Primitives;
using Microsoft.EntityFrameworkCore;

namespace AccessBroker.Terminals;

/// <summary>A registered terminal.</summary>
/// <param name="Address">The network address its browser and its agent come from. <clause>MIC 6.2(3)</clause></param>
/// <param name="InUse">False for disabled and lost terminals: nothing works there.</param>
public sealed record Terminal(TerminalId Id, string Name, string Place, string System, string Address, bool InUse);

/// <summary>The register of terminals: the public queries of this slice.</summary>
public static class TerminalRegister
{
    /// <summary>The terminal, or null when there is none of that id.</summary>
    public static async Task<Terminal?> FindAsync(UnitOfWork work, TerminalId terminal, CancellationToken ct) =>
        await Context(work).Terminals.AsNoTracking().SingleOrDefaultAsync(t => t.Id == terminal.Value, ct) is { } row ? Read(row) : null;

    /// <summary>True when an approved grant lets the person sit there at <paramref name="at"/>. Default: no. <clause>MOJ 第5-4(1)</clause></summary>
    public static Task<bool> HasGrantAsync(UnitOfWork work, TerminalId terminal, PersonId person, DateTimeOffset at, CancellationToken ct) =>
        Context(work).Grants.AnyAsync(g => g.Terminal == terminal.Value && g.Person == person.Value && g.ValidFrom <= at && (g.ValidUntil == null || g.ValidUntil > at), ct);

    /// <summary>True while the terminal is in use and the certificate it attached with is neither revoked nor over: asked again at every sign-in. <clause>MIC 6.2(3)</clause></summary>
    public static async Task<bool> IsInGoodStandingAsync(UnitOfWork work, AttachedTerminal attached, DateTimeOffset at, CancellationToken ct) =>
        await FindByCertificateAsync(work, [.. attached.Certificate], at, ct) is { InUse: true } terminal && terminal.Id == attached.Terminal.Id;

    /// <summary>The terminal whose valid, unrevoked certificate has this SHA-256 thumbprint, or null.</summary>
    internal static async Task<Terminal?> FindByCertificateAsync(UnitOfWork work, byte[] thumbprint, DateTimeOffset at, CancellationToken ct)
    {
        var id = await work.FindAsync($"select terminal from terminals.certificates where thumbprint = {thumbprint} and revoked_at is null and expires_at > {at}", r => r.GetString(0), ct);
        return id is null ? null : await FindAsync(work, TerminalId.Parse(id), ct);
    }

    internal static TerminalsContext Context(UnitOfWork work) => work.Context<TerminalsContext>(o => new(o));

    private static Terminal Read(TerminalRow row) => new(TerminalId.Parse(row.Id), row.Name, row.Place, row.System, row.Address, row.State == "in-use");
}
