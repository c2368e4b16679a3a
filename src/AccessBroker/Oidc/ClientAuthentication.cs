using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Oidc.Jose;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary>Who calls the token endpoint: private_key_jwt (RFC 7523, OpenID Connect Core §9) or a public client with PKCE only.</summary>
internal sealed class ClientAuthentication(Store store, Clients clients, BrokerOptions options, TimeProvider time)
{
    private const string AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    /// <summary>Ours: an assertion lives 5 min at most; clocks may differ by 10 s.</summary>
    private static readonly TimeSpan MaxLifetime = TimeSpan.FromMinutes(5), Leeway = TimeSpan.FromSeconds(10);
    private static readonly OAuthError Invalid = new("invalid_client", "client authentication failed");

    /// <summary>The client, or the error. What exactly was wrong is not told.</summary>
    internal async Task<(Client? Client, OAuthError? Error)> RunAsync(HttpRequest request, Parameters parameters, CancellationToken ct)
    {
        // RFC 6749 §2.3: one method only; shared secrets do not exist here.
        if (request.Headers.Authorization.Count > 0 || parameters["client_secret"] is not null) return (null, Invalid);
        if (parameters["client_assertion"] is not { } assertion)
            return parameters["client_assertion_type"] is null && await clients.FindAsync(parameters["client_id"], ct) is { Authentication: "none" } open ? (open, null) : (null, Invalid);
        if (parameters["client_assertion_type"] != AssertionType) return (null, Invalid);
        var claimed = UnverifiedSubject(assertion);
        if (await clients.FindAsync(claimed, ct) is not { Authentication: "private_key_jwt", Jwks: { } jwks } client || (parameters["client_id"] ?? client.Id) != client.Id) return (null, Invalid);
        if (CompactJws.Verify(assertion, jwks) is not { } payload || CompactJws.ReadClaims(payload) is not { } claims) return (null, Invalid);
        return ClaimsFit(claims, client) && await TakeAsync(client, claims, ct) ? (client, null) : (null, Invalid);
    }

    private static string? UnverifiedSubject(string assertion) =>
        assertion.Split('.') is [_, var payload, _] && CompactJws.Decode(payload) is { } bytes && CompactJws.ReadClaims(bytes) is { } claims ? StrictJson.Text(claims, "sub") : null;

    /// <summary>RFC 7523 §3: iss and sub are the client, aud is us, exp is near, nbf and iat are not in the future.</summary>
    private bool ClaimsFit(JsonElement claims, Client client)
    {
        var now = time.GetUtcNow();
        return StrictJson.Text(claims, "iss") == client.Id && StrictJson.Text(claims, "sub") == client.Id && AudienceFits(claims)
            && Instant(claims, "exp") is { } exp && exp > now - Leeway && exp <= now + MaxLifetime + Leeway
            && (!claims.TryGetProperty("nbf", out _) || Instant(claims, "nbf") <= now + Leeway)
            && (!claims.TryGetProperty("iat", out _) || Instant(claims, "iat") <= now + Leeway)
            && StrictJson.Text(claims, "jti") is { Length: > 0 and <= 256 };
    }

    private bool AudienceFits(JsonElement claims)
    {
        string[] ours = [options.Issuer, options.Issuer + "/connect/token"];
        if (!claims.TryGetProperty("aud", out var audience)) return false;
        return audience.ValueKind switch
        {
            JsonValueKind.String => ours.Contains(audience.GetString()),
            JsonValueKind.Array => audience.EnumerateArray().Any(a => a.ValueKind == JsonValueKind.String && ours.Contains(a.GetString())),
            _ => false,
        };
    }

    /// <summary>Single-use: the insert that finds its jti taken has lost.</summary>
    private async Task<bool> TakeAsync(Client client, JsonElement claims, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var fresh = await work.ExecuteAsync($"""
            insert into oidc.assertions (client, jti_hash, expires_at) values ({client.Id}, {Secret.Hash(StrictJson.Text(claims, "jti")!)}, {Instant(claims, "exp")!.Value + (2 * Leeway)}) on conflict do nothing
            """, ct) == 1;
        await work.CommitAsync(ct);
        return fresh;
    }

    private static DateTimeOffset? Instant(JsonElement claims, string name) =>
        claims.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var seconds) && seconds is > 0 and < 100_000_000_000 ? DateTimeOffset.FromUnixTimeMilliseconds((long)(seconds * 1000)) : null;
}
