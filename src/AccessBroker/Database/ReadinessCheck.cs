using Npgsql;

namespace AccessBroker.Database;

/// <summary>
/// The start order is free: a database that is away at the start is judged when it comes. One with a wrong schema or role stops this node;
/// until it was judged, nothing is served but health.
/// </summary>
public sealed partial class ReadinessCheck(NpgsqlDataSource source, IHostApplicationLifetime lifetime, ILogger<ReadinessCheck> log) : BackgroundService
{
    /// <summary>True once schema and role were found right.</summary>
    public bool Passed { get; private set; }

    /// <summary>Judges once. Throws <see cref="InvalidOperationException"/> when the database is wrong; false when it is away.</summary>
    internal async Task<bool> TryAsync(CancellationToken ct)
    {
        try { await Migrations.RequireReadyAsync(source, ct); }
        catch (Exception e) when (e is TimeoutException or NpgsqlException and not PostgresException or PostgresException { SqlState: ['0', '8', ..] or ['5', '3', ..] or ['5', '7', ..] })
        {
            Away(log, e);
            return false;
        }
        return Passed = true;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        try { while (!Passed && !await TryAsync(stoppingToken)) await timer.WaitForNextTickAsync(stoppingToken); }
        catch (Exception e) when (e is InvalidOperationException or PostgresException)
        {
            Wrong(log, e);
            Environment.ExitCode = 1;
            lifetime.StopApplication();
        }
    }

    [LoggerMessage(LogLevel.Warning, "the database does not answer; it is judged when it comes")]
    private static partial void Away(ILogger log, Exception e);
    [LoggerMessage(LogLevel.Critical, "the database cannot be used; this node stops")]
    private static partial void Wrong(ILogger log, Exception e);
}
