using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>
/// When an approver is absent: who else can approve now, deputies among them; they are reminded; then, or at once when there is nobody, those are told who
/// can appoint a deputy. Nothing is ever approved by time passing. <clause>MIC 1(1)⑤, 6.2(1)③</clause>
/// </summary>
internal sealed class ApprovalLadder(Store store, RequestDesk desk, Permissions permissions, Active<ApprovalsPolicy> policy, TimeProvider time)
{
    /// <summary>Who could give this yes at this moment, by name: with the operation, by the kind's own rules, and by no rule of separation kept from it.</summary>
    internal async Task<IReadOnlyList<(PersonId Id, string Name)>> WhoMayAsync(UnitOfWork work, RequestKind kind, Request request, ApprovalStep step, CancellationToken ct)
    {
        var able = new List<(PersonId, string)>();
        foreach (var (id, name) in await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith(step.Operation)], time.GetUtcNow()), ct))
        {
            var may = await permissions.OfAsync(work, id, ct);
            if (may.Person is not { } person || SeparationRule.Violations(Act.Approve, id.Value, person.IsContractor, new(request.RequestedBy.Value, request.Approvers, request.Subject?.Value, kind.NeedsSecondPerson)).Count > 0) continue;
            if (await kind.MayApproveAsync(work, request, step, may, ct) && await desk.LeavesExecutorAsync(work, kind, request, id, ct)) able.Add((id, name));
        }
        return able;
    }

    /// <summary>Looks for the next approvers of what is new, and reminds those of what has waited; each request by itself, so that none keeps another waiting.</summary>
    internal async Task RemindAsync(CancellationToken ct)
    {
        foreach (var (id, reminders, hasWaited) in await store.AskAsync(RequestStore.ToRemind(policy.Now.RemindAfter), ct))
        {
            await using var work = await store.BeginAsync(ct);
            // Another node may have been here meanwhile.
            if (await RequestStore.LockAsync(work, id, ct) is not { State: "open" } request || !(await work.AskAsync(RequestStore.ToRemind(policy.Now.RemindAfter), ct)).Contains((id, reminders, hasWaited))) continue;
            await work.ExecuteAsync($"update approvals.requests set looked_at = {request.Decisions.Count} where id = {id}", ct);
            if (desk.Kind(request.Kind) is { } kind && kind.StepsOf(request).FirstOrDefault(s => request.Decisions.All(d => d.Step != s.Name)) is { } step && kind.ClosedToApproval(request, time.GetUtcNow()) is null && await kind.IsWantedAsync(work, request, ct))
            {
                var able = await WhoMayAsync(work, kind, request, step, ct);
                // As many different people as there are steps for them.
                var enough = able.Count >= kind.StepsOf(request).Count(s => s.Operation == step.Operation && request.Decisions.All(d => d.Step != s.Name));
                if (hasWaited || !enough) await TellAsync(work, kind, request, able, enough, reminders, ct);
            }
            // What nobody can decide or wants any more is not looked at again and again.
            else if (hasWaited) await work.ExecuteAsync($"update approvals.requests set reminders = reminders + 1, reminded_at = clock_timestamp() where id = {id}", ct);
            await work.CommitAsync(ct);
        }
    }

    private async Task TellAsync(UnitOfWork work, RequestKind kind, Request request, IReadOnlyList<(PersonId Id, string Name)> able, bool enough, int reminders, CancellationToken ct)
    {
        var (now, names) = (time.GetUtcNow(), string.Join("、", able.Select(a => a.Name)));
        work.Notify(able.Select(a => a.Id), $"承認を待っている申請があります: {kind.Title}", request.Reason, $"/requests/{request.Id}", now);
        work.Notify([request.RequestedBy], $"まだ承認されていません: {kind.Title}", enough ? $"いま承認できる人: {names}" : $"いま承認できる人が足りません({(able.Count > 0 ? names : "いません")})。代行者を指名できる人に知らせました。", $"/requests/{request.Id}", now);
        // What it is about is not their business; that a deputy is needed is.
        var appointing = !enough || reminders > 0 ? await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith("staff.approve-deputy").Concat(permissions.RolesWith("staff.request-deputy")).Distinct()], now), ct) : [];
        work.Notify(appointing.Select(h => h.Id).Where(h => h != request.RequestedBy), !enough ? $"承認できる人が足りない申請があります: {kind.Title}" : $"承認が遅れている申請があります: {kind.Title}", !enough ? "申請者以外の人による、代行者の指名が必要です。" : $"いま承認できる人: {names}。不在のときは、代行者を指名してください。", "/requests/new/staff.deputy", now);
        work.Record(new("approvals.remind", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["request"] = $"{request.Id}", ["able"] = string.Join(' ', able.Select(a => a.Id.Value)), ["appointing"] = string.Join(' ', appointing.Select(h => h.Id.Value)) } }, now);
        await work.ExecuteAsync($"update approvals.requests set reminders = reminders + 1, reminded_at = clock_timestamp() where id = {request.Id}", ct);
    }
}
