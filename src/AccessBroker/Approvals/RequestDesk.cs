using System.Globalization;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>Asking, deciding, carrying out, taking back: every request goes through here. <clause>INA 第16-1, MIC 1(8)①</clause></summary>
public sealed class RequestDesk(Store store, IEnumerable<RequestKind> kinds, Permissions permissions, Separation separation, Active<ApprovalsPolicy> policy, TimeProvider time)
{
    /// <summary>What came of it.</summary>
    public abstract record Outcome
    {
        private Outcome() { }
        /// <summary>Done; the request as it is now.</summary>
        public sealed record Done(long Request) : Outcome;
        /// <summary>No such request or kind.</summary>
        public sealed record NotFound : Outcome;
        /// <summary>This person has not the operation.</summary>
        public sealed record NotPermitted : Outcome;
        /// <summary>Something in the form, or what it asks for, cannot be: a Japanese sentence.</summary>
        public sealed record Problem(string Sentence) : Outcome;
        /// <summary>It is finished, or decided by another meanwhile.</summary>
        public sealed record Closed : Outcome;
        /// <summary>Rules of separation forbid it.</summary>
        public sealed record Separated(IReadOnlyList<string> Rules, bool MayBeUnavoidable) : Outcome;
        /// <summary>It must be confirmed with card and PIN first, for exactly this.</summary>
        public sealed record Unconfirmed(ConfirmedOperation Operation) : Outcome;
    }

    private readonly Dictionary<string, RequestKind> _kinds = kinds.ToDictionary(k => k.Name, StringComparer.Ordinal);

    /// <summary>All kinds, by name.</summary>
    public IReadOnlyCollection<RequestKind> Kinds => _kinds.Values;
    /// <summary>A request as it is.</summary>
    public static Question<Request?> Find(long id) => RequestStore.Find(id);
    /// <summary>Requests about a person, card or terminal, newest first.</summary>
    public static Question<List<Request>> About(string? person, string? card, string? terminal) => RequestStore.About(person, card, terminal);
    /// <summary>A person's requests of one kind in one state, newest first.</summary>
    public static Question<List<Request>> By(PersonId person, string kind, string state) => RequestStore.By(person, kind, state);
    /// <summary>The kind, or null.</summary>
    public RequestKind? Kind(string? name) => name is null ? null : _kinds.GetValueOrDefault(name);

    /// <summary>Files a request.</summary>
    public async Task<Outcome> SubmitAsync(PersonId by, string kindName, IReadOnlyDictionary<string, string> given, string reason, CancellationToken ct)
    {
        if (Kind(kindName) is not { } kind) return new Outcome.NotFound();
        await using var work = await store.BeginAsync(ct);
        var may = await permissions.OfAsync(work, by, ct);
        if (!may.Allows(kind.RequestOperation)) return await NotPermittedAsync(work, kind.RequestOperation, by, ct);
        var fields = kind.Fields.ToDictionary(f => f.Name, f => given.GetValueOrDefault(f.Name)?.Trim() ?? "");
        if (FormProblem(kind, fields, reason) is { } problem) return new Outcome.Problem(problem);
        if (await kind.ProblemAsync(work, fields, by, ct) is { } sentence) return new Outcome.Problem(sentence);
        await kind.CompleteAsync(work, fields, ct);
        var now = time.GetUtcNow();
        var id = await RequestStore.AddAsync(work, kind.Name, fields, reason.Trim(), by, now, kind.DueAt(fields) ?? now + policy.Now.RequestDue, ct);
        work.Record(Event(kind, "request", HistoryOutcome.Done, by, id, fields), now);
        await TellNextAsync(work, kind, (await work.AskAsync(RequestStore.Find(id), ct))!, ct);
        await work.CommitAsync(ct);
        return new Outcome.Done(id);
    }

    /// <summary>Files what the system itself has to have decided: a report that somebody must take note of. Writes no event: the caller's says it.</summary>
    public static async Task<long> FileAsync(UnitOfWork work, string kind, IReadOnlyDictionary<string, string> fields, string reason, PersonId by, DateTimeOffset at, TimeSpan due) =>
        await RequestStore.AddAsync(work, kind, fields, reason, by, at, at + due, CancellationToken.None);

