using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Terminals;

/// <summary>Sends the terminals of this node to another one when this one stops or its clock is off.</summary>
internal sealed class SendTerminalsAway(TerminalStream stream, DatabaseClock clock, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Instruments.Meter.CreateObservableGauge("accessbroker.terminals.attached", () => stream.Attached, description: "Terminals whose agents hold a stream to this node.");
        // Before the server waits for its open requests: the streams are such requests.
        using var stopping = lifetime.ApplicationStopping.Register(() => _ = stream.SendAwayAsync(forGood: true));
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        while (await timer.WaitForNextTickAsync(stoppingToken))
            if (!clock.MayWork) await stream.SendAwayAsync();
    }
}
