using System.Security.Cryptography;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.TimeSource;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>
/// Privileged work begins: proven anew for exactly this, judged by what is true now, written with its event before anything is opened at a target.
/// <clause>MIC 6.2(1)③, 6.2(6), 7.4(2)</clause>
/// </summary>
internal sealed class StartSession(Store store, RequestDesk desk, Permissions permissions, IConfirmation confirmation, TemporaryGrants files, PrivilegedNotices notices, Signers signers, ClockCheck clock, Active<PrivilegedPolicy> policy, Wakeups wakeups, TimeProvider time)
{
    /// <summary>What came of it.</summary>
    internal abstract record Outcome
    {
        private Outcome() { }
        internal sealed record Started(string Session) : Outcome;
        /// <summary>Card and PIN first, for exactly this.</summary>
        internal sealed record Unconfirmed(ConfirmedOperation Operation) : Outcome;
        /// <summary>It cannot be: a Japanese sentence, and the code of the event.</summary>
        internal sealed record Problem(string Code, string Sentence) : Outcome;
        internal sealed record NotPermitted : Outcome;
    }

    /// <summary>What begins, once all is judged, and what whoever begins it has confirmed.</summary>
    /// <param name="Request">Null: an emergency.</param>
    /// <param name="Name">Of whoever begins it.</param>
    private sealed record Beginning(long? Request, string Work, Work Rules, string Reason, string Ticket, IReadOnlyList<string> Approvers, TimeSpan Length, bool TwoPerson, DateOnly? Occurrence, string Name, ConfirmedOperation Operation, OperationSignature Signature);

    /// <summary>Everything that must be true now, in order; the first that is not ends it.</summary>
    private sealed record Judged(Request Request, Work Rules, ValidPerson Person, TerminalId Terminal, DateTimeOffset Now);
    private IReadOnlyList<Func<Judged, (string Code, string Sentence)?>> Checks =>
    [
        j => clock.IsExact ? null : ("privileged.clock-not-exact", "時計が合っていないため、特権作業を始められません。"),
        j => j.Person.Roles.Any(j.Rules.Requesters.Contains) ? null : ("privileged.not-eligible", "いまの役割では、この作業を行えません。"),
        j => j.Request["target"] == j.Rules.Target && j.Request["rules"] == SessionKind.RulesOf(policy.Now.Work[j.Request["work"]]) ? null : ("privileged.rules-changed", "申請の後に、この作業の方針が変わりました。申請し直してください。"),
        j => SessionKind.Length(j.Request.Fields) is { } length && length <= j.Rules.Longest ? null : ("privileged.too-long", $"この作業は最長 {j.Rules.Longest.TotalMinutes:0} 分です。申請し直してください。"),
        j => SessionKind.Start(j.Request.Fields) is { } start && start > j.Now ? ("privileged.too-early", $"開始は {JapaneseTime.InWords(start)} からです。") : null,
        j => StartBy(j.Request) is { } by && by < j.Now ? ("privileged.too-late", "始められる期限を過ぎました。申請し直してください。") : null,
        j => Contract.Problem(policy.Now, j.Person, j.Request["work"], j.Terminal, j.Now, j.Now + SessionKind.Length(j.Request.Fields)!.Value),
        j => j.Person.IsContractor && j.Request["instructedBy"].Length == 0 ? ("privileged.not-instructed", "委託先の方の作業には、管理者の指示が必要です。") : null,
        j => j.Person.IsContractor && !PrivilegedPolicy.HasAgent(policy.Now.KindOf(j.Rules.Target)) ? ("privileged.contractor-files", "委託先の方の作業は二人で行うため、ファイルの作業は始められません。") : null,
        j => SessionKind.Length(j.Request.Fields) is { } length && j.Rules.IsOutsideHours(j.Now, length) ? ("privileged.outside-hours", $"この作業を行えるのは {j.Rules.HoursInWords} です。{NextInWords(j.Rules, j.Now, length)}") : null,
    ];

    /// <summary>Whoever begins it cannot deny it: of an emergency this is all that is signed.</summary>
    private static readonly (string, string) Unsigned = ("privileged.not-signed", "特権作業は、操作者カードかパスキーの署名で始めます。やり直してください。");

    private static string NextInWords(Work rules, DateTimeOffset now, TimeSpan length) => rules.Windows.Select(w => w.NextOpening(now, length)).Min() is { } next ? $"次は {JapaneseTime.InWords(next)} からです。" : "";

    /// <inheritdoc cref="SessionKind.StartBy"/>
    internal DateTimeOffset? StartBy(Request request) => SessionKind.StartBy(policy.Now, request);

    internal ConfirmedOperation Operation(Request request) => ConfirmedOperation.Of(desk.Kind(request.Kind)!, request, "start", $"特権作業の開始 申請 {request.Id}");

