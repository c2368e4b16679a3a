using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>Approvers are reminded; overdue requests are told once; forgotten ones end.</summary>
internal sealed partial class RequestClock(Store store, RequestDesk desk, ApprovalLadder ladder, Permissions permissions, Active<ApprovalsPolicy> policy, TimeProvider time, ILogger<RequestClock> log) : BackgroundService
{
    /// <summary>Ours.</summary>
    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(10);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Turn, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try { await TurnAsync(stoppingToken); }
            // Whatever a stored request makes of it: the next turn tries again, and the node lives.
            catch (Exception e) when (e is not OutOfMemoryException && !stoppingToken.IsCancellationRequested) { Waiting(log, e.Message); }
        }
    }

    internal async Task TurnAsync(CancellationToken ct)
    {
        await ladder.RemindAsync(ct);
        await using var work = await store.BeginAsync(ct);
        var now = time.GetUtcNow();
        var overdue = await work.QueryAsync($"update approvals.requests set overdue_told = true where state in ('open', 'approved') and due_at < {now} and not overdue_told returning id, kind, reason, requested_by", r => (Id: r.GetInt64(0), Kind: r.GetString(1), Reason: r.GetString(2), By: r.GetString(3)), ct);
        foreach (var (id, kindName, reason, by) in overdue)
        {
            if (desk.Kind(kindName) is not { } kind) continue;
            var holders = await work.AskAsync(PeopleRegister.Holders([.. kind.Operations.Skip(1).SelectMany(permissions.RolesWith)], now), ct);
            work.Notify(holders.Select(h => h.Id).Append(PersonId.Parse(by)), $"期限を過ぎた申請: {kind.Title}", reason, $"/requests/{id}", now);
            work.Record(new("approvals.overdue", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["request"] = $"{id}" } }, now);
        }
        // A report that must be answered is not forgotten.
        string[] lasting = [.. desk.Kinds.Where(k => !k.IsWithdrawable).Select(k => k.Name)];
        var expired = await work.QueryAsync($"update approvals.requests set state = 'expired', closed_at = {now} where state in ('open', 'approved') and requested_at < {now - policy.Now.RequestExpires} and due_at < {now} and kind <> all({lasting}) returning id, requested_by, kind", r => (Id: r.GetInt64(0), By: r.GetString(1), Kind: r.GetString(2)), ct);
        foreach (var (id, by, kind) in expired) work.Notify([PersonId.Parse(by)], $"期限切れになった申請: {desk.Kind(kind)?.Title ?? kind}", "必要なら申請し直してください。", $"/requests/{id}", now);
        foreach (var (id, _, _) in expired) work.Record(new("approvals.expire", HistoryOutcome.Ended, "approvals.expired") { Details = new Dictionary<string, string> { ["request"] = $"{id}" } }, now);
        await work.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "requests wait: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
