using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using Npgsql;

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
            if (desk.Kind(request.Kind) is { } kind && await NextAsync(work, kind, request, may, ct) is { } what)
                tasks.Add(new(what, $"{kind.Title} {request.Id}: {names.GetValueOrDefault(request.Subject?.Value ?? request.RequestedBy.Value, "")} {request["terminal"]} — {request.Reason}", $"/requests/{request.Id}", request.DueAt));
        if (may.Allows("approvals.review"))
            tasks.AddRange(exceptions.Answer.Where(e => !e.InvolvedPeople.Contains(may.Person!.Id.Value)).Select(e => new WaitingTask("例外の事後確認", $"{e.About}: {e.Reason}", $"/reviews#exception-{e.Id}", e.ReviewBy)));
        return tasks;
    }

    /// <summary>What this person could do next with it, in a word; null: nothing, or a rule of separation stands against it.</summary>
    internal static async Task<string?> NextAsync(UnitOfWork work, RequestKind kind, Request request, MayDo may, CancellationToken ct)
    {
        if (may.Person is not { } person) return null;
        bool Free(Act act) => SeparationRule.Violations(act, person.Id.Value, person.IsContractor, new(act == Act.Execute && kind.RequesterMayExecute ? null : request.RequestedBy.Value, request.Approvers, request.Subject?.Value, kind.NeedsSecondPerson)).Count == 0;
        if (request.State == "open")
            foreach (var step in kind.Steps)
                if (request.Decisions.All(d => d.Step != step.Name) && Free(Act.Approve) && await kind.MayApproveAsync(work, request, step, may, ct)) return "承認待ち";
        return (request.State == "approved" || (request.State == "open" && kind.Steps.Count == 0)) && kind.IsExecuted && may.Allows(kind.ExecuteOperation) && Free(Act.Execute) ? "実施待ち" : null;
    }
}

/// <summary>Overdue requests are told once; forgotten ones end.</summary>
internal sealed partial class RequestClock(Store store, RequestDesk desk, Permissions permissions, ApprovalsPolicy policy, TimeProvider time, ILogger<RequestClock> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(30), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try { await TurnAsync(stoppingToken); }
            catch (NpgsqlException e) { Waiting(log, e.Message); }
        }
    }

    internal async Task TurnAsync(CancellationToken ct)
    {
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
        var expired = await work.QueryAsync($"update approvals.requests set state = 'expired', closed_at = {now} where state in ('open', 'approved') and requested_at < {now - policy.RequestExpires} and kind <> all({lasting}) returning id, requested_by, kind", r => (Id: r.GetInt64(0), By: r.GetString(1), Kind: r.GetString(2)), ct);
        foreach (var (id, by, kind) in expired) work.Notify([PersonId.Parse(by)], $"期限切れになった申請: {desk.Kind(kind)?.Title ?? kind}", "必要なら申請し直してください。", $"/requests/{id}", now);
        foreach (var (id, _, _) in expired) work.Record(new("approvals.expire", HistoryOutcome.Ended, "approvals.expired") { Details = new Dictionary<string, string> { ["request"] = $"{id}" } }, now);
        await work.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "requests wait for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}

internal static class ApprovalsSlice
{
    internal static void AddApprovals(this IServiceCollection services, string policyDirectory)
    {
        Policies.PolicyFiles.AddPolicy<ApprovalsPolicy>(services, policyDirectory, "approvals");
        services.AddSingleton<Separation>().AddSingleton<RequestDesk>().AddSingleton<ReviewException>();
        services.AddSingleton<ITaskSource, RequestTasks>().AddSingleton<IFieldOptions, PersonOptions>();
        services.AddSingleton<RequestClock>().AddHostedService(p => p.GetRequiredService<RequestClock>());
        services.AddSingleton(new Web.MenuEntry("申請する・申請の状況", "/requests", 20, []));
        services.AddSingleton(new Web.MenuEntry("例外の事後確認", "/reviews", 60, ["approvals.review", "approvals.read-reviews"]));
    }
}

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
