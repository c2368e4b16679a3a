using System.Diagnostics;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Database;

/// <summary>
/// Compares this node's clock with the database's. A node more than <see cref="Tolerance"/> off refuses work and says so:
/// times in the history and in tokens would be wrong. <clause>MOJ 第5-3(8)</clause>
/// </summary>
public sealed class DatabaseClock(NpgsqlDataSource source, TimeProvider time) : BackgroundService
{
    /// <summary>Ours: 1 s.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromSeconds(1);

    /// <summary>Ours: 500 ms, so a measurement errs by 250 ms at most.</summary>
    private static readonly TimeSpan LongestTrip = TimeSpan.FromMilliseconds(500);

    private (TimeSpan? Offset, bool Answered) _last = (null, false);

    /// <summary>Node minus database, as last measured; null before the first measurement.</summary>
    public TimeSpan? Offset => _last.Offset;
    /// <summary>Whether the database answered the last time it was asked.</summary>
    public bool DatabaseAnswered => _last.Answered;
    /// <summary>False when the clocks are known to differ too much.</summary>
    public bool MayWork => _last.Offset is not { } offset || offset.Duration() <= Tolerance;

    /// <summary>Measures once.</summary>
    public async Task MeasureAsync(CancellationToken ct)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
            limit.CancelAfter(TimeSpan.FromSeconds(2));
            await using var connection = await source.OpenConnectionAsync(limit.Token);
            await using var command = new NpgsqlCommand("select clock_timestamp()", connection);
            var asked = Stopwatch.GetTimestamp();
            var database = (DateTime)(await command.ExecuteScalarAsync(limit.Token))!;
            var trip = Stopwatch.GetElapsedTime(asked);
            // A slow answer says little about the clocks: the last good measurement stands.
            _last = (trip <= LongestTrip ? time.GetUtcNow().UtcDateTime - (trip / 2) - database : _last.Offset, true);
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException || (e is OperationCanceledException && !ct.IsCancellationRequested))
        {
            _last = (_last.Offset, false);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Instruments.Meter.CreateObservableGauge("accessbroker.clock.offset", () => Offset?.TotalSeconds ?? 0, "s", "This node's clock minus the database's.");
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        do await MeasureAsync(stoppingToken);
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
