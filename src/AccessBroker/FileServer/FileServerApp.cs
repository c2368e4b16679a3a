using System.Globalization;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Localization;
using Microsoft.Net.Http.Headers;

namespace AccessBroker.FileServer;

/// <summary>
/// What the nginx of the file server asks for every request: who is it, may they, and then either "serve this file yourself" (X-Accel-Redirect, up to
/// 1 MiB) or the bytes themselves, which stop when the right does. nginx never decides and never resolves a path. <clause>MOJ 第5-4(4)</clause>
/// </summary>
internal sealed class FileServerApp(Store store, FileVisitors visitors, FileDecisions decisions, FileReading reading, FileChanges changes, FileListing listing, Fitness fitness, Coalescer coalescer, IStringLocalizer<Text> T, BrokerOptions options, TimeProvider time)
{
    /// <summary>Paths that are not files.</summary>
    internal const string Reserved = "/.accessbroker/", Address = "X-Terminal-Address", Language = "__Host-lang";
    /// <summary>Files are inert wherever they come from; the viewer of PDF needs its own objects; our pages have a style and forms, no script.</summary>
    internal const string ForFiles = "default-src 'none'; sandbox", ForPdf = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'", ForPages = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'";
    private const string NotYours = "このファイルは利用できません。必要なときは、所属長を通じて「ファイルの利用許可」を申請してください。";

    private const string NotToDelete = "このファイルは削除できません。必要なときは、所属長を通じて「ファイルの消去の許可」を申請してください。", NotToExport = "このファイルは持ち出せません。必要なときは、所属長を通じて「ファイルの持出しの許可」を申請してください。";

    internal static string Escape(string path) => string.Join('/', path.Split('/').Select(Uri.EscapeDataString));

    internal async Task RunAsync(HttpContext context)
    {
        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        var headers = context.Response.Headers;
        (headers.CacheControl, headers.XContentTypeOptions, headers.ContentSecurityPolicy, headers["Referrer-Policy"]) = ("no-store", "nosniff", ForFiles, "no-referrer");
        CultureInfo.CurrentUICulture = CultureInfo.GetCultureInfo(context.Request.Cookies[Language] == "en" ? "en" : "ja");
        try
        {
            if (!fitness.MayWork) await SayAsync(context, StatusCodes.Status503ServiceUnavailable, "files.unavailable", Unsure);
            else if (target.StartsWith(Reserved + "callback?", StringComparison.Ordinal)) await CallbackAsync(context);
            else if (target == Reserved + "style.css") { context.Response.ContentType = "text/css"; await context.Response.WriteAsync(FilePages.Style, context.RequestAborted); }
            else if (PathOf(target) is { } path) await FileAsync(context, path);
            else await RefuseAsync(context, StatusCodes.Status400BadRequest, "files.bad-path", "この場所の書き方は使えません。");
        }
        catch (Exception e) when (e is Npgsql.NpgsqlException or TimeoutException or IUnavailable) { await SayAsync(context, StatusCodes.Status503ServiceUnavailable, (e as IUnavailable)?.Code ?? "files.unavailable", Unsure); }
        catch (BadHttpRequestException e) { await SayAsync(context, e.StatusCode, "files.bad-request", "送られた内容を読み取れませんでした。もう一度お試しください。"); }
    }

    private const string Unsure = "いまは利用権限を確かめられません。しばらくしてから、もう一度お試しください。";

    /// <summary>What nobody means to ask is counted with its address.</summary>
    private Task RefuseAsync(HttpContext context, int status, string code, string sentence)
    {
        coalescer.Add(new("files.read", HistoryOutcome.Refused, code) { Address = context.Request.Headers[Address].ToString() });
        return SayAsync(context, status, code, sentence);
    }

    private static bool IsReserved(string path) => (path + "/").StartsWith(Reserved, StringComparison.Ordinal);

    /// <summary>The canonical path of a request; a directory may end with one "/". Null: refused.</summary>
    private static string? PathOf(string target)
    {
        var raw = target.Split('?', 2)[0];
        if (FilePath.ParseTarget(raw.Length > 1 && raw[^1] == '/' ? raw[..^1] : raw) is not { } path) return null;
        return IsReserved(path) ? null : path;
    }

    private async Task CallbackAsync(HttpContext context)
    {
        if (await visitors.RedeemAsync(context.Request.Query["code"], context.Request.Cookies[FileVisitors.StateCookie], context.Request.Headers[Address].ToString(), context.RequestAborted) is not var (cookie, target))
        {
            await RefuseAsync(context, StatusCodes.Status400BadRequest, "files.code-unknown", "時間切れか、別のブラウザーで始められたものです。もう一度開いてください。");
            return;
        }
        context.Response.Cookies.Append(FileVisitors.Cookie, cookie, Own());
        context.Response.Cookies.Delete(FileVisitors.StateCookie, Own());
        context.Response.Cookies.Append(Language, context.Request.Query["lang"] == "en" ? "en" : "ja", Own());
        context.Response.Redirect(target);
    }

    private static CookieOptions Own() => new() { HttpOnly = true, Secure = true, SameSite = Microsoft.AspNetCore.Http.SameSiteMode.Lax, Path = "/" };

