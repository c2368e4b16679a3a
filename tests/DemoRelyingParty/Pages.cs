using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;

namespace DemoRelyingParty;

/// <summary>Sessions of this relying party, in memory; a demo has one node.</summary>
internal sealed class Sessions
{
    internal sealed class Session
    {
        internal Broker.Attempt? Attempt { get; set; }
        internal Broker.Tokens? Tokens { get; set; }
        internal string? Name { get; set; }
        internal string? Ended { get; set; }
        /// <summary>The access token is over, the session perhaps not: asked without a page.</summary>
        internal bool Renew { get; set; }
        /// <summary>The broker cannot tell at this moment: nothing is shown, nothing is ended.</summary>
        internal bool Waiting { get; set; }
    }

    /// <summary>The broker said that this session has ended (OpenID Connect Back-Channel Logout 1.0).</summary>
    internal void End(string sid)
    {
        foreach (var session in _sessions.Values)
            if (session.Tokens is { } tokens && tokens.Claims.GetProperty("sid").GetString() == sid) (session.Tokens, session.Ended) = (null, Pages.Over);
    }

    private const string Cookie = "__Host-koseki";
    private readonly ConcurrentDictionary<string, Session> _sessions = new();

    internal Session Of(HttpContext context)
    {
        if (context.Request.Cookies[Cookie] is { } id && _sessions.TryGetValue(id, out var known)) return known;
        id = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(24));
        context.Response.Cookies.Append(Cookie, id, new CookieOptions { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Lax, Path = "/" });
        return _sessions[id] = new();
    }
}

/// <summary>The pages of the demo: a register window that is open while the operator's card is in the reader.</summary>
internal static class Pages
{
    internal static void Map(WebApplication app, Broker broker, Sessions sessions)
    {
        app.Use((context, next) =>
        {
            context.Response.Headers.ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
            context.Response.Headers.CacheControl = "no-store";
            return next(context);
        });
        app.UseStaticFiles();
        app.MapGet("/", async (HttpContext context) =>
        {
            var session = sessions.Of(context);
            await CheckAsync(broker, session);
            if (session.Renew)
            {
                session.Renew = false;
                (var url, session.Attempt) = broker.Authorize(silently: true);
                return Results.Redirect(url);
            }
            return Html(session.Tokens is null ? Closed(session) : session.Waiting ? Wait : Open(session));
        });
        app.MapGet("/sign-in", (HttpContext context) =>
        {
            var (url, attempt) = broker.Authorize();
            var session = sessions.Of(context);
            (session.Attempt, session.Ended) = (attempt, null);
            return Results.Redirect(url);
        });
        app.MapGet("/callback", async (HttpContext context, string? code, string? state, string? iss, string? error) =>
        {
            var session = sessions.Of(context);
            var attempt = session.Attempt;
            session.Attempt = null;
            if (attempt is null || state != attempt.State || code is null)
            {
                session.Ended = error switch { null => "サインインをやり直してください。", "login_required" => Over, _ => $"サインインできませんでした({error})。" };
                return Results.Redirect("/");
            }
            session.Tokens = await broker.RedeemAsync(code, attempt);
            if (session.Tokens is null) session.Ended = "認証サーバーの回答を確かめられませんでした。";
            return Results.Redirect("/");
        });
        app.MapGet("/status", async (HttpContext context) =>
        {
            var session = sessions.Of(context);
            await CheckAsync(broker, session);
            return Results.Json(new { state = session.Tokens is null ? "closed" : session.Waiting ? "waiting" : "open" });
        });
        app.MapPost("/backchannel-logout", async (HttpContext context) =>
        {
            var form = await context.Request.ReadFormAsync();
            if (await broker.VerifyLogoutAsync(form["logout_token"].ToString()) is not { } sid) return Results.BadRequest();
            sessions.End(sid);
            return Results.Ok();
        });
        app.MapGet("/sign-out", (HttpContext context) =>
        {
            var session = sessions.Of(context);
            var token = session.Tokens?.IdToken;
            (session.Tokens, session.Ended) = (null, "サインアウトしました。");
            return Results.Redirect(token is null ? "/" : broker.EndSessionUrl(token));
        });
    }

    /// <summary>Every look at the register asks the broker first: access ends with the card.</summary>
    private static async Task CheckAsync(Broker broker, Sessions.Session session)
    {
        if (session.Tokens is not { } tokens) return;
        try
        {
            var info = await broker.UserInfoAsync(tokens.AccessToken);
            session.Waiting = false;
            if (info is { } person) { session.Name = person.TryGetProperty("name", out var name) ? name.GetString() : person.GetProperty("sub").GetString(); return; }
            session.Renew = DateTimeOffset.UtcNow >= tokens.AccessUntil.AddSeconds(-5);
            (session.Tokens, session.Ended) = (null, session.Renew ? null : Over);
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException) { session.Waiting = true; }
    }

    internal const string Over = "サインインが終わったため(カードの抜取り・期限切れ・紛失届など)、業務を終了しました。";

    private const string Wait = """<p class="ended" id="waiting" role="status">認証サーバーに確かめています。数秒で戻ります。</p>""";

    private static string Open(Sessions.Session session) => $"""
        <p class="who" id="who"><span><strong>{WebUtility.HtmlEncode(session.Name)}</strong> さん</span> <span>端末 {WebUtility.HtmlEncode(session.Tokens!.Claims.GetProperty("terminal").GetString())}</span> <a href="/sign-out">サインアウト</a></p>
        <section class="register"><h2>戸籍証明の交付(デモ・架空の記録)</h2>
        <table><thead><tr><th scope="col">受付</th><th scope="col">証明の種類</th><th scope="col">本籍</th><th scope="col">筆頭者</th></tr></thead>
        <tbody><tr><td>0001</td><td>全部事項証明</td><td>見本市見本町1丁目</td><td>見本 一郎</td></tr><tr><td>0002</td><td>個人事項証明</td><td>見本市例示台2番地</td><td>例示 花子</td></tr></tbody></table></section>
        """;

    private static string Closed(Sessions.Session session) => $"""
        {(session.Ended is { } ended ? $"<p class=\"ended\" id=\"ended\" role=\"status\">{WebUtility.HtmlEncode(ended)}</p>" : "")}
        <p>窓口の業務を始めるには、操作識別カードでサインインしてください。</p>
        <p><a class="button" id="sign-in" href="/sign-in">サインインする</a></p>
        """;

    private static IResult Html(string body) => Results.Content($"""
        <!doctype html><html lang="ja"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>戸籍証明窓口(デモ)</title>
        <link rel="stylesheet" href="/demo.css"><script src="/demo.js" defer></script></head><body><header><h1>戸籍証明窓口(デモ)</h1></header><main>{body}</main></body></html>
        """, "text/html; charset=utf-8");
}
