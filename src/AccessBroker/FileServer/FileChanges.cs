using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.FileServer;

/// <summary>What came of a change: a status, and for people a code and a sentence. Null: it was cut, and the answer must not look whole.</summary>
internal sealed record FileChange(int Status, string Code = "", string Sentence = "");

/// <summary>
/// Uploads and deletions: first the bytes beside, then row and event in one commit, then the place. What a crash leaves between commit and place is finished
/// by any node. <clause>MOJ 第5-8(1)ウ</clause> <clause>MIC 6.1(2)</clause>
/// </summary>
internal sealed partial class FileChanges(Store store, FileStreams streams, FileDecisions decisions, Disk disk, TimeProvider time, ILogger<FileChanges> log) : BackgroundService, IHealthReport
{
    /// <summary>Ours: 10 GiB.</summary>
    internal const long MostBytes = 10L * 1024 * 1024 * 1024;
    private volatile int _unfinished;

    /// <inheritdoc/>
    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(_unfinished == 0 ? new ComponentHealth("files", "ファイルサーバー", "ok")
        : new ComponentHealth("files", "ファイルサーバー", "degraded", "記録されたのに、まだディスクに反映されていないファイルの変更があります。保存先のフォルダーの権限と空き容量を確かめてください。直れば自動で反映されます。"));

