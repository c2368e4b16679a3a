using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Npgsql;

namespace AccessBroker.FileServer;

/// <summary>One transfer under way: whose, by which session, of what.</summary>
#pragma warning disable CA1001 // It may be cut while it ends by itself; without a timer the source holds nothing to be disposed.
internal sealed class FileTransfer(PersonId person, SessionId session, string path, string action)
#pragma warning restore CA1001
{
    private readonly CancellationTokenSource _cut = new();
    internal PersonId Person => person;
    internal SessionId Session => session;
    internal string Path => path;
    internal string Action => action;
    /// <summary>Cancelled when the transfer must end.</summary>
    internal CancellationToken Cut => _cut.Token;
    /// <summary>Why it was cut; null: it was not.</summary>
    internal string? Reason { get; private set; }

    internal void End(string reason)
    {
        Reason ??= reason;
        _cut.Cancel();
    }
}

/// <summary>
/// Transfers under way are judged again and again: a right that ended, a card that was taken out, a session that is over cut them, not only the next
/// request. When nobody can tell, they are cut as well. <clause>MOJ 第5-4(4), INA 第16-5</clause>
/// </summary>
internal sealed partial class FileStreams(FileDecisions decisions, LiveSessions sessions, DatabaseClock clock, HistorySpool history, Wakeups wakeups, TimeProvider time, ILogger<FileStreams> log) : BackgroundService
{
    /// <summary>Ours: judged every 100 ms; who cannot be judged within a second is cut.</summary>
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100), Patience = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<FileTransfer, byte> _running = new();

    /// <summary>Watches a transfer until <see cref="End"/>.</summary>
    internal FileTransfer Begin(PersonId person, SessionId session, string path, string action)
    {
        var stream = new FileTransfer(person, session, path, action);
        _running[stream] = 0;
        return stream;
    }

    internal void End(FileTransfer stream) => _running.TryRemove(stream, out _);

    internal int Running => _running.Count;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Instruments.Meter.CreateObservableGauge("accessbroker.files.streams", () => Running, description: "Transfers of files under way at this node.");
        using var news = wakeups.Listen(FileDecisions.ChangedTopic, LiveSessions.EndedTopic);
        while (!stoppingToken.IsCancellationRequested)
        {
            try { await news.WaitAsync(Turn, stoppingToken); }
            catch (OperationCanceledException) { return; }
            if (!_running.IsEmpty) await JudgeAsync(stoppingToken);
        }
    }

    /// <summary>Rights from memory, many people at a time; then one question for all sessions, for as long as rights are believed.</summary>
    private async Task JudgeAsync(CancellationToken ct)
    {
        var running = _running.Keys.ToList();
        if (!clock.MayWork)
        {
            running.ForEach(s => Cut(s, "files.unsure"));
            return;
        }
        await Parallel.ForEachAsync(running.GroupBy(s => s.Person), new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = ct }, async (mine, token) =>
        {
            foreach (var stream in mine)
            {
                try
                {
                    if (await decisions.DecideAsync(stream.Person, stream.Path, stream.Action, token).AsTask().WaitAsync(Patience, token) is { Allowed: false } decision) Cut(stream, $"files.{decision.Reason}");
                }
                catch (Exception e) when (e is not OutOfMemoryException && !token.IsCancellationRequested) { Cut(stream, "files.unsure"); }
            }
        });
        IReadOnlyDictionary<SessionId, Standing>? standing = null;
        try { standing = await sessions.StandingOfAsync([.. running.Select(s => s.Session).Distinct()], ct).WaitAsync(Patience, ct); }
        catch (Exception e) when (e is not OutOfMemoryException && !ct.IsCancellationRequested) { Unsure(log, e.Message); }
        foreach (var stream in running)
            if (standing is null || standing[stream.Session] == Standing.Unsure) Cut(stream, "files.unsure");
            else if (standing[stream.Session] == Standing.Over) Cut(stream, "files.session-over");
    }

    private void Cut(FileTransfer stream, string reason)
    {
        if (stream.Reason is not null) return;
        stream.End(reason);
        WasCut(log, stream.Action, reason);
    }

    /// <summary>Records that a transfer did not end by itself; when the history cannot be written now, it is later.</summary>
    internal async Task RecordCutAsync(HistoryEvent entry, string reason)
    {
        var cut = new Narrowed(entry with { Operation = "files.cut", Outcome = HistoryOutcome.Ended, Reason = reason }, time.GetUtcNow());
        try { await history.NarrowAsync(_ => Task.FromResult<List<Narrowed>>([cut])); }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { await history.KeepAsync([cut]); }
    }

    [LoggerMessage(LogLevel.Warning, "nobody can tell whether transfers may go on, they are cut: {Why}")]
    private static partial void Unsure(ILogger log, string why);

    [LoggerMessage(LogLevel.Information, "a transfer ({Action}) was cut: {Reason}")]
    private static partial void WasCut(ILogger log, string action, string reason);
}
