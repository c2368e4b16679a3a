using System.Diagnostics;
using System.Diagnostics.Metrics;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using Npgsql;

namespace AccessBroker.Sessions;

/// <summary>Card out, agent gone, reader gone: what the terminals tell becomes the end of sessions. <clause>INA 第16-5</clause></summary>
internal sealed partial class TerminalPresence(Leases leases, LiveSessions sessions, ILogger<TerminalPresence> log) : ITerminalPresence
{
    public async Task EpochAsync(AttachedTerminal terminal, string epoch, string cause)
    {
        var id = terminal.Terminal.Id;
        var began = Stopwatch.GetTimestamp();
        // First the end, then the lease: in between nothing lives that should not.
        await sessions.EndByEpochAsync(id, epoch, cause switch
        {
            "removed" => "sessions.card-removed",
            "attached" => "sessions.agent-restarted",
            _ => "sessions.reader-lost",
        });
        try { await leases.ChangeAsync(terminal, CancellationToken.None); }
        catch (NpgsqlException e) { LeaseNotWritten(log, id, e); }
        Duration.Record(Stopwatch.GetElapsedTime(began).TotalSeconds, new KeyValuePair<string, object?>("cause", cause is "removed" or "inserted" or "attached" or "reader-gone" ? cause : "other"));
    }

    private static readonly Histogram<double> Duration = Instruments.Meter.CreateHistogram("accessbroker.presence.duration", "s", "From a terminal's message of a card event until sessions and lease are written.", advice: Instruments.Durations);

    public Task<List<History.Narrowed>> EndAsync(Database.UnitOfWork work, TerminalId terminal, string reason, PersonId? person = null) => sessions.EndWithinAsync(work, new(null, person, terminal), reason);

    public void Beat(AttachedTerminal terminal) => leases.Beat(terminal);

    public void Detached(AttachedTerminal terminal) => leases.Forget(terminal.Terminal.Id, terminal.Epoch);

    [LoggerMessage(LogLevel.Warning, "the lease of terminal {Terminal} could not be written; the next beat tries again")]
    private static partial void LeaseNotWritten(ILogger log, TerminalId terminal, Exception e);
}

/// <summary>Once a second: prolongs the leases of this node's terminals and marks what is over.</summary>
internal sealed partial class LeaseWorker(Leases leases, LiveSessions sessions, ILogger<LeaseWorker> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        do
        {
            // Until the database is back, tried more often: everybody waits for the first pulse.
            while (!await TryAsync(() => leases.RefreshAsync(stoppingToken))) await Task.Delay(Retry, stoppingToken);
            await TryAsync(sessions.SweepAsync);
        } while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(200);

    private async Task<bool> TryAsync(Func<Task> work)
    {
        try
        {
            await work();
            return true;
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            TurnFailed(log, e);
            return false;
        }
    }

    [LoggerMessage(LogLevel.Warning, "leases could not be prolonged, or endings not marked; tried again")]
    private static partial void TurnFailed(ILogger log, Exception e);
}
