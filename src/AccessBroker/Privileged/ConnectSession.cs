using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>
/// The operator's helper (<c>access</c>) connects: a code from the page, good once, for seconds, from the session's terminal only, while the sign-in lives.
/// It brings a fresh public key, or the verifier of a password that only it knows; the broker never sees either's secret.
/// </summary>
internal sealed class ConnectSession(Store store, LiveSessions sessions, SshCertificates certificates, Active<PrivilegedPolicy> policy, Coalescer coalescer, Wakeups wakeups, TimeProvider time)
{
    /// <summary>Ours: the target's agent answers within 5 s.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);
    /// <summary>Ours: 30 s before now, for a target whose clock is behind.</summary>
    private static readonly TimeSpan Behind = TimeSpan.FromSeconds(30);

    internal sealed record Asked(string Code, string? PublicKey, string? Verifier);

    /// <summary>A new code for one's own open session; null: it is not open.</summary>
    internal async Task<string?> MakeCodeAsync(PrivilegedSession session, CancellationToken ct)
    {
        if (session.State != "open" || !session.HasAgent) return null;
        var code = Secret.New(16);
        await using var work = await store.BeginAsync(ct);
        work.Write($"insert into privileged.connect_codes (code_hash, session, expires_at) values ({Secret.Hash(code)}, {session.Id}, clock_timestamp() + {policy.Now.Establish})");
        work.Record(TargetReports.Event(session, "privileged.make-code", HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
        return code;
    }

    internal async Task<IResult> RunAsync(HttpContext context, Asked asked, CancellationToken ct)
    {
        var address = context.Connection.RemoteIpAddress is { } ip ? (ip.IsIPv4MappedToIPv6 ? ip.MapToIPv4() : ip).ToString() : "";
        await using var work = await store.BeginAsync(ct);
        var id = Secret.Fits(asked.Code) ? await work.FindAsync($"update privileged.connect_codes set used_at = clock_timestamp() where code_hash = {Secret.Hash(asked.Code)} and used_at is null and expires_at > clock_timestamp() returning session", r => r.GetString(0), ct) : null;
        if (id is null || await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { } session) return Unknown(address);
        // The code in other hands: it is burnt.
        if (session.Address != address) return await RefuseAsync(work, session, "privileged.elsewhere", "この接続コードは、作業を始めた端末でだけ使えます。", ct);
        if (session.State != "open" || session.Left <= TimeSpan.Zero || await sessions.FindAsync(work, session.Session, ct) is null) return await RefuseAsync(work, session, "privileged.not-open", "この特権作業は、実施中ではありません。", ct);
        if (session.Second is { Present: null }) return await RefuseAsync(work, session, "privileged.no-witness", "二人作業です。立会人が見ている間だけ接続できます。", ct);
        return session.Kind == "ssh" ? await CertifyAsync(work, session, asked.PublicKey ?? "", ct) : await AdmitAsync(work, session, asked.Verifier ?? "", ct);
    }

    private async Task<IResult> CertifyAsync(UnitOfWork work, PrivilegedSession session, string publicKey, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        var until = now + policy.Now.Establish < session.EndsAt ? now + policy.Now.Establish : session.EndsAt;
        var serial = (await work.QueryAsync($"insert into privileged.certificates (session, key_hash, issued_at, valid_until) values ({session.Id}, {System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(publicKey))}, {now}, {until}) returning serial", r => r.GetInt64(0), ct))[0];
        if (await certificates.IssueAsync(publicKey, new((ulong)serial, SshCertificates.KeyId(session.Id, session.Person.Value, session.Request), session.Id, now - Behind, until, session.Address), ct) is not { } certificate) return await RefuseAsync(work, session, "privileged.key-refused", "鍵の形が正しくありません。", ct);
        work.Record(TargetReports.Event(session, "privileged.certify", HistoryOutcome.Done) with { Details = TargetReports.Details(session, ("serial", $"{serial}")) }, now);
        await work.CommitAsync(ct);
        return Results.Json(new { kind = "ssh", place = session.Place, certificate, endsAt = session.EndsAt });
    }

    private async Task<IResult> AdmitAsync(UnitOfWork work, PrivilegedSession session, string verifier, CancellationToken ct)
    {
        if (verifier.Length > 200 || !verifier.StartsWith("SCRAM-SHA-256$", StringComparison.Ordinal)) return await RefuseAsync(work, session, "privileged.verifier-refused", "パスワードの検証子の形が正しくありません。", ct);
        var id = (await work.QueryAsync($"insert into privileged.admissions (session, verifier, asked_at) values ({session.Id}, {verifier}, clock_timestamp()) returning id", r => r.GetInt64(0), ct))[0];
        work.Record(TargetReports.Event(session, "privileged.admit", HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
        wakeups.Wake(SessionDirector.Topic);
        for (var began = time.GetTimestamp(); time.GetElapsedTime(began) < Patience;)
        {
            if (await store.FindAsync($"select answered from privileged.admissions where id = {id} and answered is not null", r => r.GetString(0), ct) is { } answered)
                return answered.Split(' ') is ["admitted", var account] ? Results.Json(new { kind = "postgres", account, place = session.Place, endsAt = session.EndsAt }) : Problems.Json(StatusCodes.Status409Conflict, answered, PrivilegedWords.Reason(answered));
            await wakeups.WaitAsync(SessionDirector.Topic, TimeSpan.FromMilliseconds(50), ct);
        }
        return Problems.Json(StatusCodes.Status503ServiceUnavailable, "privileged.target-silent", "対象の機器が応えません。もう一度お試しください。");
    }

    private IResult Unknown(string address)
    {
        coalescer.Add(new("privileged.connect", HistoryOutcome.Refused, "privileged.code-unknown") { Address = address });
        return Problems.Json(StatusCodes.Status403Forbidden, "privileged.code-unknown", "接続コードが正しくないか、期限が切れています。画面で新しいコードを出してください。");
    }

    private async Task<IResult> RefuseAsync(UnitOfWork work, PrivilegedSession session, string code, string sentence, CancellationToken ct)
    {
        work.Record(TargetReports.Event(session, "privileged.connect", HistoryOutcome.Refused, code), time.GetUtcNow());
        await work.CommitAsync(ct);
        return Problems.Json(StatusCodes.Status403Forbidden, code, sentence);
    }
}
