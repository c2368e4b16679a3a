using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace AccessBroker.Sessions;

/// <summary>The session's cookie: random, host-only, never readable by scripts; it stands for a row and ends with it.</summary>
public static class SessionCookie
{
    /// <summary>Name of the cookie.</summary>
    public const string Name = "__Host-session";

    /// <summary>Sets the cookie. Lax: the relying party's redirect must bring it along.</summary>
    public static void Set(HttpResponse response, string value) =>
        response.Cookies.Append(Name, value, new CookieOptions { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Lax, Path = "/" });

    /// <summary>Takes the cookie away.</summary>
    public static void Clear(HttpResponse response) => response.Cookies.Delete(Name, new CookieOptions { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Lax, Path = "/" });
}

/// <summary>Makes a principal of a live session: sub, terminal, sid. Where somebody must be signed in, a page sends them to sign in first.</summary>
internal sealed class SessionAuthentication(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory loggers, UrlEncoder encoder, LiveSessions sessions)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, loggers, encoder)
{
    internal const string Scheme_ = "session";

    protected override async Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!Request.Cookies.TryGetValue(SessionCookie.Name, out var cookie)) return AuthenticateResult.NoResult();
        if (await sessions.FindByCookieAsync(cookie, Context.Connection.RemoteIpAddress?.ToString(), Context.RequestAborted) is not { } session) return AuthenticateResult.NoResult();
        Context.Features.Set(session);
        var identity = new ClaimsIdentity([new("sub", session.Person.Value), new("terminal", session.Terminal.Value), new("sid", session.Id.Value)], Scheme_, "sub", "role");
        return AuthenticateResult.Success(new(new ClaimsPrincipal(identity), Scheme_));
    }

    protected override Task HandleChallengeAsync(AuthenticationProperties properties)
    {
        if (HttpMethods.IsGet(Request.Method)) Response.Redirect("/sign-in?to=" + Uri.EscapeDataString(Request.Path + Request.QueryString));
        else Response.StatusCode = StatusCodes.Status401Unauthorized;
        return Task.CompletedTask;
    }
}
