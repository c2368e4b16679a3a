using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.SignIn;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

internal static class OidcSlice
{
    internal static void AddOidc(this IServiceCollection services)
    {
        services.AddSingleton<Clients>().AddSingleton<ClientAuthentication>().AddSingleton<Authorize>().AddSingleton<Token>().AddSingleton<UserInfo>().AddSingleton<EndSession>().AddSingleton<RefreshTokens>().AddSingleton<TokenState>();
        services.AddHttpClient(BackChannelLogout.HttpName).ConfigurePrimaryHttpMessageHandler(p => RelyingPartyHandler(p.GetRequiredService<BrokerOptions>()));
        services.AddHostedService<BackChannelLogout>();
        services.AddSingleton(new MenuEntry("業務システムへの終了通知", "/logout-deliveries", 90, ["oidc.read-deliveries"]));
        services.AddSingleton(new Sweep("delete from oidc.logout_deliveries where ctid in (select ctid from oidc.logout_deliveries where delivered_at < clock_timestamp() - interval '90 days' or dead_at < clock_timestamp() - interval '400 days' limit 500)"));
        services.AddSingleton(new Sweep("delete from oidc.participants where ctid in (select p.ctid from oidc.participants p where p.at < clock_timestamp() - interval '30 days' limit 500)"));
        foreach (var table in (string[])["requests", "codes", "access_tokens", "assertions", "refresh_tokens"])
            services.AddSingleton(new Sweep($"delete from oidc.{table} where ctid in (select ctid from oidc.{table} where expires_at < clock_timestamp() - interval '1 hour' limit 500)"));
    }

    internal static void MapOidc(this IEndpointRouteBuilder app)
    {
        app.MapGet("/.well-known/openid-configuration", (HttpContext context, BrokerOptions options) => { Open(context); return Results.Json(Discovery.Document(options)); });
        app.MapGet("/.well-known/jwks.json", async (HttpContext context, TokenSigner signer, CancellationToken ct) => { Open(context); return Results.Bytes(await signer.JwksAsync(ct), "application/jwk-set+json"); });
        // OpenID Connect Core §3.1.2.1: GET and POST.
        app.MapGet("/connect/authorize", (HttpContext context, Authorize authorize, CancellationToken ct) => authorize.RunAsync(context, Parameters.Of(context.Request.Query), ct)).RequireRateLimiting(SignInSlice.RateLimit);
        app.MapPost("/connect/authorize", async (HttpContext context, Authorize authorize, CancellationToken ct) => await authorize.RunAsync(context, await Parameters.OfFormAsync(context.Request, ct), ct))
            .RequireRateLimiting(SignInSlice.RateLimit).WithMetadata(new AuditedAttribute("oidc.authorize"));
        app.MapGet("/connect/authorize/resume", (HttpContext context, string? request, Authorize authorize, CancellationToken ct) => authorize.ResumeAsync(context, request, ct));
        app.MapPost("/connect/token", (HttpContext context, Token token, CancellationToken ct) => { Open(context); return token.RunAsync(context, ct); }).WithMetadata(new AuditedAttribute("oidc.token"));
        app.MapMethods("/connect/userinfo", ["GET", "POST"], (HttpContext context, UserInfo userInfo, CancellationToken ct) => { Open(context); return userInfo.RunAsync(context, ct); }).WithMetadata(new AuditedAttribute("oidc.userinfo"));
        app.MapPost("/connect/introspect", (HttpContext context, TokenState state, CancellationToken ct) => state.IntrospectAsync(context, ct)).WithMetadata(new AuditedAttribute("oidc.introspect"));
        app.MapPost("/connect/revoke", (HttpContext context, TokenState state, CancellationToken ct) => { Open(context); return state.RevokeAsync(context, ct); }).WithMetadata(new AuditedAttribute("oidc.revoke"));
        app.MapMethods("/connect/{endpoint:regex(^(token|userinfo|revoke)$)}", ["OPTIONS"], (HttpContext context) => { Open(context); return Results.NoContent(); });
        app.MapGet("/connect/endsession", (HttpContext context, EndSession end, CancellationToken ct) => end.RunAsync(context, Parameters.Of(context.Request.Query), ct));
        app.MapPost("/connect/endsession", async (HttpContext context, EndSession end, CancellationToken ct) => await end.RunAsync(context, await Parameters.OfFormAsync(context.Request, ct), ct)).WithMetadata(new AuditedAttribute("oidc.end-session"));
    }

    /// <summary>No redirects, no cookies, no proxy; trusts the configured CA, or the system's.</summary>
    private static SocketsHttpHandler RelyingPartyHandler(BrokerOptions options)
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(3), MaxResponseHeadersLength = 16 };
        if (options.RelyingPartyCa.Length == 0) return handler;
        var trust = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        trust.CustomTrustStore.ImportFromPemFile(options.RelyingPartyCa);
        handler.SslOptions.CertificateChainPolicy = trust;
        return handler;
    }

    /// <summary>CORS for public clients in browsers: any origin, never with cookies. These endpoints know no cookie.</summary>
    private static void Open(HttpContext context)
    {
        context.Response.Headers.AccessControlAllowOrigin = "*";
        context.Response.Headers["Cross-Origin-Resource-Policy"] = "cross-origin";
        if (!HttpMethods.IsOptions(context.Request.Method)) return;
        context.Response.Headers.AccessControlAllowMethods = "GET, POST";
        context.Response.Headers.AccessControlAllowHeaders = "authorization, content-type";
        context.Response.Headers.AccessControlMaxAge = "600";
    }
}
