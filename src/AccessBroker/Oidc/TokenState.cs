using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/introspect</c> (RFC 7662) and <c>/connect/revoke</c> (RFC 7009): what a token is worth at this moment, and making it worth nothing.</summary>
internal sealed class TokenState(Store store, ClientAuthentication authentication, LiveSessions sessions, IDetailedAuthorization detailed, Policies.Active<AssurancePolicy> assurance, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    private sealed record Access(string Session, string Client, string Scope, DateTimeOffset ExpiresAt, string? Detail);

    /// <summary>Any registered client that authenticates may ask; a public one may not (§2.1).</summary>
    internal async Task<IResult> IntrospectAsync(HttpContext context, CancellationToken ct)
    {
        var parameters = await Parameters.OfFormAsync(context.Request, ct);
        if (parameters.Malformed) return Refuse(context, "oidc.introspect", new("invalid_request", "malformed form, or a parameter came twice"));
        var (client, error) = await authentication.RunAsync(context.Request, parameters, ct);
        if (client is null || client.Authentication == "none") return Refuse(context, "oidc.introspect", error ?? new("invalid_client", "client authentication failed"));
        if (parameters["token"] is not { } token) return Refuse(context, "oidc.introspect", new("invalid_request", "token is missing"));
        context.Response.Headers.CacheControl = "no-store";
        if (!Secret.Fits(token) || await store.AskAsync(Find(token), ct) is not { } access || await sessions.FindAsync(SessionId.Parse(access.Session), ct) is not { } session) return Results.Json(new { active = false });
        DetailedGrant? detail = null;
        if (access.Detail is { } id)
        {
            await using var work = await store.ReadAsync(ct);
            detail = await detailed.StandsAsync(work, id, ct);
            if (detail is null) return Results.Json(new { active = false });
        }
        var answer = new Dictionary<string, object>
        {
            ["active"] = true,
            ["scope"] = access.Scope,
            ["client_id"] = access.Client,
            ["sub"] = session.Person.Value,
            ["sid"] = session.Id.Value,
            ["terminal"] = session.Terminal.Value,
            ["token_type"] = "Bearer",
            ["acr"] = AcrNames.At(session.Acr, session.Amr, time.GetUtcNow() - session.AuthTime, assurance.Now.Privileged.MaxAge),
            ["auth_time"] = session.AuthTime.ToUnixTimeSeconds(),
            ["exp"] = access.ExpiresAt.ToUnixTimeSeconds(),
            ["iss"] = options.Issuer,
            ["segment"] = options.Segment,
        };
        // RFC 9396 §9.2; RFC 8693 §4.1: who acts.
        if (detail is not null) (answer["authorization_details"], answer["act"]) = (new[] { detail.Details }, detail.Actor);
        return Results.Json(answer);
    }

    /// <summary>§2.2: 200 also for a token that is unknown. A refresh token takes its whole family along.</summary>
    internal async Task<IResult> RevokeAsync(HttpContext context, CancellationToken ct)
    {
        var parameters = await Parameters.OfFormAsync(context.Request, ct);
        if (parameters.Malformed) return Refuse(context, "oidc.revoke", new("invalid_request", "malformed form, or a parameter came twice"));
        var (client, error) = await authentication.RunAsync(context.Request, parameters, ct);
        if (client is null) return Refuse(context, "oidc.revoke", error!);
        if (parameters["token"] is not { } token) return Refuse(context, "oidc.revoke", new("invalid_request", "token is missing"));
        if (!Secret.Fits(token)) return Results.Ok();
        await using var work = await store.BeginAsync(ct);
        var families = await work.AskAsync(Question.All($"update oidc.refresh_tokens set revoked_at = clock_timestamp() where token_hash = {Secret.Hash(token)} and client = {client.Id} and revoked_at is null returning family", r => r.GetString(0)), ct);
        foreach (var family in families) await RefreshTokens.RevokeFamilyAsync(work, family, ct);
        var revoked = families.Count + await work.ExecuteAsync($"update oidc.access_tokens set revoked_at = clock_timestamp() where token_hash = {Secret.Hash(token)} and client = {client.Id} and revoked_at is null", ct);
        if (revoked > 0) work.Record(new("oidc.revoke", HistoryOutcome.Ended, "oidc.revoked-by-client") { Client = client.Id, Address = AddressOf(context) }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.Ok();
    }

    private static Question<Access?> Find(string token) => Question.First($"select session, client, scope, expires_at, detail from oidc.access_tokens where token_hash = {Secret.Hash(token)} and revoked_at is null and expires_at > clock_timestamp()",
        r => new Access(r.GetString(0), r.GetString(1), r.GetString(2), r.GetFieldValue<DateTimeOffset>(3), r.IsDBNull(4) ? null : r.GetString(4)));

    private IResult Refuse(HttpContext context, string operation, OAuthError error)
    {
        coalescer.Add(new(operation, HistoryOutcome.Refused, $"oidc.{error.Code.Replace('_', '-')}") { Address = AddressOf(context) });
        return error.ToJson();
    }

    private static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
