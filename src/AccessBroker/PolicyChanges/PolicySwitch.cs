using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.PolicyChanges;

/// <summary>
/// Keeps this node on the version of the policies that is in force, within a second; ends, once for all nodes, the sessions that lived by the former one;
/// and watches the files: one that is no approved version was changed by somebody who should not. <clause>MIC 6.2(4)</clause>
/// </summary>
internal sealed partial class PolicySwitch(ActivePolicies active, Store store, LiveSessions sessions, Wakeups wakeups, BrokerOptions options, TimeProvider time, ILogger<PolicySwitch> log) : BackgroundService, IHealthReport
{
    internal const string Topic = "policies";
    /// <summary>Ours: asked twice a second; files are looked at every 10 s.</summary>
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(500), LookAtFiles = TimeSpan.FromSeconds(10);
    private long _version, _refused, _looked;
    private bool _differs;
    private string? _differing;

    /// <summary>Before the node serves anybody; a node may start without its database, then by its files until that is there.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await TryAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try { await wakeups.WaitAsync(Topic, Poll, stoppingToken); }
            catch (OperationCanceledException) { return; }
            await TryAsync(stoppingToken);
        }
    }

    private async Task TryAsync(CancellationToken ct)
    {
        try { await TurnAsync(ct); }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { Waiting(log, e.Message); }
    }

    internal async Task TurnAsync(CancellationToken ct)
    {
        if (await store.AskAsync(PolicyVersions.NumberInForce(), ct) is not [var number]) number = await AdoptAsync(store, active.Newest.Texts, "最初の日", time, ct);
        if (number != _version && number != _refused) await SwitchAsync(number, ct);
        if (_looked == 0 || time.GetElapsedTime(_looked) > LookAtFiles) await LookAsync(ct);
    }

    private async Task SwitchAsync(long number, CancellationToken ct)
    {
        var version = (await store.AskAsync(PolicyVersions.Find(number), ct))!;
        if (Read(version) is { } set) active.Switch(set);
        else
        {
            _refused = number;
            await store.RecordAsync(new("policies.refuse", HistoryOutcome.Refused, "policies.not-understood") { Details = new Dictionary<string, string> { ["version"] = $"{number}", ["node"] = options.Node } }, time.GetUtcNow(), ct);
            // This node goes on as it was; one that has just started takes the newest that it can read, and never files that nobody approved.
            if (_version > 0) return;
            active.Switch((await store.AskAsync(PolicyVersions.Former(number), ct)).Select(Read).FirstOrDefault(s => s is not null)
                ?? throw new PolicyException($"version {number} of the policies cannot be used by this version of AccessBroker, nor any former one; put files that it can read into {options.PolicyDirectory} and run 'AccessBroker policies adopt'"));
            return;
        }
        await using (var work = await store.BeginAsync(ct))
        {
            // Whoever comes first ends what lived by the former version; on the first day nothing did. Never back to an older one.
            var first = await work.ExecuteAsync($"insert into policy_changes.in_force (version) values ({number}) on conflict (one_row) do nothing", ct) == 1;
            if (first || await work.ExecuteAsync($"update policy_changes.in_force set version = {number} where version < {number}", ct) == 1)
            {
                if (!first) foreach (var one in await sessions.EndWithinAsync(work, SessionFilter.Everything, "sessions.policy-changed")) work.Record(one.Event, one.At);
                work.Record(new("policies.changed", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["version"] = $"{number}", ["hash"] = version.Hash, ["node"] = options.Node } }, time.GetUtcNow());
                await work.CommitAsync(ct);
            }
        }
        // Only now: what failed above is tried again at the next turn.
        _version = number;
        Switched(log, number, version.Hash[..12]);
    }

    /// <summary>Null: this software cannot use it, or its text is not what was hashed.</summary>
    private PolicySet? Read(PolicyVersion version)
    {
        if (PolicySet.HashOf(version.Texts) != version.Hash)
        {
            Refused(log, version.Id, "the text does not fit its hash");
            return null;
        }
        try { return PolicySet.Of(active.Files, PolicySet.Complete(version.Texts, active.Newest.Texts)); }
        catch (PolicyException e)
        {
            Refused(log, version.Id, e.Message);
            return null;
        }
    }

    /// <summary>Files that are no version anybody approved.</summary>
    private async Task LookAsync(CancellationToken ct)
    {
        string hash;
        try { hash = PolicySet.HashOf(PolicySet.ReadDirectory(options.PolicyDirectory, options.Segment)); }
        catch (PolicyException) { hash = "unreadable"; }
        var differs = !await store.AskAsync(PolicyVersions.IsOnRecord(hash, _version), ct);
        _looked = time.GetTimestamp();
        _differs = differs;
        if (!differs) _differing = null;
        if (!differs || hash == _differing) return;
        await store.RecordAsync(new("policies.look", HistoryOutcome.Refused, "policies.file-differs") { Details = new Dictionary<string, string> { ["node"] = options.Node, ["hash"] = hash, ["version"] = $"{_version}" } }, time.GetUtcNow(), ct);
        _differing = hash;
        Differs(log, hash);
    }

    /// <summary>Makes these texts the version in force, without a second person: the first day, and <c>AccessBroker policies adopt</c>.</summary>
    internal static async Task<long> AdoptAsync(Store store, IReadOnlyDictionary<string, string> texts, string reason, TimeProvider time, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        await PolicyVersions.LockAsync(work, ct);
        var before = await work.AskAsync(PolicyVersions.LastApproved(), ct);
        if (before is [var last] && (reason == "最初の日" || (await work.AskAsync(PolicyVersions.Find(last), ct))!.Hash == PolicySet.HashOf(texts))) return last;
        var now = time.GetUtcNow();
        var id = await PolicyVersions.AddAsync(work, texts, before is [var based] ? based : null, "setup", reason, now, ct);
        await PolicyVersions.ApproveAsync(work, id, "setup", null, ct);
        work.Record(new("policies.adopt", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["version"] = $"{id}", ["hash"] = PolicySet.HashOf(texts) } }, now);
        await work.CommitAsync(ct);
        return id;
    }

    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(
        _refused > _version ? new ComponentHealth("policies", Title, "broken", "有効になった方針をこのノードが読めません。ほかのノードと同じ版の AccessBroker を入れてください。")
        : _differs ? new("policies", Title, "degraded", "方針のファイルが、承認されたどの版とも違います。だれが変えたかを確かめ、元に戻してください。効力は承認された版のままです。")
        : new("policies", Title, "ok"));

    private const string Title = "方針 (policies)";

    [LoggerMessage(LogLevel.Information, "policies: version {Version} ({Hash}) is in force")]
    private static partial void Switched(ILogger log, long version, string hash);
    [LoggerMessage(LogLevel.Error, "policies: version {Version} cannot be used here: {Why}")]
    private static partial void Refused(ILogger log, long version, string why);
    [LoggerMessage(LogLevel.Warning, "policies: the files are no approved version ({Hash})")]
    private static partial void Differs(ILogger log, string hash);
    [LoggerMessage(LogLevel.Warning, "policies wait for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