    /// <summary>Says yes as <paramref name="step"/>. With the last yes of a kind that nobody carries out, it takes effect.</summary>
    /// <param name="confirm">Takes the proof for exactly this operation, where the kind needs one; null: there is none.</param>
    public async Task<Outcome> ApproveAsync(PersonId by, long id, string step, string note, string? unavoidable, CancellationToken ct, Func<UnitOfWork, ConfirmedOperation, Task<ConfirmedProof?>>? confirm = null)
    {
        await using var work = await store.BeginAsync(ct);
        if (await RequestStore.LockAsync(work, id, ct) is not { } request || Kind(request.Kind) is not { } kind || kind.StepsOf(request).FirstOrDefault(s => s.Name == step) is not { } asked) return new Outcome.NotFound();
        var may = await permissions.OfAsync(work, by, ct);
        if (may.Person is null || !await kind.MayApproveAsync(work, request, asked, may, ct)) return await NotPermittedAsync(work, asked.Operation, by, ct);
        if (request.State != "open" || request.Decisions.Any(d => d.Step == step)) return new Outcome.Closed();
        if (kind.ClosedToApproval(request, time.GetUtcNow()) is { } closed) return new Outcome.Problem(closed);
        if (!await LeavesExecutorAsync(work, kind, request, by, ct)) return new Outcome.Problem("あなたが立ち会うと、実施できる人がいなくなります。ほかの人が立ち会ってください。");
        var verdict = await separation.JudgeAsync(work, Act.Approve, may, new(request.RequestedBy.Value, request.Approvers, request.Subject?.Value), id, $"{kind.Title} {id}", kind.IsExceptionable ? unavoidable : null, ct);
        if (verdict is Separation.Verdict.Forbidden forbidden) return await SeparatedAsync(work, kind, "approve", by, request, kind.IsExceptionable ? forbidden : forbidden with { MayBeUnavoidable = false }, ct);
        var operation = kind.NeedsConfirmation ? ConfirmedOperation.Of(kind, request) : null;
        ConfirmedProof? proof = null;
        if (operation is not null && (confirm is null || (proof = await confirm(work, operation)) is null)) return new Outcome.Unconfirmed(operation);
        if (kind.NeedsSignature && proof?.Signature is null) return new Outcome.Problem("この承認は、操作者カードかパスキーの署名で行います。やり直してください。");
        var now = time.GetUtcNow();
        RequestStore.Decide(work, id, step, by, now, note, ((Separation.Verdict.Allowed)verdict).Exception);
        if (proof?.Signature is { } signature) ApprovalSignatures.Keep(work, id, step, operation!, signature);
        var entry = Event(kind, "approve", HistoryOutcome.Done, by, id, request.Fields, step);
        // What was confirmed can be proven later: the hash stands beside the proof in the history.
        work.Record(operation is null ? entry : entry with { Details = entry.Details.Concat(ApprovalSignatures.Evidence(operation, proof?.Signature)).ToDictionary() }, now);
        if (kind.StepsOf(request).All(s => s.Name == step || request.Decisions.Any(d => d.Step == s.Name)))
        {
            RequestStore.Move(work, id, kind.IsExecuted ? "approved" : "done", kind.IsExecuted ? null : now);
            if (!kind.IsExecuted)
            {
                if (Lapsed(await work.AskAsync(RequestStore.ExceptionsOf(id), ct), request, now)) return new Outcome.Problem("例外として認められた承認の期限が切れています。申請し直してください。");
                if (await kind.ExecuteAsync(work, request, by, note, ct) is { } sentence) return new Outcome.Problem(sentence);
                Tell(work, kind, request, "認められ、実施されました", now);
            }
            else await TellNextAsync(work, kind, request with { State = "approved" }, ct);
        }
        await work.CommitAsync(ct);
        return new Outcome.Done(id);
    }

