using System.Text.Json;
using AccessBroker.Keys;
using AccessBroker.Oidc.Jose;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/endsession</c> (OpenID Connect RP-Initiated Logout 1.0): with a good id_token_hint at once, without one after a question.</summary>
internal sealed class EndSession(Clients clients, LiveSessions sessions, TokenSigner signer, BrokerOptions options)
{
    private sealed record Hint(string Client, SessionId Session);

    internal async Task<IResult> RunAsync(HttpContext context, Parameters parameters, CancellationToken ct)
    {
        if (parameters.Malformed) return Results.Redirect("/connect/error");
        // §2: the hint need not be fresh, but must be ours; client_id, when given, must be its audience.
        if (await ReadHintAsync(parameters["id_token_hint"], ct) is not { } hint || (parameters["client_id"] ?? hint.Client) != hint.Client) return Results.Redirect("/signed-out?ask=yes");
        await sessions.EndAsync(hint.Session, "sessions.signed-out");
        SessionCookie.Clear(context.Response);
        var client = await clients.FindAsync(hint.Client, ct);
        if (parameters["post_logout_redirect_uri"] is not { } uri || client?.PostLogoutRedirectUris.Contains(uri, StringComparer.Ordinal) != true) return Results.Redirect("/signed-out");
        return Results.Redirect(parameters["state"] is { } state ? $"{uri}{(uri.Contains('?', StringComparison.Ordinal) ? '&' : '?')}state={Uri.EscapeDataString(state)}" : uri);
    }

    private async Task<Hint?> ReadHintAsync(string? token, CancellationToken ct)
    {
        if (token is null) return null;
        using var jwks = JsonDocument.Parse(await signer.JwksAsync(ct));
        if (CompactJws.Verify(token, jwks.RootElement) is not { } payload || CompactJws.ReadClaims(payload) is not { } claims) return null;
        return StrictJson.Text(claims, "iss") == options.Issuer && StrictJson.Text(claims, "aud") is { } client && SessionId.TryParse(StrictJson.Text(claims, "sid"), null, out var session) ? new(client, session) : null;
    }
}
