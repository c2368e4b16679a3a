using System.Globalization;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Localization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.Filters;
using Npgsql;

namespace AccessBroker.Web;

internal static class WebSlice
{
    internal static void AddWeb(this IServiceCollection services)
    {
        services.AddLocalization();
        services.AddRazorPages(options =>
        {
            options.RootDirectory = "/";
            // Cross-site posts are refused for every endpoint by SameOrigin, without keys to keep: see README.md.
            options.Conventions.ConfigureFilter(new IgnoreAntiforgeryTokenAttribute());
        }).AddMvcOptions(mvc => mvc.Filters.Add(new RefuseInvalidModel()));
        services.Configure<RouteOptions>(routes => routes.LowercaseUrls = true);
        services.Configure<RequestLocalizationOptions>(localization =>
        {
            localization.SetDefaultCulture("ja").AddSupportedCultures("ja", "en").AddSupportedUICultures("ja", "en");
            localization.RequestCultureProviders = [new CookieRequestCultureProvider { CookieName = "lang" }];
        });
    }

    /// <summary>What stands before every endpoint.</summary>
    internal static void UseWeb(this WebApplication app)
    {
        app.UseExceptionHandler(errors => errors.Run(AnswerErrorAsync));
        // 401, 403, 404 … without a body get a page for people, and a problem for machines.
        app.UseStatusCodePagesWithReExecute("/problem/{0}");
        app.Use(SecurityHeaders);
        app.Use(SameOrigin);
        app.Use(RefuseUnfit);
        app.UseRequestLocalization();
        app.UseStaticFiles();
    }

    internal static void MapWeb(this WebApplication app)
    {
        app.MapGet("/language", (HttpContext context, string to, string? back) =>
        {
            if (to is "ja" or "en") context.Response.Cookies.Append("lang", CookieRequestCultureProvider.MakeCookieValue(new RequestCulture(to)), new CookieOptions { Secure = true, HttpOnly = true, SameSite = SameSiteMode.Lax, MaxAge = TimeSpan.FromDays(365) });
            return Results.Redirect(LocalPath.OrRoot(back));
        });
        app.MapRazorPages();
    }

    private static Task SecurityHeaders(HttpContext context, RequestDelegate next)
    {
        var agents = string.Join(' ', context.RequestServices.GetRequiredService<BrokerOptions>().AgentOrigins);
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = $"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {agents}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers.StrictTransportSecurity = "max-age=31536000";
        headers.CacheControl = "no-store";
        return next(context);
    }

    /// <summary>A browser's request that changes something must come from our own pages. Programs send no Origin and carry no cookie of ours.</summary>
    private static Task SameOrigin(HttpContext context, RequestDelegate next)
    {
        var request = context.Request;
        if (HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || HttpMethods.IsOptions(request.Method)) return next(context);
        // The protocol's endpoints authenticate by code, assertion or token, never by cookie; a relying party may post the user to /connect/authorize.
        if (request.Path.StartsWithSegments("/connect", StringComparison.Ordinal)) return next(context);
        // Every browser says where a request to an https origin comes from, and no page can change it; Origin is "null" under our no-referrer policy.
        var site = request.Headers["Sec-Fetch-Site"].ToString();
        var origin = request.Headers.Origin.ToString();
        if (site.Length > 0 ? site == "same-origin" : origin.Length == 0 || origin == context.RequestServices.GetRequiredService<BrokerOptions>().Issuer) return next(context);
        return Problems.Json(StatusCodes.Status403Forbidden, "web.cross-origin", "別のサイトからの操作は受け付けません。").ExecuteAsync(context);
    }

    /// <summary>A node whose clock is off, or whose database was not judged yet, refuses work and says so; health and static files still answer.</summary>
    private static Task RefuseUnfit(HttpContext context, RequestDelegate next)
    {
        var clockRight = context.RequestServices.GetRequiredService<DatabaseClock>().MayWork;
        if ((clockRight && context.RequestServices.GetRequiredService<ReadinessCheck>().Passed) || context.Request.Path == "/health" || context.Request.Path.Value is { } path && path.EndsWith(".css", StringComparison.Ordinal)) return next(context);
        // The browser's next request comes over a new connection, which a proxy gives to a node that works.
        context.Features.Get<Microsoft.AspNetCore.Connections.Features.IConnectionLifetimeNotificationFeature>()?.RequestClose();
        return AnswerAsync(context, 503, clockRight ? "database.unavailable" : "database.clock-off", clockRight ? DatabaseAway : "このサーバーの時計がずれているため、処理を止めています。しばらくしてから、もう一度お試しください。");
    }

    /// <summary>One place where exceptions become answers: a neighbour away is 503, everything else 500 with a trace id and nothing more.</summary>
    private static async Task AnswerErrorAsync(HttpContext context)
    {
        var error = context.Features.Get<IExceptionHandlerFeature>()?.Error;
        var (status, code, detail) = error switch
        {
            IUnavailable away => (503, away.Code, away.Explanation),
            PostgresException { SqlState: PostgresErrorCodes.CharacterNotInRepertoire or PostgresErrorCodes.UntranslatableCharacter } => (400, "web.bad-request", "要求の形が正しくありません。"),
            PostgresException { SqlState: PostgresErrorCodes.DiskFull or PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.InsufficientPrivilege } =>
                (503, "database.not-writable", "操作の記録を書き込めないため、新しい操作を受け付けていません。情報システム担当へ連絡してください。"),
            NpgsqlException or TimeoutException => (503, "database.unavailable", DatabaseAway),
            BadHttpRequestException bad => (bad.StatusCode, "web.bad-request", "要求の形が正しくありません。"),
            _ => (500, "web.internal-error", "内部エラーが起きました。追跡番号を添えて管理者へ連絡してください。"),
        };
        await AnswerAsync(context, status, code, detail);
    }

    private const string DatabaseAway = "データベースが応答しません。しばらくしてから、もう一度お試しください。";

    private static async Task AnswerAsync(HttpContext context, int status, string code, string detail)
    {
        context.Response.StatusCode = status;
        if (status == 503) context.Response.Headers.RetryAfter = "2";
        if (context.Request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal))
        {
            context.Response.ContentType = "text/html; charset=utf-8";
            await context.Response.WriteAsync(string.Create(CultureInfo.InvariantCulture, $"""
                <!doctype html><html lang="ja"><meta charset="utf-8"><title>AccessBroker</title><link rel="stylesheet" href="/accessbroker.css">
                <main class="page"><h1>処理できませんでした</h1><p>{detail}</p><p class="hint">{code} · {context.TraceIdentifier}</p></main></html>
                """));
        }
        else await Problems.Json(status, code, detail, context.TraceIdentifier).ExecuteAsync(context);
    }

    /// <summary>A page's handler runs even when an id failed to bind; this refuses before it does.</summary>
    private sealed class RefuseInvalidModel : IPageFilter
    {
        public void OnPageHandlerSelected(PageHandlerSelectedContext context) { }

        public void OnPageHandlerExecuting(PageHandlerExecutingContext context)
        {
            if (!context.ModelState.IsValid && !HttpMethods.IsGet(context.HttpContext.Request.Method)) context.Result = new BadRequestObjectResult(new { code = "web.invalid-input", fields = context.ModelState.Where(m => m.Value?.Errors.Count > 0).Select(m => m.Key) });
            else if (context.ModelState.Where(m => m.Value?.Errors.Count > 0).Any(m => context.RouteData.Values.ContainsKey(m.Key))) context.Result = new NotFoundResult();
        }

        public void OnPageHandlerExecuted(PageHandlerExecutedContext context) { }
    }
}
