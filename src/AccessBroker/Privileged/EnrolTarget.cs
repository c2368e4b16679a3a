using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Privileged;

/// <summary>A target's agent gets its certificate once, with a one-time code that the administrator took to the host. <clause>MIC 6.2(3)</clause></summary>
internal sealed class EnrolTarget(Store store, CertificateAuthorities authorities, SshCertificates ssh, Active<PrivilegedPolicy> policy, Coalescer coalescer, TimeProvider time)
{
    /// <summary>Ours: a code is good for 24 h, a certificate for 400 days.</summary>
    private static readonly TimeSpan CodeLifetime = TimeSpan.FromHours(24), CertificateLifetime = TimeSpan.FromDays(400);
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    internal sealed record Request(string Code, string CertificationRequest);
    internal sealed record Enrolled(string Target, string Name, string Certificate, string SshUserCa);

    /// <summary>A new one-time code, shown once. Throws <see cref="InvalidOperationException"/> when the policy knows no such target.</summary>
    internal async Task<string> MakeCodeAsync(string target, CancellationToken ct)
    {
        if (!PrivilegedPolicy.HasAgent(policy.Now.KindOf(target))) throw new InvalidOperationException($"privileged.yaml has no target {target} with an agent");
        var code = Secret.New(16);
        await using var work = await store.BeginAsync(ct);
        work.Write($"insert into privileged.enrolment_codes (code_hash, target, expires_at) values ({Secret.Hash(code)}, {target}, {time.GetUtcNow() + CodeLifetime})");
        work.Record(new("privileged.make-enrolment-code", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["target"] = target } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return code;
    }

    /// <summary>The certificates of a target's agents are good for nothing from now on. How many there were.</summary>
    internal async Task<int> RevokeAsync(string target, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var revoked = await work.ExecuteAsync($"update privileged.agents set revoked_at = clock_timestamp() where target = {target} and revoked_at is null", ct);
        work.Record(new("privileged.revoke-agent", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["target"] = target } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return revoked;
    }

    /// <summary>The certificate, or null: the code is unknown, used or over, or the request is not well-formed.</summary>
    internal async Task<Enrolled?> RunAsync(Request request, string? address, CancellationToken ct)
    {
        if (!Secret.Fits(request.Code) || ReadPublicKey(request.CertificationRequest) is not { } publicKey) return Refused("privileged.enrolment-malformed", address);
        await using var work = await store.BeginAsync(ct);
        var taken = await work.FindAsync($"""
            update privileged.enrolment_codes set used_at = clock_timestamp() where code_hash = {Secret.Hash(request.Code)} and used_at is null and expires_at > clock_timestamp() returning target
            """, r => r.GetString(0), ct);
        if (taken is null || !policy.Now.Targets.TryGetValue(taken, out var target)) return Refused("privileged.enrolment-code-unknown", address);
        using var certificate = authorities.Terminals.Issue(taken, publicKey, [ClientAuthentication], time.GetUtcNow(), CertificateLifetime);
        await work.ExecuteAsync($"update privileged.agents set revoked_at = clock_timestamp() where target = {taken} and revoked_at is null", ct);
        work.Write($"insert into privileged.agents (certificate, target, enrolled_at, expires_at) values ({certificate.GetCertHash(HashAlgorithmName.SHA256)}, {taken}, {time.GetUtcNow()}, {new DateTimeOffset(certificate.NotAfter.ToUniversalTime())})");
        work.Record(new("privileged.enrol-agent", HistoryOutcome.Done) { Address = address, Details = new Dictionary<string, string> { ["target"] = taken, ["serial"] = certificate.SerialNumber } }, time.GetUtcNow());
        var authority = await ssh.AuthorityAsync(ct);
        await work.CommitAsync(ct);
        return new(taken, target.Name, certificate.ExportCertificatePem(), authority);
    }

    private Enrolled? Refused(string reason, string? address)
    {
        coalescer.Add(new("privileged.enrol-agent", HistoryOutcome.Refused, reason) { Address = address });
        return null;
    }

    private static PublicKey? ReadPublicKey(string pem)
    {
        try
        {
            var request = CertificateRequest.LoadSigningRequestPem(pem, HashAlgorithmName.SHA256);
            return request.PublicKey.GetECDsaPublicKey()?.KeySize == 256 ? request.PublicKey : null;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or NotSupportedException) { return null; }
    }
}