    /// <summary>Begins an approved request.</summary>
    internal async Task<Outcome> RunAsync(HttpContext context, long id, string? confirmed, CancellationToken ct)
    {
        var (by, session) = (PersonId.Of(context.User), LiveSession.Of(context)!);
        await using var work = await store.BeginAsync(ct);
        var (refusal, request) = await desk.BeginExecutionAsync(work, by, id, null, ct);
        if (request is null) return refusal switch
        {
            RequestDesk.Outcome.NotPermitted => new Outcome.NotPermitted(),
            RequestDesk.Outcome.Separated separated => new Outcome.Problem($"approvals.{separated.Rules[0]}", Separation.Sentence(separated.Rules[0])),
            _ => new Outcome.Problem("privileged.not-approved", "この申請は、承認が済んでいないか、すでに終わっています。"),
        };
        if (request.Kind != "privileged.session" || request.RequestedBy != by) return new Outcome.NotPermitted();
        var kind = desk.Kind(request.Kind)!;
        if (await ProblemAsync(work, kind, request, by, session.Terminal, ct) is { } problem) return await RefuseAsync(work, request, by, session, problem, ct);
        var (occurrence, untimely) = await OccurrenceAsync(work, request, ct);
        if (untimely is { } late) return await RefuseAsync(work, request, by, session, late, ct);
        var operation = Operation(request);
        if (await confirmation.TakeAsync(work, context, confirmed, operation, by, ct) is not { } proof) return new Outcome.Unconfirmed(operation);
        if (proof.Signature is null) return await RefuseAsync(work, request, by, session, Unsigned, ct);
        var rules = (await policy.RulesNowAsync(work, request["work"], time.GetUtcNow(), ct))!;
        // Recurring work stays open until its last day; whoever approved it can refuse it meanwhile.
        if (occurrence is null && await desk.CompleteAsync(work, request, by, "", ct) is { } sentence) return new Outcome.Problem("privileged.not-started", sentence);
        var person = (await permissions.OfAsync(work, by, ct)).Person;
        return await BeginAsync(work, session, new(request.Id, request["work"], rules, request.Reason, request["ticket"], request.Approvers, SessionKind.Length(request.Fields)!.Value, rules.TwoPerson || person is not { IsContractor: false }, occurrence, person?.Name ?? "", operation, proof.Signature), ct);
    }

    /// <summary>The opening of its hours that recurring work would now be begun in, once each; null: it is done once.</summary>
    private async Task<(DateOnly? Day, (string, string)? Problem)> OccurrenceAsync(UnitOfWork work, Request request, CancellationToken ct)
    {
        if (SessionKind.Until(request.Fields) is null) return (null, null);
        var (now, length) = (time.GetUtcNow(), SessionKind.Length(request.Fields)!.Value);
        if (policy.Now.Work[request["work"]].Windows.Select(w => w.DayOf(now, now + length)).Min() is not { } day) return (null, ("privileged.outside-hours", "繰り返しの作業は、決まった時間帯にだけ始められます。"));
        return (day, await work.AskAsync(PrivilegedStore.HasOccurred(request.Id, day), ct) ? ("privileged.already-done", "この時間帯の分は、もう始めました。次の時間帯に始められます。") : null);
    }

    private async Task<(string, string)?> ProblemAsync(UnitOfWork work, RequestKind kind, Request request, PersonId by, TerminalId terminal, CancellationToken ct)
    {
        if (await policy.RulesNowAsync(work, request["work"], time.GetUtcNow(), ct) is not { } rules) return ("privileged.rules-changed", "この作業は、方針からなくなりました。");
        var may = await permissions.OfAsync(work, by, ct);
        if (may.Person is null) return ("privileged.not-eligible", "いまの役割では、この作業を行えません。");
        foreach (var check in Checks) if (check(new(request, rules, may.Person, terminal, time.GetUtcNow())) is { } problem) return problem;
        if (!await ApprovalSignatures.CoverAsync(work, kind, request, ct) || !await signers.AreTheirsAsync(work, request, ct)) return ("privileged.approvals-do-not-hold", "承認の署名が、申請の内容と合いません。申請し直してください。");
        return await StoppedAsync(work, by, rules.Target, request["work"], ct);
    }

    private static async Task<(string, string)?> StoppedAsync(UnitOfWork work, PersonId person, string target, string kindOfWork, CancellationToken ct) =>
        await work.AskAsync(PrivilegedStore.StopOn(person, target, kindOfWork), ct) is null ? null : ("privileged.stopped", "緊急停止中のため、特権作業を始められません。");

