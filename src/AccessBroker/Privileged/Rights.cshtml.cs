using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>Who holds privileges: people by their roles, targets as they really are, exceptions. <clause>MIC 6.2(1)③(ア), 6.2解(1), 7.4(3)</clause></summary>
[Authorize("privileged.read-all"), Audited("privileged.read-all")]
internal sealed class RightsModel(Store store, Permissions permissions, TargetRights rights, SessionDirector director, Active<PrivilegedPolicy> policy, TimeProvider time) : PageModel
{
    /// <summary>A person, and what their roles let them do.</summary>
    internal sealed record Holder(string Name, string Posts, bool IsContractor, string Works, string Approves);
    /// <summary>A target: what nobody has accepted yet, and the rest.</summary>
    internal sealed record Found(string Id, string Name, DateTimeOffset? At, IReadOnlyList<TargetRight> Open, IReadOnlyList<TargetRight> Rest);

    [BindProperty] public List<string> Lines { get; set; } = [];
    [BindProperty, StringLength(400)] public string? Note { get; set; }
    public IReadOnlyList<Holder> Holders { get; private set; } = [];
    public IReadOnlyList<Found> Targets { get; private set; } = [];
    public IReadOnlyList<PermittedDeviation> Exceptions { get; private set; } = [];
    public bool MayAccept { get; private set; }
    public bool MayRequestException { get; private set; }
    public bool MayEndException { get; private set; }
    public DateTimeOffset Now { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    private IReadOnlyDictionary<string, string> _names = new Dictionary<string, string>();
    public string NameOf(string? person) => person is null ? "" : _names.GetValueOrDefault(person, person);
    public string WorkName(string work) => policy.Now.Work.GetValueOrDefault(work)?.Name ?? work;

    public async Task OnGetAsync(CancellationToken ct)
    {
        Now = time.GetUtcNow();
        await using var work = await store.ReadAsync(ct);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        (MayAccept, MayRequestException, MayEndException) = (may.Allows("privileged.accept-rights"), may.Allows("privileged.request-exception"), may.Allows("privileged.approve-exception") || may.Allows("privileged.request-exception"));
        var (all, reports, exceptions, holders) = (TargetRights.All(), TargetRights.Reports(), WorkExceptions.All(), PeopleRegister.Holders([.. policy.Now.Work.Values.SelectMany(w => w.Requesters.Concat(w.Approvers)).Distinct()], Now));
        await work.AskAsync(ct, all, reports, exceptions, holders);
        Exceptions = exceptions.Answer;
        Targets = [.. policy.Now.Targets.Where(t => PrivilegedPolicy.HasAgent(t.Value.Kind)).Select(t => new Found(t.Key, t.Value.Name, reports.Answer.Where(r => r.Target == t.Key).Select(r => (DateTimeOffset?)r.At).FirstOrDefault(),
            [.. all.Answer.Where(r => r.Target == t.Key && r is { AcceptedAt: null, GoneAt: null })], [.. all.Answer.Where(r => r.Target == t.Key && (r.AcceptedAt is not null || r.GoneAt is not null))]))];
        _names = await work.AskAsync(PeopleRegister.Names(all.Answer.Select(r => r.AcceptedBy ?? "").Concat(Exceptions.Select(e => e.PermittedBy)), Now), ct);
        var people = holders.Answer.Select(h => PeopleRegister.FindValid(h.Id, Now)).ToArray();
        await work.AskAsync(ct, people);
        Holders = [.. people.Select(p => p.Answer).OfType<ValidPerson>().Select(Describe)];
    }

    private Holder Describe(ValidPerson person)
    {
        string Names(Func<Work, IEnumerable<string>> roles) => string.Join("、", policy.Now.Work.Values.Where(w => person.Roles.Any(roles(w).Contains)).Select(w => w.Name));
        return new(person.Name, string.Join("、", person.Posts.Select(p => p.Post).Distinct()), person.IsContractor, Names(w => w.Requesters), person.IsContractor ? "" : Names(w => w.Approvers));
    }

    public async Task<IActionResult> OnPostAcceptAsync(string target, CancellationToken ct)
    {
        if (!(await permissions.OfAsync(User, ct)).Allows("privileged.accept-rights")) return await RefuseAsync("privileged.accept-rights", ct);
        var problem = await rights.AcceptAsync(target, [.. Lines], PersonId.Of(User), Note, ct);
        (Succeeded, Message) = (problem is null, problem ?? "認めたことを記録しました。");
        if (problem is not null) Response.StatusCode = StatusCodes.Status422UnprocessableEntity;
        await OnGetAsync(ct);
        return Page();
    }

    public async Task<IActionResult> OnPostEndAsync(long request, CancellationToken ct)
    {
        await using (var work = await store.BeginAsync(ct))
        {
            var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
            if (!may.Allows("privileged.approve-exception") && !may.Allows("privileged.request-exception")) return await RefuseAsync("privileged.end-exception", ct);
            (Succeeded, Message) = await WorkExceptions.EndAsync(work, request, PersonId.Of(User), time.GetUtcNow(), ct) ? (true, "例外措置を終えました。") : (false, "この例外措置は、すでに終わっています。");
        }
        // What was begun under it alone does not go on alone.
        await using (var work = await store.ReadAsync(ct))
            if (Succeeded && (await work.AskAsync(WorkExceptions.All(), ct)).Find(e => e.Request == request) is { Rule: "two-person" } ended && await policy.RulesNowAsync(work, ended.Work, time.GetUtcNow(), ct) is { TwoPerson: true })
                await director.EndAsync([.. (await work.AskAsync(PrivilegedStore.Running(), ct)).Where(s => s is { Second: null, IsEmergency: false } && s.Work == ended.Work)], "privileged.policy-changed", LiveSession.Of(HttpContext));
        await OnGetAsync(ct);
        return Page();
    }

    private async Task<IActionResult> RefuseAsync(string operation, CancellationToken ct)
    {
        await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
        return Forbid();
    }
}
