using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/token</c>: a code becomes an access token and an ID token (OpenID Connect Core §3.1.3). One C_Sign per call.</summary>
internal sealed class Token(Store store, ClientAuthentication authentication, LiveSessions sessions, TokenSigner signer, SessionsPolicy policy, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    private sealed record Code(string Session, string Client, string RedirectUri, string? Nonce, string Challenge, string Scope, bool Fresh);

    internal async Task<IResult> RunAsync(HttpContext context, CancellationToken ct)
    {
        var parameters = await Parameters.OfFormAsync(context.Request, ct);
        if (parameters.Malformed) return Refuse(context, null, new("invalid_request", "malformed form, or a parameter came twice"));
        var (client, error) = await authentication.RunAsync(context.Request, parameters, ct);
        if (client is null) return Refuse(context, null, error!);
        return parameters["grant_type"] switch
        {
            "authorization_code" => await RedeemAsync(context, client, parameters, ct),
            null => Refuse(context, client.Id, new("invalid_request", "grant_type is missing")),
            _ => Refuse(context, client.Id, new("unsupported_grant_type", "only authorization_code is supported")),
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
        var access = Secret.New();
        // Signed before the commit: with the HSM away the code stays good for another try.
        var idToken = await signer.SignAsync("JWT", IdTokenClaims(session, client, found.Nonce, access), ct);
        work.Write($"""
            insert into oidc.access_tokens (token_hash, code_hash, session, client, scope, expires_at)
            values ({Secret.Hash(access)}, {Secret.Hash(code)}, {session.Id}, {client.Id}, {found.Scope}, clock_timestamp() + {policy.AccessToken})
            """);
        work.Record(new("oidc.token", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Card = session.Card, Session = session.Id, Client = client.Id, Address = AddressOf(context) }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.Json(new { access_token = access, token_type = "Bearer", expires_in = (int)policy.AccessToken.TotalSeconds, id_token = idToken, scope = found.Scope });
    }

    /// <summary>Marks the code used and returns it; Fresh is false when it was used before. Null: unknown, another client's, or over.</summary>
    private static Task<Code?> TakeAsync(UnitOfWork work, string code, Client client, CancellationToken ct) => work.FindAsync<Code>($"""
        with found as (select * from oidc.codes where code_hash = {Secret.Hash(code)} and client = {client.Id} and expires_at > clock_timestamp() for update),
             taken as (update oidc.codes c set used_at = clock_timestamp() from found where c.code_hash = found.code_hash and c.used_at is null returning c.code_hash)
        select session, client, redirect_uri, nonce, challenge, scope, used_at is null from found
        """, r => new(r.GetString(0), r.GetString(1), r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3), r.GetString(4), r.GetString(5), r.GetBoolean(6)), ct);

    /// <summary>RFC 6749 §4.1.2: a code used twice takes back what it gave.</summary>
    private async Task<IResult> RevokeReplayedAsync(HttpContext context, UnitOfWork work, string code, Client client, CancellationToken ct)
    {
        var revoked = await work.ExecuteAsync($"update oidc.access_tokens set revoked_at = clock_timestamp() where code_hash = {Secret.Hash(code)} and revoked_at is null", ct);
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
            ["exp"] = (now + policy.IdToken).ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["auth_time"] = session.AuthTime.ToUnixTimeSeconds(),
            ["acr"] = session.Acr,
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
