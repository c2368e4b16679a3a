using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/token</c>: a code becomes an access token and an ID token (OpenID Connect Core §3.1.3). One C_Sign per call.</summary>
internal sealed class Token(Store store, ClientAuthentication authentication, LiveSessions sessions, TokenSigner signer, RefreshTokens refresh, IDetailedAuthorization detailed, Active<SessionsPolicy> policy, Active<AssurancePolicy> assurance, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    private sealed record Code(string Session, string Client, string RedirectUri, string? Nonce, string Challenge, string Scope, bool Fresh, string? Detail);

    internal async Task<IResult> RunAsync(HttpContext context, CancellationToken ct)
    {
        var parameters = await Parameters.OfFormAsync(context.Request, ct);
        if (parameters.Malformed) return Refuse(context, null, new("invalid_request", "malformed form, or a parameter came twice"));
        var (client, error) = await authentication.RunAsync(context.Request, parameters, ct);
        if (client is null) return Refuse(context, null, error!);
        return parameters["grant_type"] switch
        {
            "authorization_code" => await RedeemAsync(context, client, parameters, ct),
            "refresh_token" when client.RefreshTokens => await RefreshAsync(context, client, parameters, ct),
            "refresh_token" => Refuse(context, client.Id, new("unauthorized_client", "this client has no refresh tokens")),
            null => Refuse(context, client.Id, new("invalid_request", "grant_type is missing")),
            _ => Refuse(context, client.Id, new("unsupported_grant_type", "only authorization_code and refresh_token are supported")),
        };
    }

    private async Task<IResult> RedeemAsync(HttpContext context, Client client, Parameters parameters, CancellationToken ct)
    {
        if (parameters["code"] is not { } code || !Secret.Fits(code)) return Refuse(context, client.Id, new("invalid_grant", "the code is not good"));
        await using var work = await store.BeginAsync(ct);
        if (await TakeAsync(work, code, client, ct) is not { } found) return Refuse(context, client.Id, new("invalid_grant", "the code is not good"));
        if (!found.Fresh) return await RevokeReplayedAsync(context, work, code, client, ct);
        // From here the code is used up, also when the call fails: it is committed on every path but a broken neighbour's.
        if (found.RedirectUri != parameters["redirect_uri"]) return await BurnAsync(context, work, client, "redirect_uri differs from the authorization request", ct);
        if (!VerifierFits(parameters["code_verifier"], found.Challenge)) return await BurnAsync(context, work, client, "code_verifier does not fit", ct);
        if (await sessions.FindAsync(work, SessionId.Parse(found.Session), ct) is not { } session) return await BurnAsync(context, work, client, "the session is over", ct);
        var detail = found.Detail is { } id ? await detailed.StandsAsync(work, id, ct) : null;
        if (found.Detail is not null && detail is null) return await BurnAsync(context, work, client, "the privileged work is over", ct);
        var access = Secret.New();
        // Signed before the commit: with the HSM away the code stays good for another try.
        var idToken = await signer.SignAsync("JWT", IdTokenClaims(session, client, found.Nonce, access), ct);
        // What stands on privileged work is asked for anew, never prolonged.
        var family = client.RefreshTokens && detail is null ? Secret.New(16) : null;
        WriteAccess(work, access, Secret.Hash(code), session.Id, client.Id, found.Scope, family, detail);
        var refreshing = family is null ? null : refresh.Issue(work, family, session.Id, client.Id, found.Scope);
        work.Record(new("oidc.token", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Card = session.Card, Session = session.Id, Client = client.Id, Address = AddressOf(context) }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Answer(access, idToken, found.Scope, refreshing, detail);
    }

    /// <summary>RFC 6749 §6, rotated: a token that was used before takes back its family.</summary>
    private async Task<IResult> RefreshAsync(HttpContext context, Client client, Parameters parameters, CancellationToken ct)
    {
        if (parameters["refresh_token"] is not { } given || !Secret.Fits(given)) return Refuse(context, client.Id, new("invalid_grant", "the refresh token is not good"));
        await using var work = await store.BeginAsync(ct);
        if (await RefreshTokens.TakeAsync(work, given, client.Id, ct) is not { } taken) return Refuse(context, client.Id, new("invalid_grant", "the refresh token is not good"));
        var entry = new HistoryEvent("oidc.refresh", HistoryOutcome.Done) { Session = taken.Session, Client = client.Id, Address = AddressOf(context) };
        if (taken.Reused)
        {
            await RefreshTokens.RevokeFamilyAsync(work, taken.Family, ct);
            work.Record(entry with { Outcome = HistoryOutcome.Refused, Reason = "oidc.refresh-token-reused" }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return new OAuthError("invalid_grant", "the refresh token is not good").ToJson();
        }
        if (parameters["scope"] is { } narrower && narrower.Split(' ').Except(taken.Scope.Split(' ')).Any()) return Refuse(context, client.Id, new("invalid_scope", "more than was granted"));
        if (await sessions.FindAsync(work, taken.Session, ct) is not { } session) return await BurnAsync(context, work, client, "the session is over", ct);
        var (access, scope) = (Secret.New(), parameters["scope"] ?? taken.Scope);
        // Signed before the commit: with the HSM away the refresh token stays good for another try.
        var idToken = await signer.SignAsync("JWT", IdTokenClaims(session, client, null, access), ct);
        WriteAccess(work, access, null, session.Id, client.Id, scope, taken.Family);
        var next = refresh.Issue(work, taken.Family, session.Id, client.Id, taken.Scope);
        work.Record(entry with { Person = session.Person, Terminal = session.Terminal, Card = session.Card }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Answer(access, idToken, scope, next);
    }

    private void WriteAccess(UnitOfWork work, string access, byte[]? code, SessionId session, string client, string scope, string? family, DetailedGrant? detail = null) => work.Write($"""
        insert into oidc.access_tokens (token_hash, code_hash, session, client, scope, expires_at, family, detail)
        values ({Secret.Hash(access)}, {code}, {session}, {client}, {scope}, least(clock_timestamp() + {policy.Now.AccessToken}, {detail?.Until}), {family}, {detail?.Id})
        """);

    private IResult Answer(string access, string idToken, string scope, string? refreshing, DetailedGrant? detail = null)
    {
        var body = new Dictionary<string, object> { ["access_token"] = access, ["token_type"] = "Bearer", ["expires_in"] = (int)policy.Now.AccessToken.TotalSeconds, ["id_token"] = idToken, ["scope"] = scope };
        if (detail is not null)
        {
            body["authorization_details"] = new[] { detail.Details };
            body["expires_in"] = Math.Max(0, (int)Math.Min(policy.Now.AccessToken.TotalSeconds, (detail.Until - time.GetUtcNow()).TotalSeconds));
        }
        if (refreshing is not null) body["refresh_token"] = refreshing;
        return Results.Json(body);
    }

    /// <summary>Marks the code used and returns it; Fresh is false when it was used before. Null: unknown, another client's, or over.</summary>
    private static Task<Code?> TakeAsync(UnitOfWork work, string code, Client client, CancellationToken ct) => work.FindAsync<Code>($"""
        with found as (select * from oidc.codes where code_hash = {Secret.Hash(code)} and client = {client.Id} and expires_at > clock_timestamp() for update),
             taken as (update oidc.codes c set used_at = clock_timestamp() from found where c.code_hash = found.code_hash and c.used_at is null returning c.code_hash)
        select session, client, redirect_uri, nonce, challenge, scope, used_at is null, detail from found
        """, r => new(r.GetString(0), r.GetString(1), r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3), r.GetString(4), r.GetString(5), r.GetBoolean(6), r.IsDBNull(7) ? null : r.GetString(7)), ct);

    /// <summary>RFC 6749 §4.1.2: a code used twice takes back what it gave.</summary>
    private async Task<IResult> RevokeReplayedAsync(HttpContext context, UnitOfWork work, string code, Client client, CancellationToken ct)
    {
        var families = await work.AskAsync(Question.All($"update oidc.access_tokens set revoked_at = coalesce(revoked_at, clock_timestamp()) where code_hash = {Secret.Hash(code)} returning coalesce(family, '')", r => r.GetString(0)), ct);
        foreach (var family in families.Where(f => f.Length > 0)) await RefreshTokens.RevokeFamilyAsync(work, family, ct);
        var revoked = families.Count;
        work.Record(new("oidc.token", HistoryOutcome.Refused, "oidc.code-replayed") { Client = client.Id, Address = AddressOf(context), Details = new Dictionary<string, string> { ["revoked"] = $"{revoked}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new OAuthError("invalid_grant", "the code is not good").ToJson();
    }

    private async Task<IResult> BurnAsync(HttpContext context, UnitOfWork work, Client client, string why, CancellationToken ct)
    {
        await work.CommitAsync(ct);
        return Refuse(context, client.Id, new("invalid_grant", why));
    }

    /// <summary>RFC 7636 §4.6: BASE64URL(SHA256(code_verifier)) = code_challenge; §4.1: 43 to 128 unreserved characters.</summary>
    private static bool VerifierFits(string? verifier, string challenge) =>
        verifier is { Length: >= 43 and <= 128 } && verifier.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_' or '~')
        && Secret.Same(Encoding.ASCII.GetBytes(Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(verifier)))), Encoding.ASCII.GetBytes(challenge));

    private byte[] IdTokenClaims(LiveSession session, Client client, string? nonce, string access)
    {
        var now = time.GetUtcNow();
        var claims = new Dictionary<string, object>
        {
            ["iss"] = options.Issuer,
            ["sub"] = session.Person.Value,
            ["aud"] = client.Id,
            ["exp"] = (now + policy.Now.IdToken).ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["auth_time"] = session.AuthTime.ToUnixTimeSeconds(),
            ["acr"] = AcrNames.At(session.Acr, session.Amr, now - session.AuthTime, assurance.Now.Privileged.MaxAge),
            ["amr"] = session.Amr,
            ["sid"] = session.Id.Value,
            // §3.1.3.6: the left half of the hash of the access token.
            ["at_hash"] = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(access)).AsSpan(0, 16)),
            ["terminal"] = session.Terminal.Value,
            ["segment"] = options.Segment,
        };
        if (nonce is not null) claims["nonce"] = nonce;
        return JsonSerializer.SerializeToUtf8Bytes(claims);
    }

    private IResult Refuse(HttpContext context, string? client, OAuthError error)
    {
        coalescer.Add(new("oidc.token", HistoryOutcome.Refused, $"oidc.{error.Code.Replace('_', '-')}") { Client = client, Address = AddressOf(context) });
        return error.ToJson();
    }

    private static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
