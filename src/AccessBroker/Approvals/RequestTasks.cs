using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.People;

namespace AccessBroker.Approvals;

/// <summary>Requests that wait for this person, and exceptions that wait for a review.</summary>
internal sealed class RequestTasks(RequestDesk desk, TimeProvider time) : ITaskSource
{
    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        var tasks = new List<WaitingTask>();
        var (pending, exceptions) = (RequestStore.Pending(), RequestStore.Exceptions(open: true));
        await work.AskAsync(ct, pending, exceptions);
        var names = await work.AskAsync(PeopleRegister.Names(pending.Answer.Select(r => r.Subject?.Value ?? r.RequestedBy.Value), time.GetUtcNow()), ct);
        foreach (var request in pending.Answer)
            if (desk.Kind(request.Kind) is { } kind && await NextAsync(desk, work, kind, request, may, ct) is { } what)
                tasks.Add(new(what, $"{kind.Title} {request.Id}: {names.GetValueOrDefault(request.Subject?.Value ?? request.RequestedBy.Value, "")} {request["terminal"]} — {request.Reason}", $"/requests/{request.Id}", (request.State == "approved" ? kind.ExecuteBy(request) : null) ?? request.DueAt));
        if (may.Allows("approvals.review"))
            tasks.AddRange(exceptions.Answer.Where(e => !e.InvolvedPeople.Contains(may.Person!.Id.Value)).Select(e => new WaitingTask("例外の事後確認", $"{e.About}: {e.Reason}", $"/reviews#exception-{e.Id}", e.ReviewBy)));
        return tasks;
    }

    /// <summary>What this person could do next with it, in a word; null: nothing, or a rule of separation stands against it.</summary>
    internal static async Task<string?> NextAsync(RequestDesk desk, UnitOfWork work, RequestKind kind, Request request, MayDo may, CancellationToken ct)
    {
        if (may.Person is not { } person) return null;
        bool Free(Act act) => SeparationRule.Violations(act, person.Id.Value, person.IsContractor, new(act != Act.Approve && kind.RequesterMayExecute ? null : request.RequestedBy.Value, request.Approvers, request.Subject?.Value, kind.NeedsSecondPerson)).Count == 0;
        if (request.State == "open")
            foreach (var step in kind.StepsOf(request))
                if (request.Decisions.All(d => d.Step != step.Name) && Free(Act.Approve) && await kind.MayApproveAsync(work, request, step, may, ct) && await desk.LeavesExecutorAsync(work, kind, request, person.Id, ct)) return "承認待ち";
        return (request.State == "approved" || (request.State == "open" && kind.StepsOf(request).Count == 0)) && kind.IsExecuted && may.Allows(kind.ExecuteOperation) && Free(kind.CarriedOutAs) && (kind.CarriedOutAs != Act.Work || request.RequestedBy == person.Id) ? "実施待ち" : null;
    }
}
