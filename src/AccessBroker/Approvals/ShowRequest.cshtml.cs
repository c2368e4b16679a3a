using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Approvals;

/// <summary>One request: what it will do, who decides, and the buttons of whoever may press them.</summary>
[Authorize, Audited("approvals.decide")]
internal sealed class ShowRequestModel(Store store, RequestDesk desk, ApprovalLadder ladder, Permissions permissions, IEnumerable<IFieldOptions> options, IConfirmation confirmation, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(64)] public string? Step { get; set; }
    /// <summary>The proof for the act that comes next; from the query after the sign-in for it.</summary>
    [BindProperty(SupportsGet = true), StringLength(100)] public string? Confirmed { get; set; }
    [BindProperty, StringLength(1000)] public string? Note { get; set; }
    [BindProperty, StringLength(1000)] public string? Unavoidable { get; set; }

    public Request Subject { get; private set; } = null!;
    public RequestKind Kind { get; private set; } = null!;
    /// <summary>What people should know beside the request.</summary>
    public (string Sentence, string Url)? Hint { get; private set; }
    public IReadOnlyList<(string Label, string Value)> Values { get; private set; } = [];
    public IReadOnlyList<ApprovalStep> MayApprove { get; private set; } = [];
    /// <summary>Yeses that a rule of separation forbids this person, but a reason would open.</summary>
    public IReadOnlyList<ApprovalStep> OnlyUnavoidably { get; private set; } = [];
    public bool MayExecute { get; private set; }
    public bool MayRefuse { get; private set; }
    public bool MayWithdraw { get; private set; }
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    /// <summary>Who could press the next button: as whom, and their names.</summary>
    public IReadOnlyList<(string As, IReadOnlyList<string> Names)> Waiting { get; private set; } = [];
    /// <summary>How many must still approve, and how many can now, where these are too few; else zeros.</summary>
    public (int Needed, int There) Missing { get; private set; }
    /// <summary>A rule of separation stands against this person carrying it out; only an unavoidable reason would help.</summary>
    public bool IsSeparated { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    /// <summary>The act that a rule forbade and a reason would allow: approve or execute.</summary>
    public string? Blocked { get; private set; }

    public string Name(string id) => Names.GetValueOrDefault(id, id);

    public async Task<IActionResult> OnGetAsync(long id, CancellationToken ct)
    {
        Note ??= await confirmation.DraftAsync(HttpContext, Confirmed, ct);
        if (Confirmed is not null) (Succeeded, Message) = (true, "本人を確かめました。5分以内に、下のボタンで承認してください。");
        if (Request.Query.ContainsKey("filed")) (Succeeded, Message) = (true, "申請を受け付けました。次に処理する人に知らせました。");
        return await LoadAsync(id, ct) ?? Page();
    }

    /// <summary>The signatures of its approvals, for whoever may see it.</summary>
    public async Task<IActionResult> OnGetSignaturesAsync(long id, CancellationToken ct)
    {
        if (await LoadAsync(id, ct) is { } refused) return refused;
        var signed = await store.AskAsync(ApprovalSignatures.Of(id), ct);
        return signed.Count == 0 ? NotFound() : await exports.FileAsync(HttpContext, $"request-{id}-signatures", signed.Count, SignatureFile.Write(signed), "application/zip", "zip", ct);
    }

    public async Task<IActionResult> OnPostAsync(long id, string act, CancellationToken ct)
    {
        var by = PersonId.Of(User);
        var outcome = act switch
        {
            "approve" => await desk.ApproveAsync(by, id, Step ?? "", Note ?? "", Unavoidable, ct, (work, operation) => confirmation.TakeAsync(work, HttpContext, Confirmed, operation, by, ct)),
            "execute" => await desk.ExecuteAsync(by, id, Note ?? "", Unavoidable, ct),
            "refuse" => await desk.RefuseAsync(by, id, Note ?? "", ct),
            "withdraw" => await desk.WithdrawAsync(by, id, ct),
            _ => new RequestDesk.Outcome.NotFound(),
        };
        switch (outcome)
        {
            case RequestDesk.Outcome.NotFound: return NotFound();
            case RequestDesk.Outcome.NotPermitted: return Forbid();
            case RequestDesk.Outcome.Unconfirmed unconfirmed: return Redirect(await confirmation.AskAsync(HttpContext, unconfirmed.Operation, $"/requests/{id}", ct, Note));
            case RequestDesk.Outcome.Done: (Succeeded, Message) = (true, act switch { "approve" => "承認しました。", "execute" => "実施しました。", "refuse" => "認めないことにしました。", _ => "取り下げました。" }); break;
            case RequestDesk.Outcome.Closed: (Message, Response.StatusCode) = ("この申請は、すでに処理されたか、この操作ができない状態です。", StatusCodes.Status409Conflict); break;
            case RequestDesk.Outcome.Problem problem: (Message, Response.StatusCode) = (problem.Sentence, StatusCodes.Status422UnprocessableEntity); break;
            case RequestDesk.Outcome.Separated separated:
                (Message, Response.StatusCode) = (string.Concat(separated.Rules.Select(Separation.Sentence)), StatusCodes.Status403Forbidden);
                if (separated.MayBeUnavoidable) Blocked = act;
                break;
        }
        return await LoadAsync(id, ct) ?? Page();
    }

    private async Task<IActionResult?> LoadAsync(long id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (await work.AskAsync(RequestStore.Find(id), ct) is not { } request || desk.Kind(request.Kind) is not { } kind) return NotFound();
        (Subject, Kind) = (request, kind);
        var (now, me) = (time.GetUtcNow(), PersonId.Of(User));
        var may = await permissions.OfAsync(work, me, ct);
        var concerned = await desk.IsConcernedAsync(work, kind, request, may, ct);
        if (!concerned && request.RequestedBy != me && request.Subject != me && request.Decisions.All(d => d.By != me.Value) && !may.Allows("approvals.read")) return Forbid();
        var steps = new List<ApprovalStep>();
        if (request.State == "open") foreach (var step in kind.StepsOf(request)) if (request.Decisions.All(d => d.Step != step.Name) && await kind.MayApproveAsync(work, request, step, may, ct) && await desk.LeavesExecutorAsync(work, kind, request, me, ct)) steps.Add(step);
        // Nobody is offered what a rule forbids them; the way out stands apart.
        var separated = may.Person is { } person && SeparationRule.Violations(Act.Approve, person.Id.Value, person.IsContractor, new(request.RequestedBy.Value, request.Approvers, request.Subject?.Value)).Count > 0;
        (OnlyUnavoidably, steps) = separated ? (kind.IsExceptionable ? steps : [], []) : ((IReadOnlyList<ApprovalStep>)[], steps);
        var ready = request.State == "approved" || (request.State == "open" && kind.StepsOf(request).Count == 0);
        (MayApprove, MayExecute, MayRefuse, MayWithdraw) = (steps, kind.IsExecuted && ready && may.Allows(kind.ExecuteOperation), request.IsPending && concerned && kind.IsWithdrawable && request.RequestedBy != me, request.IsPending && request.RequestedBy == me && kind.IsWithdrawable);
        var values = new List<(string, string)>();
        foreach (var field in kind.Fields) if (request[field.Name] is { Length: > 0 } value) values.Add((field.Label, await LabelAsync(work, field, value, now, ct)));
        foreach (var (name, label) in kind.CompletedFields) if (request[name] is { Length: > 0 } value) values.Add((label, value));
        Values = values;
        Names = await work.AskAsync(PeopleRegister.Names(request.Decisions.Select(d => d.By).Append(request.RequestedBy.Value), now), ct);
        if (request.State is "open" or "approved" or "done") Hint = await kind.HintAsync(work, request, ct);
        IsSeparated = MayExecute && await RequestTasks.NextAsync(desk, work, kind, request, may, ct) is null;
        var waiting = new List<(string, IReadOnlyList<string>)>();
        var open = request.State == "open" ? kind.StepsOf(request).Where(s => request.Decisions.All(d => d.Step != s.Name)).ToList() : [];
        // Steps that are taken one after the other wait for the same people.
        var able = new Dictionary<string, IReadOnlyList<string>>();
        foreach (var step in open)
        {
            if (!able.ContainsKey(step.Operation)) able[step.Operation] = [.. (await ladder.WhoMayAsync(work, kind, request, step, ct)).Select(w => w.Name)];
            waiting.Add((step.Label, able[step.Operation]));
        }
        // Different people for each: two steps need two of them.
        Missing = able.Select(a => (open.Count(s => s.Operation == a.Key), a.Value.Count)).FirstOrDefault(m => m.Item1 > m.Count);
        if (open.Count == 0 && ready && kind.IsExecuted)
            waiting.Add(("実施", [.. (await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith(kind.ExecuteOperation)], now), ct)).Where(h => (h.Id != request.RequestedBy || kind.RequesterMayExecute) && (kind.CarriedOutAs != Act.Work || h.Id == request.RequestedBy) && (!kind.NeedsSecondPerson || !request.Approvers.Contains(h.Id.Value))).Select(h => h.Name)]));
        Waiting = waiting;
        await store.ExecuteAsync(NoticeBox.Seen(me, $"/requests/{id}", now), ct);
        return null;
    }

    private async Task<string> LabelAsync(UnitOfWork work, RequestField field, string value, DateTimeOffset now, CancellationToken ct)
    {
        if (field.Type == FieldType.Choice) return field.Choices.FirstOrDefault(c => c.Value == value).Label ?? value;
        if (options.FirstOrDefault(o => o.Type == field.Type) is not { } finder) return value;
        return (await finder.FindAsync(work, value, now, ct)).FirstOrDefault(o => o.Value == value) is { Label: { } label } ? $"{label} [{value}]" : value;
    }

    internal static string StateName(string state) => state switch { "open" => "受付", "approved" => "承認済み", "done" => "完了", "refused" => "不承認", "withdrawn" => "取下げ", "expired" => "期限切れ", _ => state };
}