    private async Task FileAsync(HttpContext context, string path)
    {
        var ct = context.RequestAborted;
        var address = context.Request.Headers[Address].ToString();
        if (await visitors.FindAsync(context.Request.Cookies[FileVisitors.Cookie], address, ct) is not { } session) { SendToSignIn(context, path); return; }
        var action = ActionOf(context.Request);
        // A form of another site must not write: only pages of this origin may.
        if (action is null || (!IsReading(action) && context.Request.Headers["Sec-Fetch-Site"].ToString() is not ("" or "same-origin" or "none"))) { await RefuseAsync(context, StatusCodes.Status405MethodNotAllowed, "files.method", "この操作はできません。"); return; }
        var body = context.Request.Body;
        if (action == "write") context.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = FileChanges.MostBytes + (64 * 1024);
        if (action == "write" && HttpMethods.IsPost(context.Request.Method))
        {
            if (await UploadedAsync(context.Request, ct) is not var (name, content) || FilePath.Parse((path == "/" ? "" : path) + "/" + name) is not { } child || IsReserved(child)) { await RefuseAsync(context, StatusCodes.Status400BadRequest, "files.bad-path", "このファイル名は使えません。"); return; }
            (path, body) = (child, content);
        }
        var decision = await decisions.DecideAsync(session.Person, path, action, ct);
        // Whoever is refused reading reads by no other door.
        if (decision.Allowed && action is "print" or "export" && await decisions.DecideAsync(session.Person, path, "read", ct) is { Allowed: false, Reason: "denied" } refused) decision = refused;
        var entry = new HistoryEvent($"files.{action}", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Address = address, Details = new Dictionary<string, string> { ["path"] = path, ["grant"] = decision.Grant?.ToString(CultureInfo.InvariantCulture) ?? "" } };
        if (action == "read" && await listing.PageAsync(session, path, decision.Allowed, ct) is { } page)
        {
            await store.RecordAsync(entry with { Operation = "files.list" }, time.GetUtcNow(), ct);
            await WriteAsync(context, StatusCodes.Status200OK, page);
            return;
        }
        if (!decision.Allowed)
        {
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = $"files.{decision.Reason}" }, time.GetUtcNow(), ct);
            await SayAsync(context, StatusCodes.Status403Forbidden, "files.forbidden", action switch { "delete" => NotToDelete, "export" => NotToExport, _ => NotYours });
            return;
        }
        var grant = decision.Grant!.Value;
        if (action == "write") await AnswerAsync(context, path, await changes.StoreAsync(session, path, body, entry, grant, ct));
        else if (action == "delete") await AnswerAsync(context, path, await changes.RemoveAsync(session, path, entry, grant, ct));
        else if (!await reading.RunAsync(context, session, path, entry, grant, ct)) await SayAsync(context, StatusCodes.Status404NotFound, "files.not-found", "このファイルはありません。");
    }

    private static bool IsReading(string action) => action is "read" or "print" or "export";

    /// <summary>What a request wants to do; null: nothing that there is. Forms of our pages post, programs put and delete.</summary>
    private static string? ActionOf(HttpRequest request) => request.Method switch
    {
        "GET" or "HEAD" => request.Query.ContainsKey("export") ? "export" : request.Query.ContainsKey("print") ? "print" : "read",
        "PUT" => "write",
        "DELETE" => "delete",
        "POST" => request.Query.ContainsKey("upload") ? "write" : request.Query.ContainsKey("delete") ? "delete" : null,
        _ => null,
    };

    /// <summary>The one file of a form, not read yet; null: no such form.</summary>
    private static async Task<(string Name, Stream Content)?> UploadedAsync(HttpRequest request, CancellationToken ct)
    {
        if (!MediaTypeHeaderValue.TryParse(request.ContentType, out var type) || type.MediaType != "multipart/form-data" || HeaderUtilities.RemoveQuotes(type.Boundary).Value is not { Length: > 0 and <= 100 } boundary) return null;
        try
        {
            return await new MultipartReader(boundary, request.Body).ReadNextSectionAsync(ct) is { } section && ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out var disposition) && disposition.IsFileDisposition()
                && HeaderUtilities.RemoveQuotes(disposition.FileNameStar.HasValue ? disposition.FileNameStar : disposition.FileName).Value is { Length: > 0 } name && !name.Contains('/', StringComparison.Ordinal) ? (name, section.Body) : null;
        }
        catch (Exception e) when (e is InvalidDataException or IOException) { return null; }
    }

    private void SendToSignIn(HttpContext context, string path)
    {
        if (!HttpMethods.IsGet(context.Request.Method)) { context.Response.StatusCode = StatusCodes.Status401Unauthorized; return; }
        var state = Secret.New();
        context.Response.Cookies.Append(FileVisitors.StateCookie, state, Own());
        context.Response.Redirect($"{options.Issuer}/file-server/enter?state={Convert.ToHexStringLower(Secret.Hash(state))}&to={Uri.EscapeDataString(path)}");
    }

    /// <summary>A form's sender goes back to the directory; a program gets the status.</summary>
    private Task AnswerAsync(HttpContext context, string path, FileChange? change)
    {
        if (change is null) context.Abort();
        else if (change.Code.Length > 0) return SayAsync(context, change.Status, change.Code, change.Sentence);
        else if (!HttpMethods.IsPost(context.Request.Method)) context.Response.StatusCode = change.Status;
        else (context.Response.StatusCode, context.Response.Headers.Location) = (StatusCodes.Status303SeeOther, Escape(path[..(path.LastIndexOf('/') + 1)]));
        return Task.CompletedTask;
    }

    private Task SayAsync(HttpContext context, int status, string code, string sentence)
    {
        if (context.Response.HasStarted) { context.Abort(); return Task.CompletedTask; }
        context.Response.Headers["X-Code"] = code;
        return WriteAsync(context, status, FilePages.Page(T[sentence], $"<h1>{T[sentence]}</h1><p class=\"code\">{code}</p><p><a href=\"/\">{T["ファイルの一覧へ"]}</a></p>"));
    }

    private static Task WriteAsync(HttpContext context, int status, string page)
    {
        (context.Response.StatusCode, context.Response.ContentType, context.Response.Headers.ContentSecurityPolicy) = (status, "text/html; charset=utf-8", ForPages);
        return context.Response.WriteAsync(page);
    }
}
