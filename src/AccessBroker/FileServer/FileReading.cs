using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Sessions;
using Microsoft.Net.Http.Headers;

namespace AccessBroker.FileServer;

/// <summary>Opening a file waits for its event. Small files are nginx's; larger ones are ours, and end when the right does. <clause>MOJ 第5-4(4)</clause></summary>
internal sealed class FileReading(Store store, FileStreams streams, Disk disk, TimeProvider time)
{
    /// <summary>Ours: what nginx serves by itself.</summary>
    private const long Small = 1024 * 1024;

    /// <summary>What a browser may show by itself: nothing of it runs.</summary>
    private static readonly Dictionary<string, string> Shown = new(StringComparer.OrdinalIgnoreCase) { [".txt"] = "text/plain; charset=utf-8", [".csv"] = "text/plain; charset=utf-8", [".log"] = "text/plain; charset=utf-8", [".pdf"] = "application/pdf", [".png"] = "image/png", [".jpg"] = "image/jpeg", [".jpeg"] = "image/jpeg", [".gif"] = "image/gif", [".webp"] = "image/webp" };

    /// <summary>Answers with the file, or with "nginx, serve it". False: there is none.</summary>
    internal async Task<bool> RunAsync(HttpContext context, LiveSession session, string path, HistoryEvent entry, long grant, CancellationToken ct)
    {
        await using var file = disk.Open(path);
        if (file is null) return false;
        var action = entry.Operation["files.".Length..];
        await using (var work = await store.BeginAsync(ct))
        {
            work.Record(entry, time.GetUtcNow());
            FileShelf.NoteUse(work, grant, session.Person.Value, action, time.GetUtcNow());
            await work.CommitAsync(ct);
        }
        var response = context.Response;
        var name = path[(path.LastIndexOf('/') + 1)..];
        response.ContentType = action == "export" ? "application/octet-stream" : Shown.GetValueOrDefault(Path.GetExtension(name), "application/octet-stream");
        if (response.ContentType == "application/pdf") response.Headers.ContentSecurityPolicy = FileServerApp.ForPdf;
        response.Headers.ContentDisposition = new ContentDispositionHeaderValue(action == "export" ? "attachment" : "inline") { FileNameStar = name }.ToString();
        if (file.Length <= Small)
        {
            response.Headers["X-Accel-Redirect"] = "/.internal" + FileServerApp.Escape(path);
            return true;
        }
        var (from, until) = Range(context.Request.Headers.Range, file.Length);
        if (from > until)
        {
            (response.StatusCode, response.Headers.ContentRange) = (StatusCodes.Status416RangeNotSatisfiable, $"bytes */{file.Length}");
            return true;
        }
        (response.Headers.AcceptRanges, response.Headers["X-Accel-Buffering"], response.ContentLength) = ("bytes", "no", until - from + 1);
        if (response.ContentLength < file.Length) (response.StatusCode, response.Headers.ContentRange) = (StatusCodes.Status206PartialContent, $"bytes {from}-{until}/{file.Length}");
        if (!HttpMethods.IsHead(context.Request.Method)) await SendAsync(context, session, path, action, entry, file, from, until, ct);
        return true;
    }

    private async Task SendAsync(HttpContext context, LiveSession session, string path, string action, HistoryEvent entry, FileStream file, long from, long until, CancellationToken ct)
    {
        var stream = streams.Begin(session.Person, session.Id, path, action);
        try
        {
            using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, stream.Cut);
            file.Position = from;
            var buffer = new byte[64 * 1024];
            for (var left = until - from + 1; left > 0;)
            {
                var read = await file.ReadAsync(buffer.AsMemory(0, (int)Math.Min(buffer.Length, left)), both.Token);
                if (read == 0) break;
                await context.Response.Body.WriteAsync(buffer.AsMemory(0, read), both.Token);
                left -= read;
            }
        }
        catch (OperationCanceledException)
        {
            // Not an orderly end: nobody must take half a file for a whole one.
            context.Abort();
            if (stream.Reason is { } reason) await streams.RecordCutAsync(entry, reason);
        }
        finally { streams.End(stream); }
    }

    /// <summary>One range, or the whole; an unsatisfiable one is from 1 until 0.</summary>
    private static (long From, long Until) Range(string? header, long length)
    {
        if (header is null || !RangeHeaderValue.TryParse(header, out var ranges) || ranges.Ranges.Count != 1) return (0, length - 1);
        var range = ranges.Ranges.First();
        if (range.From is { } from) return from < length ? (from, Math.Min(range.To ?? (length - 1), length - 1)) : (1, 0);
        return range.To is { } last and > 0 ? (Math.Max(0, length - last), length - 1) : (1, 0);
    }
}
