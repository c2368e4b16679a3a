namespace AccessBroker.TargetAgent.Postgres;

/// <summary>Should the agent die, its sessions die with it: this process reads from a pipe that only the agent holds, and ends whatever the agent left.</summary>
internal static class PostgresGuard
{
    internal static async Task<int> RunAsync(PostgresOptions options)
    {
        await Console.In.ReadToEndAsync();
        using var recorder = new Recorder(Path.GetTempPath(), TimeProvider.System, _ => { }, _ => { });
        await new PostgresTarget(options, recorder).RecoverAsync([]);
        return 0;
    }
}
