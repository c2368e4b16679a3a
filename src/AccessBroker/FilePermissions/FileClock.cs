using System.Globalization;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.FilePermissions;

/// <summary>What time does: a bulk update that did not end is told to those who can release its place; grants fall due for their review.</summary>
internal sealed partial class FileClock(Store store, Permissions permissions, TimeProvider time, ILogger<FileClock> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), time);
        for (var turn = 0; await timer.WaitForNextTickAsync(stoppingToken); turn++)
        {
            try
            {
                await TellOverdueAsync(stoppingToken);
                // Days are looked at each hour, and soon after a start.
                if (turn % 360 == 0) await TellReviewsAsync(stoppingToken);
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { Waiting(log, e.Message); }
        }
    }

    /// <summary>Once for each bulk update.</summary>
    internal async Task TellOverdueAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var late = await work.QueryAsync($"update file_permissions.batches set told_at = {now} where ended_at is null and told_at is null and due_at < {now} returning id, resource, enforcer, purpose", r => (Id: r.GetInt64(0), Resource: r.GetString(1), Enforcer: r.GetString(2), Purpose: r.GetString(3)), ct);
        if (late.Count == 0) return;
        var people = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("files.end-batch"), now), ct);
        foreach (var batch in late)
        {
            work.Record(new("files.alert-batch", HistoryOutcome.Done, "files.batch-overdue") { Client = batch.Enforcer, Details = FileBatches.Details(batch.Id, batch.Resource, batch.Purpose) }, now);
            work.Notify(people.Select(p => p.Id), "一括処理が終わっていません", $"{batch.Enforcer} の一括処理({batch.Purpose})が、予定の時刻を過ぎても終わっていません。{batch.Resource} は、だれにも見えないままです。データを確かめてから、解除してください。", "/files/batches", now);
        }
        await work.CommitAsync(ct);
    }

    /// <summary>Once for each grant and half-year.</summary>
    internal async Task TellReviewsAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var due = await work.QueryAsync($"update file_permissions.grants g set review_told_at = {now} where {FileReviews.IsDue(now)} and (review_told_at is null or review_told_at < {now - FileReviews.Every}) returning id", r => r.GetInt64(0), ct);
        if (due.Count == 0) return;
        var people = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("files.review"), now), ct);
        work.Notify(people.Select(p => p.Id), "ファイルの利用権限の見直しの時期です", $"{due.Count.ToString(CultureInfo.InvariantCulture)} 件の許可が、半年ごとの見直しの時期を迎えました。", "/files/review", now);
        await work.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "the dates of file permissions wait for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}

/// <summary>Bulk updates that wait to be released, grants that wait for their review.</summary>
internal sealed class FileTasks(FileReviews reviews, TimeProvider time) : ITaskSource
{
    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        var (tasks, now) = (new List<WaitingTask>(), time.GetUtcNow());
        if (may.Allows("files.end-batch"))
            tasks.AddRange((await work.AskAsync(FileBatches.Open(overdue: true, now), ct)).Select(b => new WaitingTask("終わっていない一括処理", $"{b.Resource} — {b.Enforcer}", "/files/batches", b.DueAt)));
        if (may.Allows("files.review") && await reviews.DueAsync(work, may, ct) is { Count: > 0 } due)
            tasks.Add(new("ファイルの利用権限の見直し", $"{due.Count} 件", "/files/review", due.Min(d => FileReviews.Since(d)) + FileReviews.Every + TimeSpan.FromDays(30)));
        return tasks;
    }
}
