using System.Security.Cryptography;
using System.Text;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Web;

namespace AccessBroker.Sessions;

/// <summary>Sessions live by the policies under which they began: a node that starts with changed files ends them all, once. <clause>MIC 6.2(4)</clause></summary>
internal sealed class PolicyWatch(Store store, LiveSessions sessions, BrokerOptions options, TimeProvider time) : IHostedService
{
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var hash = await HashAsync(cancellationToken);
        try
        {
            await using var work = await store.BeginAsync(cancellationToken);
            var known = await work.AskAsync(Question.First($"select hash from sessions.policy for update", r => r.GetString(0)), cancellationToken);
            if (known == hash) return;
            work.Write($"insert into sessions.policy (hash) values ({hash}) on conflict (one_row) do update set hash = excluded.hash");
            foreach (var one in known is null ? [] : await sessions.EndWithinAsync(work, SessionFilter.Everything, "sessions.policy-changed")) work.Record(one.Event, one.At);
            work.Record(new("policies.changed", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["from"] = known ?? "", ["to"] = hash, ["node"] = options.Node } }, time.GetUtcNow());
            await work.CommitAsync(cancellationToken);
        }
        // A node may start without its database; then nothing lives through it either, until it is ready.
        catch (Npgsql.NpgsqlException) { }
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private async Task<string> HashAsync(CancellationToken ct)
    {
        var all = new StringBuilder();
        foreach (var file in Directory.GetFiles(options.PolicyDirectory, "*.yaml").Order(StringComparer.Ordinal)) all.Append(Path.GetFileName(file)).Append('\n').Append(await File.ReadAllTextAsync(file, ct)).Append('\n');
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all.ToString())));
    }
}
