using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
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
internal sealed partial class FileStreams(FileDecisions decisions, LiveSessions sessions, Wakeups wakeups, ILogger<FileStreams> log) : BackgroundService
{
    /// <summary>Ours: 100 ms.</summary>
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(100);
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
        while (!stoppingToken.IsCancellationRequested)
        {
            try { await Task.WhenAny(wakeups.WaitAsync(FileDecisions.ChangedTopic, Turn, stoppingToken), wakeups.WaitAsync(LiveSessions.EndedTopic, Turn, stoppingToken)); }
            catch (OperationCanceledException) { return; }
            if (!_running.IsEmpty) await JudgeAsync(stoppingToken);
        }
    }

    private async Task JudgeAsync(CancellationToken ct)
    {
        await Parallel.ForEachAsync(_running.Keys.GroupBy(s => s.Session), new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = ct }, async (group, token) =>
        {
            string? over = null;
            try { over = await sessions.FindAsync(group.Key, token) is null ? "files.session-over" : null; }
            catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { over = "files.unsure"; }
            foreach (var stream in group)
            {
                var reason = over;
                try { reason ??= await decisions.DecideAsync(stream.Person, stream.Path, stream.Action, token) is { Allowed: false } decision ? $"files.{decision.Reason}" : null; }
                catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { reason = "files.unsure"; }
                if (reason is null) continue;
                stream.End(reason);
                WasCut(log, stream.Action, reason);
            }
        });
    }

    [LoggerMessage(LogLevel.Information, "a transfer ({Action}) was cut: {Reason}")]
    private static partial void WasCut(ILogger log, string action, string reason);
}
