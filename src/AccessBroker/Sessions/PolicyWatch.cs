using System.Security.Cryptography;
using System.Text;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Web;

namespace AccessBroker.Sessions;

/// <summary>Sessions live by the policies under which they began: a node that starts with changed files ends them all, once. <clause>MIC 6.2(4)</clause></summary>
internal sealed partial class PolicyWatch(Store store, LiveSessions sessions, BrokerOptions options, TimeProvider time, ILogger<PolicyWatch> log) : BackgroundService
{
    private bool _compared;

    /// <summary>Before the node serves anybody; a node may start without its database, then as soon as that is there.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await TryAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1), time);
        while (!_compared && await timer.WaitForNextTickAsync(stoppingToken)) await TryAsync(stoppingToken);
    }

    private async Task TryAsync(CancellationToken ct)
    {
        try
        {
            await CompareAsync(await HashAsync(ct), ct);
            _compared = true;
        }
        catch (Exception e) when (e is Npgsql.NpgsqlException or Primitives.IUnavailable) { Waiting(log, e.Message); }
    }

    private async Task CompareAsync(string hash, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var known = await work.AskAsync(Question.First($"select hash from sessions.policy for update", r => r.GetString(0)), ct);
        if (known == hash) return;
        work.Write($"insert into sessions.policy (hash) values ({hash}) on conflict (one_row) do update set hash = excluded.hash");
        foreach (var one in known is null ? [] : await sessions.EndWithinAsync(work, SessionFilter.Everything, "sessions.policy-changed")) work.Record(one.Event, one.At);
        work.Record(new("policies.changed", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["from"] = known ?? "", ["to"] = hash, ["node"] = options.Node } }, time.GetUtcNow());
        await work.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "the comparison of policies waits for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);

    private async Task<string> HashAsync(CancellationToken ct)
    {
        var all = new StringBuilder();
        foreach (var file in Directory.GetFiles(options.PolicyDirectory, "*.yaml").Order(StringComparer.Ordinal)) all.Append(Path.GetFileName(file)).Append('\n').Append(await File.ReadAllTextAsync(file, ct)).Append('\n');
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all.ToString())));
    }
}
