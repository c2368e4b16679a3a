using System.Globalization;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace AccessBroker.FileServer;

/// <summary>
/// What the nginx of the file server asks for every request: who is it, may they, and then either "serve this file yourself" (X-Accel-Redirect, up to
/// 1 MiB) or the bytes themselves, which stop when the right does. nginx never decides and never resolves a path. <clause>MOJ 第5-4(4)</clause>
/// </summary>
internal sealed class FileServerApp(Store store, FileVisitors visitors, FileDecisions decisions, FileStreams streams, BrokerOptions options, TimeProvider time)
{
    /// <summary>Ours: what nginx serves, what may be stored, and paths that are not files.</summary>
    private const long Small = 1024 * 1024, MostBytes = 10L * 1024 * 1024 * 1024;
    internal const string Reserved = "/.accessbroker/", Address = "X-Terminal-Address";
    private readonly Disk _disk = new(options.FileRoot);

    internal async Task RunAsync(HttpContext context)
    {
        var target = context.Features.Get<IHttpRequestFeature>()!.RawTarget;
        var headers = context.Response.Headers;
        (headers.CacheControl, headers.XContentTypeOptions, headers.ContentSecurityPolicy) = ("no-store", "nosniff", "default-src 'none'; style-src 'self'; sandbox");
        try
        {
            if (target.StartsWith(Reserved + "callback?", StringComparison.Ordinal)) await CallbackAsync(context);
            else if (FilePath.ParseTarget(target.Length > 1 && target.Split('?')[0].EndsWith('/') ? target.Split('?')[0].TrimEnd('/') is { Length: > 0 } bare ? bare : "/" : target) is { } path) await FileAsync(context, path);
            else await SayAsync(context, StatusCodes.Status400BadRequest, "files.bad-path", "この場所の書き方は使えません。");
        }
        catch (Exception e) when (e is Npgsql.NpgsqlException or TimeoutException or IUnavailable) { await SayAsync(context, StatusCodes.Status503ServiceUnavailable, (e as IUnavailable)?.Code ?? "files.unavailable", "いまは利用権限を確かめられません。しばらくしてから、もう一度お試しください。"); }
    }

    private async Task CallbackAsync(HttpContext context)
    {
        if (await visitors.RedeemAsync(context.Request.Query["code"], context.Request.Cookies[FileVisitors.StateCookie], context.RequestAborted) is not var (cookie, target))
        {
            await SayAsync(context, StatusCodes.Status400BadRequest, "files.code-unknown", "時間切れか、別のブラウザーで始められたものです。もう一度開いてください。");
            return;
        }
        context.Response.Cookies.Append(FileVisitors.Cookie, cookie, Own());
        context.Response.Cookies.Delete(FileVisitors.StateCookie, Own());
        context.Response.Redirect(target);
    }

    private static CookieOptions Own() => new() { HttpOnly = true, Secure = true, SameSite = Microsoft.AspNetCore.Http.SameSiteMode.Lax, Path = "/" };

