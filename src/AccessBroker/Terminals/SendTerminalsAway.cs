using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Terminals;

/// <summary>Sends the terminals of this node to another one when this one stops or its clock is off.</summary>
internal sealed class SendTerminalsAway(TerminalStream stream, DatabaseClock clock, Wakeups wakeups, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Instruments.Meter.CreateObservableGauge("accessbroker.terminals.attached", () => stream.Attached, description: "Terminals whose agents hold a stream to this node.");
        // Before the server waits for its open requests: the streams are such requests.
        using var stopping = lifetime.ApplicationStopping.Register(() => _ = stream.SendAwayAsync(forGood: true));
        while (!stoppingToken.IsCancellationRequested)
        {
            // Woken by whoever takes a terminal out of use, here or at another node; without Redis within a second.
            await wakeups.WaitAsync(IsolateTerminal.Topic, TimeSpan.FromSeconds(1), stoppingToken);
            if (!clock.MayWork) { await stream.SendAwayAsync(); continue; }
            try { await stream.CutOffAsync(stoppingToken); }
            catch (NpgsqlException) { /* the database is away: nobody can be judged, and leases are frozen; the next look decides */ }
        }
    }
}
