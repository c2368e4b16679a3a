using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.FilePermissions;

/// <summary>A bulk update that has begun and not ended.</summary>
internal sealed record FileBatch(long Id, string Resource, string Enforcer, string Purpose, DateTimeOffset BegunAt, DateTimeOffset DueAt);

/// <summary>
/// Bulk updates by a program: its place is hidden from everybody until it commits. When the program dies, the place stays hidden, somebody is told, and a
/// person who has looked at the data releases it. <clause>MOJ 第5-8(2)ア</clause>
/// </summary>
internal sealed class FileBatches(Store store, Wakeups wakeups, TimeProvider time)
{
    /// <summary>Ours: a day at most. Every node refuses what it has not confirmed for 1 s, and cuts what runs a turn later.</summary>
    internal const int MostMinutes = 24 * 60;
    private static readonly TimeSpan Everywhere = TimeSpan.FromMilliseconds(1500);

    /// <summary>What came of the wish to begin.</summary>
    internal abstract record Beginning
    {
        private Beginning() { }
        /// <summary>Hidden at every node. The token commits it, and is shown once.</summary>
        internal sealed record Hidden(string Token, DateTimeOffset DueAt) : Beginning;
        internal sealed record Refused(int Status, string Code, string Sentence) : Beginning;
    }

    /// <summary>Hides a place. Answers only when no node shows it any more. Asked again with the same token (whose answer was lost), it answers the same.</summary>
    internal async Task<Beginning> BeginAsync(string enforcer, string path, string purpose, TimeSpan within, string? given, CancellationToken ct)
    {
        var (token, now) = (given ?? Secret.New(), time.GetUtcNow());
        var due = now + within;
        await using (var work = await store.BeginAsync(ct))
        {
            if (await work.AskAsync(FileRegister.BatchesOf(enforcer), ct) is not { } below || !FileRule.Chain(path).Contains(below)) return new Beginning.Refused(StatusCodes.Status403Forbidden, "files.batch-elsewhere", "このプログラムは、この場所の一括処理を行えません。");
            if (await work.AskAsync(FileRegister.FindSet(path), ct) is null) return new Beginning.Refused(StatusCodes.Status404NotFound, "files.unknown-place", "この場所は登録されていません。");
            var begun = await work.QueryAsync($"""
                insert into file_permissions.batches (resource, enforcer, purpose, token_hash, begun_at, due_at) values ({path}, {enforcer}, {purpose}, {Secret.Hash(token)}, {now}, {due})
                on conflict (resource) where ended_at is null do nothing returning id
                """, r => r.GetInt64(0), ct);
            if (begun is [var id])
            {
                work.Write($"update file_permissions.sets set batch_since = {now} where resource = {path}");
                work.Record(new("files.begin-batch", HistoryOutcome.Done) { Client = enforcer, Details = Details(id, path, purpose) }, now);
                await work.CommitAsync(ct);
            }
            else if (await work.QueryAsync($"select due_at from file_permissions.batches where resource = {path} and token_hash = {Secret.Hash(token)} and enforcer = {enforcer} and ended_at is null", r => r.GetFieldValue<DateTimeOffset>(0), ct) is [var before]) due = before;
            else return new Beginning.Refused(StatusCodes.Status409Conflict, "files.batch-busy", "この場所では、別の一括処理が終わっていません。");
        }
        wakeups.Wake(FileDecisions.Topic);
        // Begun is begun: a caller who goes away in between finds the place hidden, not the promise broken; asked again at once, it holds as well.
        await Task.Delay(Everywhere, time, CancellationToken.None);
        return new Beginning.Hidden(token, due);
    }

    /// <summary>The program lives and needs longer; the new end. Null: unknown, ended, or another program's.</summary>
    internal async Task<DateTimeOffset?> ExtendAsync(string enforcer, string token, TimeSpan within, CancellationToken ct)
    {
        var due = time.GetUtcNow() + within;
        return await store.ExecuteAsync($"update file_permissions.batches set due_at = {due}, told_at = null where token_hash = {Secret.Hash(token)} and enforcer = {enforcer} and ended_at is null", ct) == 1 ? due : null;
    }

    /// <summary>The program is done: its place is there again. False: unknown, ended, or another program's.</summary>
    internal Task<bool> CommitAsync(string enforcer, string token, CancellationToken ct) =>
        EndAsync($"token_hash = {Secret.Hash(token)} and enforcer = {enforcer}", enforcer, "committed", null, ct);

    /// <summary>Somebody has looked at what a lost program left, and shows it again. False: it has ended.</summary>
    internal Task<bool> ReleaseAsync(long id, PersonId by, string note, CancellationToken ct) => EndAsync($"id = {id}", by.Value, "released", note, ct, by);

