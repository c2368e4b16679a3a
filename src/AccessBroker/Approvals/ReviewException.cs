using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>Somebody independent looks at what an exception allowed. <clause>MIC 7.1注2</clause></summary>
internal sealed class ReviewException(Store store, Permissions permissions, TimeProvider time)
{
    internal enum Outcome { Reviewed, NotFound, NotPermitted, Involved, ReviewedAlready, NoFinding }

    internal async Task<Outcome> RunAsync(PersonId by, long id, string finding, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(RequestStore.LockException(id), ct) is not { } exception) return Outcome.NotFound;
        var may = await permissions.OfAsync(work, by, ct);
        if (!may.Allows("approvals.review")) return Outcome.NotPermitted;
        var refused = new HistoryEvent("approvals.review", HistoryOutcome.Refused, "approvals.actor-reviews") { Person = by, Details = new Dictionary<string, string> { ["exception"] = $"{id}" } };
        if (exception.InvolvedPeople.Contains(by.Value) || may.Person!.IsContractor)
        {
            work.Record(refused, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Outcome.Involved;
        }
        if (exception.ReviewedAt is not null) return Outcome.ReviewedAlready;
        if (finding.Trim().Length is < 2 or > 1000 || !FreeText.Fits(finding, lines: true)) return Outcome.NoFinding;
        work.Write($"update approvals.exceptions set reviewed_by = {by}, reviewed_at = {time.GetUtcNow()}, finding = {finding.Trim()} where id = {id}");
        work.Record(refused with { Outcome = HistoryOutcome.Done, Reason = "" }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Outcome.Reviewed;
    }
}