    private async Task FileAsync(HttpContext context, string path)
    {
        var ct = context.RequestAborted;
        var address = context.Request.Headers[Address].ToString();
        if (await visitors.FindAsync(context.Request.Cookies[FileVisitors.Cookie], address, ct) is not { } session) { SendToSignIn(context, path); return; }
        var query = context.Request.Query;
        var action = context.Request.Method switch { "GET" or "HEAD" => query.ContainsKey("export") ? "export" : query.ContainsKey("print") ? "print" : "read", "PUT" => "write", "DELETE" => "delete", _ => null };
        // A form of another site must not write: only pages of this origin may.
        if (action is null || (action is "write" or "delete" && context.Request.Headers["Sec-Fetch-Site"].ToString() is not ("" or "same-origin" or "none"))) { await SayAsync(context, StatusCodes.Status405MethodNotAllowed, "files.method", "この操作はできません。"); return; }
        var decision = await decisions.DecideAsync(session.Person, path, action, ct);
        var entry = new HistoryEvent($"files.{action}", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Address = address, Details = new Dictionary<string, string> { ["path"] = path, ["grant"] = decision.Grant?.ToString(CultureInfo.InvariantCulture) ?? "" } };
        if (!decision.Allowed)
        {
            if (action == "read" && _disk.IsDirectory(path)) { await ListAsync(context, session, path, ct); return; }
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = $"files.{decision.Reason}" }, time.GetUtcNow(), ct);
            await SayAsync(context, StatusCodes.Status403Forbidden, "files.forbidden", "このファイルは利用できません。必要なときは、所属長を通じて「ファイルの利用許可」を申請してください。");
            return;
        }
        if (action == "write") await WriteAsync(context, session, path, entry, decision, ct);
        else if (action == "delete") await DeleteAsync(context, session, path, entry, decision, ct);
        else if (_disk.IsDirectory(path)) await ListAsync(context, session, path, ct);
        else await ReadAsync(context, session, path, entry, decision, ct);
    }

    private void SendToSignIn(HttpContext context, string path)
    {
        if (!HttpMethods.IsGet(context.Request.Method)) { context.Response.StatusCode = StatusCodes.Status401Unauthorized; return; }
        var state = Secret.New();
        context.Response.Cookies.Append(FileVisitors.StateCookie, state, Own());
        context.Response.Redirect($"{options.Issuer}/file-server/enter?state={Convert.ToHexStringLower(Secret.Hash(state))}&to={Uri.EscapeDataString(path)}");
    }

    /// <summary>Opening waits for its event. Small files are nginx's; larger ones are ours, and end when the right does.</summary>
    private async Task ReadAsync(HttpContext context, LiveSession session, string path, HistoryEvent entry, FileDecision decision, CancellationToken ct)
    {
        await using var file = _disk.Open(path);
        if (file is null) { await SayAsync(context, StatusCodes.Status404NotFound, "files.not-found", "このファイルはありません。"); return; }
        await using (var work = await store.BeginAsync(ct))
        {
            work.Record(entry, time.GetUtcNow());
            FileShelf.NoteUse(work, decision.Grant!.Value, session.Person.Value, entry.Operation["files.".Length..], time.GetUtcNow());
            await work.CommitAsync(ct);
        }
        var response = context.Response;
        response.ContentType = "application/octet-stream";
        response.Headers.ContentDisposition = new ContentDispositionHeaderValue(entry.Operation == "files.export" ? "attachment" : "inline") { FileNameStar = path[(path.LastIndexOf('/') + 1)..] }.ToString();
        if (file.Length <= Small)
        {
            response.Headers["X-Accel-Redirect"] = "/.internal" + string.Join('/', path.Split('/').Select(Uri.EscapeDataString));
            return;
        }
        var (from, until) = Range(context.Request.Headers.Range, file.Length);
        if (from > until) { response.StatusCode = StatusCodes.Status416RangeNotSatisfiable; response.Headers.ContentRange = $"bytes */{file.Length}"; return; }
        response.Headers.AcceptRanges = "bytes";
        response.Headers["X-Accel-Buffering"] = "no";
        response.ContentLength = until - from + 1;
        if (response.ContentLength < file.Length) (response.StatusCode, response.Headers.ContentRange) = (StatusCodes.Status206PartialContent, $"bytes {from}-{until}/{file.Length}");
        if (HttpMethods.IsHead(context.Request.Method)) return;
        var stream = streams.Begin(session.Person, session.Id, path, entry.Operation["files.".Length..]);
        try
        {
            using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, stream.Cut);
            file.Position = from;
            var buffer = new byte[64 * 1024];
            for (var left = until - from + 1; left > 0;)
            {
                var read = await file.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, left)), both.Token);
                if (read == 0) break;
                await response.Body.WriteAsync(buffer.AsMemory(0, read), both.Token);
                left -= read;
            }
        }
        catch (OperationCanceledException) when (stream.Reason is not null)
        {
            await RecordCutAsync(entry, stream);
            // Not an orderly end: nobody must take half a file for a whole one.
            context.Abort();
        }
        catch (OperationCanceledException) { context.Abort(); }
        finally { streams.End(stream); }
    }

    private Task RecordCutAsync(HistoryEvent entry, FileTransfer stream) =>
        store.RecordAsync(entry with { Operation = "files.cut", Outcome = HistoryOutcome.Ended, Reason = stream.Reason! }, time.GetUtcNow(), CancellationToken.None);

    /// <summary>One range, or the whole; an unsatisfiable one is from 1 until 0.</summary>
    private static (long From, long Until) Range(string? header, long length)
    {
        if (header is null || !RangeHeaderValue.TryParse(header, out var ranges) || ranges.Ranges.Count != 1) return (0, length - 1);
        var range = ranges.Ranges.First();
        if (range.From is { } from) return from < length ? (from, Math.Min(range.To ?? (length - 1), length - 1)) : (1, 0);
        return range.To is { } last and > 0 ? (Math.Max(0, length - last), length - 1) : (1, 0);
    }

    private async Task WriteAsync(HttpContext context, LiveSession session, string path, HistoryEvent entry, FileDecision decision, CancellationToken ct)
    {
        if (path == "/" || _disk.IsDirectory(path)) { await SayAsync(context, StatusCodes.Status409Conflict, "files.directory", "ここには書き込めません。"); return; }
        context.Features.Get<IHttpMaxRequestBodySizeFeature>()!.MaxRequestBodySize = MostBytes;
        var stream = streams.Begin(session.Person, session.Id, path, "write");
        try
        {
            using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, stream.Cut);
            var (bytes, hash) = await _disk.WriteAsync(path, context.Request.Body, MostBytes, both.Token);
            await using var work = await store.BeginAsync(CancellationToken.None);
            await FileShelf.ActAsAsync(work, session.Person, CancellationToken.None);
            var version = await FileShelf.StoreAsync(work, path, bytes, hash, session.Person, time.GetUtcNow(), CancellationToken.None);
            work.Record(entry with { Details = entry.Details.Concat([new("bytes", $"{bytes}"), new("sha256", hash), new("version", $"{version}")]).ToDictionary() }, time.GetUtcNow());
            FileShelf.NoteUse(work, decision.Grant!.Value, session.Person.Value, "write", time.GetUtcNow());
            await work.CommitAsync(CancellationToken.None);
            context.Response.StatusCode = version == 1 ? StatusCodes.Status201Created : StatusCodes.Status204NoContent;
        }
        catch (OperationCanceledException) when (stream.Reason is not null) { await RecordCutAsync(entry, stream); context.Abort(); }
        catch (OperationCanceledException) { context.Abort(); }
        catch (DirectoryNotFoundException) { await SayAsync(context, StatusCodes.Status404NotFound, "files.no-directory", "このフォルダーはありません。"); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = "files.not-stored" }, time.GetUtcNow(), CancellationToken.None);
            await SayAsync(context, StatusCodes.Status507InsufficientStorage, "files.not-stored", "保存できませんでした。元のファイルはそのままです。");
        }
        finally { streams.End(stream); }
    }

    private async Task DeleteAsync(HttpContext context, LiveSession session, string path, HistoryEvent entry, FileDecision decision, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        work.Record(entry, time.GetUtcNow());
        FileShelf.NoteUse(work, decision.Grant!.Value, session.Person.Value, "delete", time.GetUtcNow());
        await FileShelf.ActAsAsync(work, session.Person, ct);
        await FileShelf.RemoveAsync(work, path, ct);
        if (!_disk.Delete(path)) { await SayAsync(context, StatusCodes.Status404NotFound, "files.not-found", "このファイルはありません。"); return; }
        await work.CommitAsync(CancellationToken.None);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    /// <summary>What of a directory this person may see: places that lead to something of theirs, and files they may read. Nothing: as if it were not there.</summary>
    private async Task ListAsync(HttpContext context, LiveSession session, string path, CancellationToken ct)
    {
        var lines = new List<(string Name, bool Directory)>();
        foreach (var entry in Directory.EnumerateFileSystemEntries(_disk.PlaceOf(path)).Order(StringComparer.Ordinal).Take(5_000))
        {
            var name = Path.GetFileName(entry);
            if (name.StartsWith(".accessbroker-", StringComparison.Ordinal) || FilePath.Parse((path == "/" ? "" : path) + "/" + name) is not { } child) continue;
            var directory = Directory.Exists(entry);
            if (await MayReadAsync(session, child, ct) || (directory && await LeadsAsync(session, child, ct))) lines.Add((name, directory));
        }
        if (lines.Count == 0 && !await MayReadAsync(session, path, ct))
        {
            await SayAsync(context, StatusCodes.Status403Forbidden, "files.forbidden", "このファイルは利用できません。必要なときは、所属長を通じて「ファイルの利用許可」を申請してください。");
            return;
        }
        static string Html(string text) => System.Net.WebUtility.HtmlEncode(text);
        var items = lines.Select(l => $"<li><a href=\"{Html(string.Join('/', ((path == "/" ? "" : path) + "/" + l.Name).Split('/').Select(Uri.EscapeDataString)))}{(l.Directory ? "/" : "")}\">{Html(l.Name)}{(l.Directory ? "/" : "")}</a></li>");
        context.Response.ContentType = "text/html; charset=utf-8";
        await context.Response.WriteAsync($"<!doctype html><html lang=\"ja\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{Html(path)}</title><main><h1>{Html(path)}</h1><ul>{(path == "/" ? "" : "<li><a href=\"..\">一つ上へ</a></li>")}{string.Concat(items)}</ul></main></html>", ct);
    }

    private async Task<bool> MayReadAsync(LiveSession session, string path, CancellationToken ct) => (await decisions.DecideAsync(session.Person, path, "read", ct)).Allowed;

    /// <summary>Somewhere below is a place of theirs: the names of other places are nobody's business.</summary>
    private async Task<bool> LeadsAsync(LiveSession session, string directory, CancellationToken ct)
    {
        foreach (var place in decisions.Sets.Keys.Where(s => s.StartsWith(directory + "/", StringComparison.Ordinal)))
            if (await MayReadAsync(session, place, ct)) return true;
        return false;
    }

    private static Task SayAsync(HttpContext context, int status, string code, string sentence)
    {
        if (context.Response.HasStarted) { context.Abort(); return Task.CompletedTask; }
        (context.Response.StatusCode, context.Response.ContentType) = (status, "text/html; charset=utf-8");
        context.Response.Headers["X-Code"] = code;
        return context.Response.WriteAsync($"<!doctype html><html lang=\"ja\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{status}</title><main><h1>{sentence}</h1><p>{code}</p></main></html>");
    }
}