    private async Task<bool> EndAsync(Sql which, string by, string outcome, string? note, CancellationToken ct, PersonId? person = null)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var ended = await work.QueryAsync($"update file_permissions.batches set ended_at = {now}, ended_by = {by}, outcome = {outcome}, note = {note} where {which} and ended_at is null returning id, resource, enforcer, purpose, begun_at, due_at", ReadBatch, ct);
        if (ended is not [var batch]) return false;
        work.Write($"update file_permissions.sets set batch_since = null where resource = {batch.Resource}");
        if (person is not null) work.Enter(FileRequest.Register, $"batch-{batch.Id}", "一括処理の解除", by, new Dictionary<string, string> { ["path"] = batch.Resource, ["subject"] = batch.Enforcer, ["from"] = JapaneseTime.Precise(batch.BegunAt), ["until"] = JapaneseTime.Precise(now), ["reason"] = note ?? "" }, now);
        work.Record(new(person is null ? "files.commit-batch" : "files.end-batch", HistoryOutcome.Done) { Person = person, Client = batch.Enforcer, Details = Details(batch.Id, batch.Resource, note ?? batch.Purpose) }, now);
        await work.CommitAsync(ct);
        wakeups.Wake(FileDecisions.Topic);
        return true;
    }

    internal static Question<List<FileBatch>> Open(bool overdue, DateTimeOffset now) => Question.All($"select id, resource, enforcer, purpose, begun_at, due_at from file_permissions.batches where ended_at is null and (not {overdue} or due_at < {now}) order by id", ReadBatch);

    private static FileBatch ReadBatch(Npgsql.NpgsqlDataReader r) => new(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetFieldValue<DateTimeOffset>(4), r.GetFieldValue<DateTimeOffset>(5));

    internal static Dictionary<string, string> Details(long id, string path, string about) => new() { ["batch"] = $"{id}", ["path"] = path, ["about"] = about };
}

/// <summary>For programs: <c>POST /file-batches/v1/begin</c> {"path", "purpose", "minutes", optional "batch"}, <c>…/extend</c> {"batch", "minutes"} and <c>…/commit</c> {"batch"}.</summary>
internal static class FileBatchApi
{
    internal static void MapFileBatches(this IEndpointRouteBuilder app)
    {
        app.MapPost("/file-batches/v1/begin", (HttpContext context, EnforcerKeys enforcers, FileBatches batches) => RunAsync(context, enforcers, async (body, enforcer) =>
        {
            if (FilePath.Parse(StrictJson.Text(body, "path")) is not { } path) return Bad("path");
            if (StrictJson.Text(body, "purpose")?.Trim() is not { Length: >= 2 and <= 400 } purpose || !FreeText.Fits(purpose, lines: false)) return Bad("purpose");
            if (Minutes(body) is not { } within) return Bad("minutes");
            var token = StrictJson.Text(body, "batch");
            if (token is not null && !Secret.Fits(token)) return Bad("batch");
            return await batches.BeginAsync(enforcer, path, purpose, within, token, context.RequestAborted) switch
            {
                FileBatches.Beginning.Hidden hidden => Results.Json(new { batch = hidden.Token, due = hidden.DueAt }, statusCode: StatusCodes.Status201Created),
                FileBatches.Beginning.Refused refused => Problems.Json(refused.Status, refused.Code, refused.Sentence),
                _ => throw new InvalidOperationException(),
            };
        })).WithMetadata(new AuditedAttribute("files.begin-batch"));
        app.MapPost("/file-batches/v1/extend", (HttpContext context, EnforcerKeys enforcers, FileBatches batches) => RunAsync(context, enforcers, async (body, enforcer) =>
            StrictJson.Text(body, "batch") is not { } token || !Secret.Fits(token) ? Bad("batch") : Minutes(body) is not { } within ? Bad("minutes")
                : await batches.ExtendAsync(enforcer, token, within, context.RequestAborted) is { } due ? Results.Json(new { due }) : Unknown())).WithMetadata(new AuditedAttribute("files.begin-batch"));
        app.MapPost("/file-batches/v1/commit", (HttpContext context, EnforcerKeys enforcers, FileBatches batches) => RunAsync(context, enforcers, async (body, enforcer) =>
            StrictJson.Text(body, "batch") is not { } token || !Secret.Fits(token) ? Bad("batch")
                : await batches.CommitAsync(enforcer, token, context.RequestAborted) ? Results.NoContent() : Unknown())).WithMetadata(new AuditedAttribute("files.commit-batch"));
    }

    private static async Task<IResult> RunAsync(HttpContext context, EnforcerKeys enforcers, Func<JsonElement, string, Task<IResult>> operation)
    {
        var coalescer = context.RequestServices.GetRequiredService<Coalescer>();
        var enforcer = await enforcers.NameOfAsync(context);
        using var buffer = new MemoryStream();
        if (enforcer is not null) await context.Request.Body.CopyToAsync(buffer, context.RequestAborted);
        var answer = enforcer is null ? EnforcerKeys.Unknown(context) : StrictJson.ParseObject(buffer.ToArray()) is { } body ? await operation(body, enforcer) : Bad("body");
        if (answer is IStatusCodeHttpResult { StatusCode: >= 400 and var status }) coalescer.Add(new(context.GetEndpoint()!.Metadata.GetRequiredMetadata<AuditedAttribute>().Operation, HistoryOutcome.Refused, $"files.status-{status}") { Client = enforcer, Address = context.Connection.RemoteIpAddress?.ToString() });
        return answer;
    }

    private static TimeSpan? Minutes(JsonElement body) =>
        body.TryGetProperty("minutes", out var minutes) && minutes.ValueKind == JsonValueKind.Number && minutes.TryGetInt32(out var within) && within is >= 1 and <= FileBatches.MostMinutes ? TimeSpan.FromMinutes(within) : null;

    private static IResult Unknown() => Problems.Json(StatusCodes.Status404NotFound, "files.batch-unknown", "この一括処理はないか、すでに終わっています。");

    private static IResult Bad(string field) => Problems.Json(StatusCodes.Status400BadRequest, "files.bad-request", $"{field} が正しくありません。");
}