    /// <summary>Says no: whoever could have said yes, or would carry it out.</summary>
    public async Task<Outcome> RefuseAsync(PersonId by, long id, string note, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await RequestStore.LockAsync(work, id, ct) is not { } request || Kind(request.Kind) is not { } kind) return new Outcome.NotFound();
        var may = await permissions.OfAsync(work, by, ct);
        // A refusal is a decision: never a contractor's (MIC 6.2(1)③(エ)).
        if (may.Person is not { IsContractor: false } || !await IsConcernedAsync(work, kind, request, may, ct)) return await NotPermittedAsync(work, kind.ExecuteOperation, by, ct);
        if (!request.IsPending || !kind.IsWithdrawable) return new Outcome.Closed();
        if (note.Trim().Length < 2) return new Outcome.Problem("認めない理由を書いてください。");
        return await CloseAsync(work, kind, request, by, "refuse", "refused", note, ct);
    }

    /// <summary>Takes one's own request back.</summary>
    public async Task<Outcome> WithdrawAsync(PersonId by, long id, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await RequestStore.LockAsync(work, id, ct) is not { } request || Kind(request.Kind) is not { } kind) return new Outcome.NotFound();
        if (request.RequestedBy != by) return await NotPermittedAsync(work, kind.RequestOperation, by, ct);
        if (!request.IsPending || !kind.IsWithdrawable) return new Outcome.Closed();
        return await CloseAsync(work, kind, request, by, "withdraw", "withdrawn", "", ct);
    }

    /// <summary>Carries out a request that needs no more than a click.</summary>
    public async Task<Outcome> ExecuteAsync(PersonId by, long id, string note, string? unavoidable, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var (outcome, request) = await BeginExecutionAsync(work, by, id, unavoidable, ct);
        if (request is null) return outcome!;
        // Made and handed over at the station, or not at all.
        if (Kind(request.Kind)!.ExecutedAt(request) is not null) return new Outcome.Problem("発行所で実施します。");
        if (await CompleteAsync(work, request, by, note, ct) is { } sentence) return new Outcome.Problem(sentence);
        await work.CommitAsync(ct);
        return new Outcome.Done(id);
    }

    /// <summary>
    /// Whether this person may carry it out now; the request is locked for the rest of the unit of work. An exception is entered when one was needed.
    /// </summary>
    public async Task<(Outcome? Refusal, Request? Request)> BeginExecutionAsync(UnitOfWork work, PersonId by, long id, string? unavoidable, CancellationToken ct)
    {
        if (await RequestStore.LockAsync(work, id, ct) is not { } request || Kind(request.Kind) is not { IsExecuted: true } kind) return (new Outcome.NotFound(), null);
        var may = await permissions.OfAsync(work, by, ct);
        if (!may.Allows(kind.ExecuteOperation)) return (await NotPermittedAsync(work, kind.ExecuteOperation, by, ct), null);
        if (!(request.State == "approved" || (request.State == "open" && kind.StepsOf(request).Count == 0))) return (new Outcome.Closed(), null);
        var exceptions = await work.AskAsync(RequestStore.ExceptionsOf(id), ct);
        if (Lapsed(exceptions, request, time.GetUtcNow())) return (new Outcome.Problem("例外として認められた承認の期限が切れています。申請し直してください。"), null);
        // What was set aside for this very act holds until it expires: a card is prepared and handed over in several steps.
        if (exceptions.Any(e => e.Request == id && e.By == by.Value && e.Act == "execute" && e.ExpiresAt > time.GetUtcNow())) return (null, request);
        var verdict = await separation.JudgeAsync(work, kind.CarriedOutAs, may, new(kind.RequesterMayExecute ? null : request.RequestedBy.Value, request.Approvers, request.Subject?.Value, kind.NeedsSecondPerson), id, $"{kind.Title} {id}", unavoidable, ct);
        return verdict is Separation.Verdict.Forbidden forbidden ? (await SeparatedAsync(work, kind, "execute", by, request, forbidden, ct), null) : (null, request);
    }

    /// <summary>Makes it true and closes the request, in the caller's unit of work. Returns why not, in Japanese; null: done.</summary>
    public async Task<string?> CompleteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var kind = Kind(request.Kind)!;
        var now = time.GetUtcNow();
        if (await kind.ExecuteAsync(work, request, by, note, ct) is { } sentence) return sentence;
        RequestStore.Decide(work, request.Id, "execute", by, now, note, null);
        RequestStore.Move(work, request.Id, "done", now);
        work.Record(Event(kind, "execute", HistoryOutcome.Done, by, request.Id, request.Fields), now);
        Tell(work, kind, request, "実施されました", now);
        return null;
    }

    /// <summary>
    /// With this person's yes, is there still somebody who may carry it out? Where the second person watches the work, its only executor must not use
    /// themselves up as the witness.
    /// </summary>
    internal async Task<bool> LeavesExecutorAsync(UnitOfWork work, RequestKind kind, Request request, PersonId approver, CancellationToken ct)
    {
        if (!kind.IsExecuted || !kind.NeedsSecondPerson) return true;
        var executors = await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith(kind.ExecuteOperation)], time.GetUtcNow()), ct);
        // Whoever could not carry it out takes nobody away. Who asked, or whom it is about, may still have to, by an exception.
        return !executors.Exists(e => e.Id == approver) || executors.Exists(e => e.Id != approver && !request.Approvers.Contains(e.Id.Value));
    }

    /// <summary>Could this person say yes to some open step, or carry it out.</summary>
    public async Task<bool> IsConcernedAsync(UnitOfWork work, RequestKind kind, Request request, MayDo may, CancellationToken ct)
    {
        if (may.Person is null) return false;
        if (kind.IsExecuted && may.Allows(kind.ExecuteOperation) && (kind.CarriedOutAs != Act.Work || request.RequestedBy == may.Person.Id)) return true;
        foreach (var step in kind.StepsOf(request)) if (await kind.MayApproveAsync(work, request, step, may, ct)) return true;
        return false;
    }

    private static bool Lapsed(List<SetAside> exceptions, Request request, DateTimeOffset now) =>
        request.Decisions.Any(d => d.Exception is { } id && exceptions.Find(e => e.Id == id) is { } exception && exception.ExpiresAt <= now);

    private async Task<Outcome> CloseAsync(UnitOfWork work, RequestKind kind, Request request, PersonId by, string step, string state, string note, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        RequestStore.Decide(work, request.Id, step, by, now, note.Trim(), null);
        RequestStore.Move(work, request.Id, state, now);
        work.Record(Event(kind, step, HistoryOutcome.Done, by, request.Id, request.Fields), now);
        if (step == "refuse") Tell(work, kind, request, $"認められませんでした: {note.Trim()}", now);
        await work.CommitAsync(ct);
        return new Outcome.Done(request.Id);
    }

    private static void Tell(UnitOfWork work, RequestKind kind, Request request, string what, DateTimeOffset now) =>
        work.Notify([request.RequestedBy], $"{kind.Title}: {what}", request.Reason, $"/requests/{request.Id}", now);

    /// <summary>Tells those who are next that something waits.</summary>
    private async Task TellNextAsync(UnitOfWork work, RequestKind kind, Request request, CancellationToken ct)
    {
        var operations = request.State == "open" && kind.StepsOf(request).Count > 0 ? kind.StepsOf(request).Select(s => s.Operation) : kind.IsExecuted ? [kind.ExecuteOperation] : [];
        var holders = await work.AskAsync(PeopleRegister.Holders([.. operations.SelectMany(permissions.RolesWith)], time.GetUtcNow()), ct);
        work.Notify(holders.Select(h => h.Id).Where(h => h != request.RequestedBy), $"申請: {kind.Title}", request.Reason, $"/requests/{request.Id}", time.GetUtcNow());
    }

    private static string? FormProblem(RequestKind kind, Dictionary<string, string> fields, string reason)
    {
        if (reason.Trim().Length is < 2 or > 1000 || !FreeText.Fits(reason, lines: true)) return "理由は2〜1000文字で書いてください。";
        foreach (var field in kind.Fields)
        {
            var value = fields[field.Name];
            if (value.Length == 0 && field.Required) return $"「{field.Label}」を入力してください。";
            if (value.Length > field.MaxLength || !FreeText.Fits(value, lines: field.Type == FieldType.Lines)) return $"「{field.Label}」は{field.MaxLength}文字までで、制御文字は使えません。";
            if (value.Length == 0) continue;
            var fits = field.Type switch
            {
                FieldType.Person => PersonId.TryParse(value, null, out _),
                FieldType.Card => CardId.TryParse(value, null, out _),
                FieldType.Terminal => TerminalId.TryParse(value, null, out _),
                FieldType.Day => DateOnly.TryParseExact(value, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _),
                FieldType.Choice => field.Choices.Any(c => c.Value == value),
                _ => true,
            };
            if (!fits) return $"「{field.Label}」の形が正しくありません。";
        }
        return null;
    }

    private async Task<Outcome> NotPermittedAsync(UnitOfWork work, string operation, PersonId by, CancellationToken ct)
    {
        work.Record(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = by }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new Outcome.NotPermitted();
    }

    private async Task<Outcome> SeparatedAsync(UnitOfWork work, RequestKind kind, string act, PersonId by, Request request, Separation.Verdict.Forbidden forbidden, CancellationToken ct)
    {
        work.Record(Event(kind, act, HistoryOutcome.Refused, by, request.Id, request.Fields) with { Reason = $"approvals.{forbidden.Rules[0]}" }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new Outcome.Separated(forbidden.Rules, forbidden.MayBeUnavoidable);
    }

    private static HistoryEvent Event(RequestKind kind, string act, HistoryOutcome outcome, PersonId by, long request, IReadOnlyDictionary<string, string> fields, string? step = null) => new($"{kind.Name.Split('.')[0]}.{act}-{kind.Name.Split('.')[1]}", outcome)
    {
        Person = by,
        Card = CardId.TryParse(fields.GetValueOrDefault("card"), null, out var card) ? card : null,
        Terminal = TerminalId.TryParse(fields.GetValueOrDefault("terminal"), null, out var terminal) ? terminal : null,
        Details = new Dictionary<string, string> { ["request"] = request.ToString(CultureInfo.InvariantCulture), ["subject"] = fields.GetValueOrDefault("person", "") }.Concat(step is null ? [] : [new("step", step)]).ToDictionary(),
    };
}
