using Npgsql;

namespace AccessBroker.Database;

/// <summary>Rows that are over and no longer needed. <paramref name="Statement"/> deletes at most some hundreds at a time.</summary>
public sealed record Sweep(string Statement);

/// <summary>Runs the slices' sweeps once a minute. Two nodes may do so at once: deletes are idempotent.</summary>
internal sealed partial class Sweeper(NpgsqlDataSource source, IEnumerable<Sweep> sweeps, ILogger<Sweeper> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMinutes(1));
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            foreach (var sweep in sweeps)
            {
                try
                {
                    await using var command = source.CreateCommand(sweep.Statement);
                    await command.ExecuteNonQueryAsync(stoppingToken);
                }
                catch (NpgsqlException e) { SweepFailed(log, sweep.Statement, e); }
            }
        }
    }

    [LoggerMessage(LogLevel.Warning, "sweep failed, will be tried again: {Statement}")]
    private static partial void SweepFailed(ILogger log, string statement, Exception e);
}