    /// <summary>Begins without prior approval: short, loud, and blocked afterwards until somebody has looked at it. <clause>MIC 7.4(2)</clause></summary>
    internal async Task<Outcome> EmergencyAsync(HttpContext context, string kindOfWork, string reason, string? confirmed, CancellationToken ct)
    {
        var (by, session) = (PersonId.Of(context.User), LiveSession.Of(context)!);
        await using var work = await store.BeginAsync(ct);
        var may = await permissions.OfAsync(work, by, ct);
        if (may.Person is null || !may.Allows("privileged.begin-emergency") || !policy.Now.Work.TryGetValue(kindOfWork, out var rules)) return new Outcome.NotPermitted();
        // One at a time: two at once would not see each other.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('privileged.emergency'))", ct);
        if (await EmergencyProblemAsync(work, may.Person, kindOfWork, rules, ct) is { } problem) return await RefuseAsync(work, null, by, session, problem, ct);
        var operation = ConfirmedOperation.Of("emergency", "privileged.emergency", "緊急の特権作業", 0, by, reason, new Dictionary<string, string> { ["what"] = $"{policy.Now.Targets[rules.Target].Name} — {rules.Name}", ["work"] = kindOfWork, ["target"] = rules.Target, ["minutes"] = $"{policy.Now.Emergency.Longest.TotalMinutes:0}" }, $"緊急の特権作業: {rules.Name}");
        if (await confirmation.TakeAsync(work, context, confirmed, operation, by, ct) is not { } proof) return new Outcome.Unconfirmed(operation);
        if (proof.Signature is null) return await RefuseAsync(work, null, by, session, Unsigned, ct);
        return await BeginAsync(work, session, new(null, kindOfWork, rules, reason, "", [], policy.Now.Emergency.Longest, TwoPerson: false, null, may.Person.Name, operation, proof.Signature), ct);
    }

    private async Task<(string, string)?> EmergencyProblemAsync(UnitOfWork work, ValidPerson person, string kindOfWork, Work rules, CancellationToken ct)
    {
        if (person.IsContractor) return ("privileged.contractor-emergency", "委託先の方は、緊急の特権作業を始められません。");
        if (!rules.Emergency || !person.Roles.Any(rules.Requesters.Contains)) return ("privileged.no-emergency", "この作業は、緊急でも承認なしには始められません。");
        if (!clock.IsExact) return ("privileged.clock-not-exact", "時計が合っていないため、特権作業を始められません。");
        if (await work.AskAsync(PrivilegedStore.HasUnreviewedEmergency(person.Id, rules.Target), ct)) return ("privileged.emergency-unreviewed", "あなたの、またはこの対象の、前の緊急の作業の確認が済んでいません。");
        if (await work.AskAsync(PrivilegedStore.EmergenciesSince(person.Id, time.GetUtcNow().AddDays(-1)), ct) >= policy.Now.Emergency.PerDay) return ("privileged.emergency-too-often", "緊急の特権作業は、1日の回数を超えています。");
        return await StoppedAsync(work, person.Id, rules.Target, kindOfWork, ct);
    }

    private async Task<Outcome> BeginAsync(UnitOfWork work, LiveSession session, Beginning what, CancellationToken ct)
    {
        var (now, rules, kind) = (time.GetUtcNow(), what.Rules, policy.Now.KindOf(what.Rules.Target)!);
        var begun = new PrivilegedSession("ps" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(10)), what.Request, what.Work, rules.Target, kind, session.Person, session.Terminal, session.Id, session.Address, what.Reason, what.Ticket, what.Approvers, now, now + what.Length, PrivilegedPolicy.HasAgent(kind) ? "opening" : "open", null, null, null, null, null, [], null, null, null, null, what.TwoPerson ? new(now, null, null, null, []) : null);
        PrivilegedStore.Add(work, begun, session.Card, what.Occurrence);
        PrivilegedStore.Keep(work, begun.Id, what.Operation, what.Signature);
        if (kind == "files" && await files.AddAsync(work, begun.Id, rules.Path, rules.Actions, session.Person, what.Reason, what.Approvers, begun.EndsAt, ct) is { } sentence) return new Outcome.Problem("privileged.not-started", sentence);
        work.Record(TargetReports.Event(begun, begun.IsEmergency ? "privileged.begin-emergency" : "privileged.start", HistoryOutcome.Done) with { Card = session.Card, Details = TargetReports.Details(begun, ("until", JapaneseTime.Precise(begun.EndsAt)), ("approvers", string.Join(' ', what.Approvers)), ("ticket", what.Ticket), ("why", what.Reason)).Concat(ApprovalSignatures.Evidence(what.Operation, what.Signature)).ToDictionary() }, now);
        if (what.TwoPerson) await notices.TellAsync(work, "privileged.witness", "二人作業の立会いを待っています", $"{rules.Name} — {what.Reason}", $"/privileged/{begun.Id}", ct);
        if (begun.IsEmergency) await notices.TellAsync(work, "privileged.review-emergency", "緊急の特権作業が始まりました", $"{what.Name}: {rules.Name} — {what.Reason}", $"/privileged/{begun.Id}", ct);
        await work.CommitAsync(ct);
        await AwaitCoverageAsync();
        wakeups.Wake(SessionDirector.Topic);
        return new Outcome.Started(begun.Id);
    }

    /// <summary>The event is committed. Where a signed checkpoint of the history over it is waited for, once there are checkpoints (design §9).</summary>
    private static Task AwaitCoverageAsync() => Task.CompletedTask;

    private async Task<Outcome> RefuseAsync(UnitOfWork work, Request? request, PersonId by, LiveSession session, (string Code, string Sentence) problem, CancellationToken ct)
    {
        work.Record(new(request is null ? "privileged.begin-emergency" : "privileged.start", HistoryOutcome.Refused, problem.Code) { Person = by, Session = session.Id, Terminal = session.Terminal, Details = new Dictionary<string, string> { ["request"] = $"{request?.Id}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new Outcome.Problem(problem.Code, problem.Sentence);
    }
}
