using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/userinfo</c> (OpenID Connect Core §5.3): answers while the session lives, and not a moment longer. <clause>INA 第16-5</clause></summary>
internal sealed class UserInfo(Store store, LiveSessions sessions, IDetailedAuthorization detailed, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    private sealed record AccessToken(string Session, string Client, string Scope, string? Detail);

    internal async Task<IResult> RunAsync(HttpContext context, CancellationToken ct)
    {
        if (ReadBearer(context.Request) is not { } token)
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";    // RFC 6750 §3.1: no error code when no token came
            return Results.StatusCode(StatusCodes.Status401Unauthorized);
        }
        if (!Secret.Fits(token) || await FindAsync(token, ct) is not { } access || await sessions.FindAsync(SessionId.Parse(access.Session), ct) is not { } session) return Refuse(context);
        if (access.Detail is { } detail)
        {
            await using var work = await store.ReadAsync(ct);
            if (await detailed.StandsAsync(work, detail, ct) is null) return Refuse(context);
        }
        await sessions.SeenAsync(session, ct);
        if (await store.AskAsync(PeopleRegister.FindValid(session.Person, time.GetUtcNow()), ct) is not { } person) return Refuse(context);
        var claims = new Dictionary<string, object> { ["sub"] = person.Id.Value, ["sid"] = session.Id.Value, ["terminal"] = session.Terminal.Value, ["segment"] = options.Segment };
        if (access.Scope.Split(' ').Contains("profile"))
        {
            claims["name"] = person.Name;
            claims["posts"] = person.Posts.Select(p => new { section = p.Section, post = p.Post });
        }
        return Results.Json(claims);
    }

    /// <summary>RFC 6750 §2.1 only: the token comes in the header, never in the URL.</summary>
    private static string? ReadBearer(HttpRequest request) =>
        request.Headers.Authorization is [{ } header] && header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) && header.Length < 300 ? header[7..].Trim() : null;

    private Task<AccessToken?> FindAsync(string token, CancellationToken ct) => store.FindAsync<AccessToken>(
        $"select session, client, scope, detail from oidc.access_tokens where token_hash = {Secret.Hash(token)} and revoked_at is null and expires_at > clock_timestamp()",
        r => new(r.GetString(0), r.GetString(1), r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3)), ct);

    private IResult Refuse(HttpContext context)
    {
        coalescer.Add(new("oidc.userinfo", HistoryOutcome.Refused, "oidc.invalid-token") { Address = context.Connection.RemoteIpAddress?.ToString() });
        context.Response.Headers.WWWAuthenticate = "Bearer error=\"invalid_token\", error_description=\"the token is unknown, over, or its session has ended\"";
        return new OAuthError("invalid_token", "the token is unknown, over, or its session has ended").ToJson();
    }
}
