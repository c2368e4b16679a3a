using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Primitives;

namespace AccessBroker.Terminals;

/// <summary>
/// A terminal's agent gets its certificate once, with a one-time code that the administrator took to the terminal. The key was made there
/// and stays there; the broker sees a certification request (PKCS #10). <clause>MIC 6.2(3)</clause>
/// </summary>
internal sealed class EnrolTerminal(Store store, CertificateAuthorities authorities, Coalescer coalescer, TimeProvider time)
{
    /// <summary>Ours: a code is good for 24 h, a certificate for 400 days.</summary>
    internal static readonly TimeSpan CodeLifetime = TimeSpan.FromHours(24), CertificateLifetime = TimeSpan.FromDays(400);
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    internal sealed record Request(string Code, string CertificationRequest);
    internal sealed record Enrolled(string Terminal, string Name, string Certificate);

    /// <summary>A new one-time code, shown once. <paramref name="by"/> is null on the server's own command line. Throws when there is no such terminal.</summary>
    internal async Task<string> MakeCodeAsync(TerminalId terminal, PersonId? by, CancellationToken ct)
    {
        var code = Secret.New(16);
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync($"insert into terminals.enrolment_codes (code_hash, terminal, expires_at) values ({Secret.Hash(code)}, {terminal}, {time.GetUtcNow() + CodeLifetime})", ct);
        work.Record(new("terminals.make-enrolment-code", HistoryOutcome.Done) { Person = by, Terminal = terminal }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return code;
    }

    /// <summary>The certificate, or null: the code is unknown, used or over, the request is not well-formed, or it comes from another address.</summary>
    internal async Task<Enrolled?> RunAsync(Request request, string? address, CancellationToken ct)
    {
        if (!Secret.Fits(request.Code) || ReadPublicKey(request.CertificationRequest) is not { } publicKey) return Refused("terminals.enrolment-malformed", address);
        await using var work = await store.BeginAsync(ct);
        var taken = await work.FindAsync($"""
            update terminals.enrolment_codes set used_at = clock_timestamp()
            where code_hash = {Secret.Hash(request.Code)} and used_at is null and expires_at > clock_timestamp() returning terminal
            """, r => r.GetString(0), ct);
        if (taken is null) return Refused("terminals.enrolment-code-unknown", address);
        var terminal = (await TerminalRegister.FindAsync(work, TerminalId.Parse(taken), ct))!;
        // Not committed: the code is still good where it belongs.
        if (terminal.Address != address || !terminal.InUse) return Refused("terminals.enrolment-elsewhere", address);
        using var certificate = authorities.Terminals.Issue(terminal.Id.Value, publicKey, [ClientAuthentication], time.GetUtcNow(), CertificateLifetime);
        await work.ExecuteAsync($"""
            update terminals.certificates set revoked_at = clock_timestamp() where terminal = {terminal.Id} and revoked_at is null
            """, ct);
        await work.ExecuteAsync($"""
            insert into terminals.certificates (thumbprint, terminal, enrolled_at, expires_at)
            values ({certificate.GetCertHash(HashAlgorithmName.SHA256)}, {terminal.Id}, {time.GetUtcNow()}, {new DateTimeOffset(certificate.NotAfter.ToUniversalTime())})
            """, ct);
        work.Record(new("terminals.enrol", HistoryOutcome.Done) { Terminal = terminal.Id, Address = address, Details = new Dictionary<string, string> { ["serial"] = certificate.SerialNumber } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new(terminal.Id.Value, terminal.Name, certificate.ExportCertificatePem());
    }

    private Enrolled? Refused(string reason, string? address)
    {
        coalescer.Add(new("terminals.enrol", HistoryOutcome.Refused, reason) { Address = address });
        return null;
    }

    private static PublicKey? ReadPublicKey(string pem)
    {
        try
        {
            // Loading checks the request's own signature: the caller has the key.
            var request = CertificateRequest.LoadSigningRequestPem(pem, HashAlgorithmName.SHA256);
            return request.PublicKey.GetECDsaPublicKey()?.KeySize == 256 ? request.PublicKey : null;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or NotSupportedException) { return null; }
    }
}