    /// <summary>Stores what comes as this path. Never throws for what a visitor or the disk does; throws <see cref="NpgsqlException"/>.</summary>
    internal async Task<FileChange?> StoreAsync(LiveSession session, string path, Stream body, HistoryEvent entry, long grant, CancellationToken ct)
    {
        if (path == "/" || disk.IsDirectory(path)) return new(StatusCodes.Status409Conflict, "files.directory", "ここには書き込めません。");
        var stream = streams.Begin(session.Person, session.Id, path, "write");
        string? beside = null;
        try
        {
            using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, stream.Cut);
            (beside, var bytes, var hash) = await disk.WriteAsync(path, body, MostBytes, both.Token);
            both.Token.ThrowIfCancellationRequested();
            await using var work = await BeginAsync(path, CancellationToken.None);
            await FileShelf.ActAsAsync(work, session.Person, CancellationToken.None);
            var version = await FileShelf.StoreAsync(work, path, bytes, hash, session.Person, time.GetUtcNow(), CancellationToken.None);
            work.Record(entry with { Details = entry.Details.Concat([new("bytes", $"{bytes}"), new("sha256", hash), new("version", $"{version}")]).ToDictionary() }, time.GetUtcNow());
            FileShelf.NoteUse(work, grant, session.Person.Value, "write", time.GetUtcNow());
            var id = await NoteAsync(work, path, beside);
            // From here on nobody but the database knows whether it counts: what waits is kept, and forgotten after a day if nobody committed it.
            beside = null;
            await work.CommitAsync(CancellationToken.None);
            return await FinishAsync(id) ? new(version == 1 ? StatusCodes.Status201Created : StatusCodes.Status204NoContent) : Later();
        }
        catch (OperationCanceledException)
        {
            if (stream.Reason is { } reason) await streams.RecordCutAsync(entry, reason);
            return null;
        }
        catch (DirectoryNotFoundException) { return new(StatusCodes.Status404NotFound, "files.no-directory", "このフォルダーはありません。"); }
        // What the sender did wrong is not the disk's fault: BadHttpRequestException goes to the caller.
        catch (Exception e) when (e is (IOException and not BadHttpRequestException) or UnauthorizedAccessException or InvalidDataException)
        {
            await store.RecordAsync(entry with { Outcome = HistoryOutcome.Refused, Reason = "files.not-stored" }, time.GetUtcNow(), CancellationToken.None);
            return new(StatusCodes.Status507InsufficientStorage, "files.not-stored", "保存できませんでした。元のファイルはそのままです。");
        }
        finally
        {
            streams.End(stream);
            if (beside is not null) disk.Forget(beside);
        }
    }

    /// <summary>Removes a file.</summary>
    internal async Task<FileChange> RemoveAsync(LiveSession session, string path, HistoryEvent entry, long grant, CancellationToken ct)
    {
        if (!disk.Exists(path)) return new(StatusCodes.Status404NotFound, "files.not-found", "このファイルはありません。");
        await using var work = await BeginAsync(path, ct);
        work.Record(entry, time.GetUtcNow());
        FileShelf.NoteUse(work, grant, session.Person.Value, "delete", time.GetUtcNow());
        await FileShelf.ActAsAsync(work, session.Person, ct);
        await FileShelf.RemoveAsync(work, path, ct);
        var id = await NoteAsync(work, path, null);
        await work.CommitAsync(CancellationToken.None);
        return await FinishAsync(id) ? new(StatusCodes.Status204NoContent) : Later();
    }

    private static FileChange Later() => new(StatusCodes.Status202Accepted, "files.later", "記録しました。ディスクへの反映は、少し後になります。");

    /// <summary>One change of a path at a time, also where nothing is stored yet.</summary>
    private async Task<UnitOfWork> BeginAsync(string path, CancellationToken ct)
    {
        var work = await store.BeginAsync(ct);
        await work.QueryAsync($"select true from (select pg_advisory_xact_lock(hashtextextended({path}, 0))) locked", r => r.GetBoolean(0), ct);
        return work;
    }

    /// <summary>What was to be done with this path before is done or no longer wanted.</summary>
    private async Task<long> NoteAsync(UnitOfWork work, string path, string? beside)
    {
        foreach (var old in await work.QueryAsync($"delete from file_server.unfinished where path = {path} returning coalesce(beside, '')", r => r.GetString(0), CancellationToken.None))
            if (old.Length > 0) work.AfterCommit(() => disk.Forget(old));
        return (await work.QueryAsync($"insert into file_server.unfinished (path, beside, at) values ({path}, {beside}, {time.GetUtcNow()}) returning id", r => r.GetInt64(0), CancellationToken.None))[0];
    }

    /// <summary>Does on the disk what is recorded, once; under the row's lock, so that a later change of the same path comes later on the disk as well. False: not yet.</summary>
    private async Task<bool> FinishAsync(long id)
    {
        try
        {
            await using var work = await store.BeginAsync(CancellationToken.None);
            if (await work.QueryAsync($"delete from file_server.unfinished where id = {id} returning path, coalesce(beside, '')", r => (Path: r.GetString(0), Beside: r.GetString(1)), CancellationToken.None) is not [var (path, beside)]) return true;
            // A program is at work there: what people changed before it began waits for its end.
            if (decisions.IsInBatch(path)) return false;
            if (beside.Length == 0) disk.Remove(path);
            else disk.Place(path, beside);
            await work.CommitAsync(CancellationToken.None);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NpgsqlException or TimeoutException or IUnavailable) { NotYet(log, id, e.Message); return false; }
    }

    /// <summary>Does again what a crash or a full disk left; forgets what nobody committed.</summary>
    internal async Task TurnAsync(CancellationToken ct)
    {
        var (left, last) = (0, 0L);
        for (List<long> some; (some = await store.AskAsync(Question.All($"select id from file_server.unfinished where id > {last} and at < {time.GetUtcNow() - TimeSpan.FromSeconds(5)} order by id limit 200", r => r.GetInt64(0)), ct)).Count > 0; last = some[^1])
            foreach (var id in some) if (!await FinishAsync(id)) left++;
        _unfinished = left;
        foreach (var waiting in disk.WaitingSince(time.GetUtcNow() - TimeSpan.FromDays(1)))
            if (await store.AskAsync(Question.All($"select 1 from file_server.unfinished where beside = {waiting}", r => r.GetInt32(0)), ct) is []) disk.Forget(waiting);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try { await TurnAsync(stoppingToken); }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or NpgsqlException or TimeoutException or IUnavailable) { NotYet(log, 0, e.Message); }
        }
    }

    [LoggerMessage(LogLevel.Warning, "a change of a file ({Id}) is recorded and not yet done on the disk, will be tried again: {Why}")]
    private static partial void NotYet(ILogger log, long id, string why);
}
