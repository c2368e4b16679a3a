using System.Globalization;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>
/// Privileged work for a limited time: asked for with its plan, approved by so many different people as the policy says, each with the signature of their
/// card; begun by who asked. <clause>MIC 6.2(1)③, 6.2(6), 1(8)①</clause>
/// </summary>
internal sealed class SessionKind(Active<PrivilegedPolicy> policy, Permissions permissions, TimeProvider time) : RequestKind
{
    /// <summary>As many as a policy can ask for.</summary>
    internal const int MostApprovals = 3;

    public override string Name => "privileged.session";
    public override string Title => "特権作業の許可";
    public override string Explanation => "決められた対象で、決められた時間だけ、特権作業を行う許可を求めます。承認する人は、申請の内容にカードかパスキーで署名します。承認の後、申請した人がカードと暗証番号で本人を確かめて始めます。終了の時刻になるか、カードを抜くと、作業は必ず終わります。";
    public override bool NeedsConfirmation => true;
    public override bool NeedsSignature => true;
    public override bool IsExceptionable => false;
    public override bool RequesterMayExecute => true;
    public override Act CarriedOutAs => Act.Work;
    public override IReadOnlyList<ApprovalStep> Steps => [.. Enumerable.Range(1, MostApprovals).Select(n => new ApprovalStep($"approve-{n}", $"承認者 {n}", "privileged.approve-session"))];
    public override IReadOnlyList<ApprovalStep> StepsOf(Request request) => [.. Steps.Take(policy.Now.Work.GetValueOrDefault(request["work"])?.Approvals ?? MostApprovals)];
    public override string? ExecutedAt(Request request) => $"/privileged/start/{request.Id}";

    public override IReadOnlyList<RequestField> Fields =>
    [
        new("work", "作業", FieldType.Choice) { Choices = [.. policy.Now.Work.Select(w => (w.Key, Words(w.Value)))] },
        new("minutes", "作業の長さ(分)", Hint: "必要な最短の時間を書きます。作業ごとの上限は、上に書いてあります。") { MaxLength = 3 },
        new("from", "開始日", FieldType.Day, false, "空欄は、承認されしだい"), new("at", "開始時刻", FieldType.Text, false, "開始日を決めるとき。例: 13:30") { MaxLength = 5 },
        new("until", "繰り返す最後の日", FieldType.Day, false, "決まった時間帯ごとに1回ずつ、この日まで繰り返すとき。年度末(3月31日)まで。空欄は1回だけ"),
        new("ticket", "整理番号", FieldType.Text, false, "障害票・変更票などの番号") { MaxLength = 60 },
        new("instructedBy", "指示した管理者", FieldType.Person, false, "「管理者の指示が必要」な作業と、委託先の方の作業では必須です。申請者以外の住基ネット管理者など"),
        new("plan", "作業の手順", FieldType.Lines) { MaxLength = 2000 },
    ];

    private string Words(Work work) => $"{policy.Now.Targets[work.Target].Name} — {work.Name}(最長{work.Longest.TotalMinutes:0}分、承認{work.Approvals}人{(work.TwoPerson ? "、二人作業" : "")}{(work.Instruction ? "、管理者の指示が必要" : "")}{(work.Hours.Length > 0 ? $"、{work.HoursInWords}" : "")}{(work.Recurring ? "、繰り返し可" : "")})";

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (await policy.RulesNowAsync(work, fields["work"], time.GetUtcNow(), ct) is not { } rules) return "この作業は、方針にありません。";
        var may = await permissions.OfAsync(work, by, ct);
        if (may.Person is null || !may.Person.Roles.Any(rules.Requesters.Contains)) return $"「{rules.Name}」は、あなたの役割では申請できません(方針 work.{fields["work"]}.requesters)。";
        if (may.Person.IsContractor && !PrivilegedPolicy.HasAgent(policy.Now.KindOf(rules.Target))) return "委託先の方の作業は二人で行うため、ファイルの作業は申請できません。";
        if (Length(fields) is not { } length) return "作業の長さは、1以上の分数で書いてください。";
        if (length > rules.Longest) return $"「{rules.Name}」は最長 {rules.Longest.TotalMinutes:0} 分です(方針 work.{fields["work"]}.longest)。";
        if (fields["at"].Length > 0 && fields["from"].Length == 0) return "開始時刻を決めるときは、開始日も選んでください。";
        if (fields["from"].Length > 0 && fields["at"].Length == 0 && fields["until"].Length == 0) return "開始日を決めるときは、開始時刻も書いてください。";
        var start = Start(fields);
        if (Contract.Problem(policy.Now, may.Person, fields["work"], null, start ?? time.GetUtcNow(), (start ?? time.GetUtcNow()) + length) is { } outside) return outside.Sentence;
        if (fields["from"].Length > 0 && start is null) return "開始時刻は、13:30 のように書いてください。";
        if (start < time.GetUtcNow() && fields["until"].Length == 0) return "開始は、いまより後にしてください。";
        if (start > time.GetUtcNow() + policy.Now.RequestValid) return $"開始は、いまから {policy.Now.RequestValid.TotalDays:0} 日以内にしてください(方針 request-valid)。";
        // Without an agreed start it is judged when it begins.
        if (start is { } agreed && rules.IsOutsideHours(agreed, length)) return $"「{rules.Name}」を行えるのは {rules.HoursInWords} です(方針 work.{fields["work"]}.hours)。";
        if (fields["until"].Length > 0 && RecurrenceProblem(rules, fields) is { } recurrence) return recurrence;
        return rules.Instruction || may.Person.IsContractor ? await InstructionProblemAsync(work, fields["instructedBy"], by, ct) : null;
    }

    /// <clause>INA 第26, MOJ 第5-7(2)</clause>
    private async Task<string?> InstructionProblemAsync(UnitOfWork work, string instructed, PersonId by, CancellationToken ct) =>
        instructed.Length == 0 ? "この作業には、住基ネット管理者の指示が必要です。指示した管理者を選んでください。"
        : instructed == by.Value ? "ご自身を、指示した管理者にすることはできません。"
        : (await permissions.OfAsync(work, PersonId.Parse(instructed), ct)).Person is { } manager && manager.Roles.Any(r => r is "administrator" or "system-manager" or "security-chief") ? null : "指示した管理者には、住基ネット管理者(または情報システム管理者・統括情報セキュリティ責任者)を選んでください。";

    private string? RecurrenceProblem(Work rules, IReadOnlyDictionary<string, string> fields)
    {
        if (!rules.Recurring) return $"「{rules.Name}」は、繰り返しの許可を申請できません(方針 work.{fields["work"]}.recurring)。";
        if (fields["at"].Length > 0) return "繰り返すときは、開始時刻を決められません。決まった時間帯ごとに始めます。";
        var today = JapaneseTime.DayOf(time.GetUtcNow());
        var last = new DateOnly(today.Month < 4 ? today.Year : today.Year + 1, 3, 31);
        return Until(fields) is { } until && until >= today && until <= last ? null : $"繰り返しは、今日から年度末({JapaneseTime.Day(JapaneseTime.StartOf(last))})までです。";
    }

    /// <summary>The last day of recurring work; null: it is done once.</summary>
    internal static DateOnly? Until(IReadOnlyDictionary<string, string> fields) => DateOnly.TryParseExact(fields.GetValueOrDefault("until"), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null;

    public override DateTimeOffset? DueAt(IReadOnlyDictionary<string, string> fields) => Until(fields) is { } until ? JapaneseTime.EndOf(until) : null;

    /// <summary>The target stands in the request as well: what is approved is complete in itself.</summary>
    public override Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct)
    {
        var rules = policy.Now.Work[fields["work"]];
        (fields["target"], fields["rules"], fields["what"]) = (rules.Target, RulesOf(rules), $"{policy.Now.Targets[rules.Target].Name} — {rules.Name}{(rules.TwoPerson ? "(二人作業)" : "")}");
        return Task.CompletedTask;
    }

    public override IReadOnlyList<(string Name, string Label)> CompletedFields => [("rules", "許可されるもの(方針)")];

    /// <summary>What the policy allowed when it was asked for, in words that approvers read and sign: a policy that has changed since asks for a new approval.</summary>
    internal static string RulesOf(Work rules)
    {
        var lines = new List<string>();
        void Line(string name, string value) { if (value.Length > 0) lines.Add($"{name}: {value}"); }
        Line("管理者権限で使えるコマンド", string.Join("、", rules.Commands.Select(c => $"sudo {c}")));
        Line("データベース", rules.Database);
        Line("データベースの役割", string.Join("、", rules.DatabaseRoles) + (rules.ReadOnly ? "(読取りのみ)" : ""));
        Line("場所", rules.Path);
        Line("操作", string.Join("、", rules.Actions));
        Line("承認", $"{rules.Approvals}人({string.Join("、", rules.Approvers)})");
        Line("二人作業", rules.TwoPerson ? "はい" : "いいえ");
        Line("時間帯", rules.HoursInWords.Length > 0 ? rules.HoursInWords + (rules.Recurring ? "、繰り返し可" : "") : "いつでも");
        return string.Join('\n', lines);
    }

    public override string? ClosedToApproval(Request request, DateTimeOffset at) => request.RequestedAt + policy.Now.RequestValid < at ? $"申請から {policy.Now.RequestValid.TotalDays:0} 日を過ぎました。申請し直してください。" : null;

    public override Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, MayDo may, CancellationToken ct) => MayApproveAsync(work, this, request, asked, policy.Now.Work.GetValueOrDefault(request["work"]), may, time.GetUtcNow(), ct);

    internal static async Task<bool> MayApproveAsync(UnitOfWork work, RequestKind kind, Request request, ApprovalStep asked, Work? rules, MayDo may, DateTimeOffset at, CancellationToken ct)
    {
        if (rules is null || !may.Allows(asked.Operation) || !may.Person!.Roles.Any(rules.Approvers.Contains)) return false;
        // In order, so that nobody is asked twice on one page.
        if (kind.StepsOf(request).FirstOrDefault(s => request.Decisions.All(d => d.Step != s.Name)) is { } next && next.Name != asked.Name && request.State == "open") return false;
        return !await IsDelegateAsync(work, may.Person.Id, request.RequestedBy, at, ct);
    }

    /// <summary>Somebody who acts for the requester, by the requester's own nomination, decides nothing of theirs. <clause>MIC 1(1)⑤, 1(8)①</clause></summary>
    private static async Task<bool> IsDelegateAsync(UnitOfWork work, PersonId approver, PersonId requester, DateTimeOffset at, CancellationToken ct) =>
        (await work.AskAsync(RequestDesk.About(approver.Value, null, null), ct)).Exists(r => r.Kind == "staff.deputy" && r.State == "done" && r.RequestedBy == requester && r.Subject == approver
            && DateOnly.TryParseExact(r["until"], "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var until) && JapaneseTime.EndOf(until) > at);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);

    public override DateTimeOffset? ExecuteBy(Request request) => StartBy(policy.Now, request);

    /// <summary>
    /// Three clocks: how long approvals are waited for, by when it must begin, how long it lasts from there. The second one runs from when it could begin: the
    /// last approval, the agreed start, or the next opening of its hours, whichever is latest. Null: nobody has approved yet.
    /// </summary>
    internal static DateTimeOffset? StartBy(PrivilegedPolicy policy, Request request)
    {
        if (Until(request.Fields) is { } until) return JapaneseTime.EndOf(until);
        if (request.Decisions.Where(d => d.Step.StartsWith("approve-", StringComparison.Ordinal)).Select(d => (DateTimeOffset?)d.At).Max() is not { } from) return null;
        if (Start(request.Fields) is { } agreed && agreed > from) from = agreed;
        if (policy.Work.GetValueOrDefault(request["work"]) is { } rules && Length(request.Fields) is { } length && rules.IsOutsideHours(from, length) && rules.Windows.Select(w => w.NextOpening(from, length)).Min() is { } opening) from = opening;
        return from + policy.StartWithin;
    }

    /// <summary>1 minute or more; null: nothing of the kind.</summary>
    internal static TimeSpan? Length(IReadOnlyDictionary<string, string> fields) => int.TryParse(fields.GetValueOrDefault("minutes"), NumberStyles.None, CultureInfo.InvariantCulture, out var minutes) && minutes is >= 1 and <= 720 ? TimeSpan.FromMinutes(minutes) : null;

    /// <summary>The agreed start; null: as soon as it is approved, or nothing that can be read.</summary>
    internal static DateTimeOffset? Start(IReadOnlyDictionary<string, string> fields) =>
        DateOnly.TryParseExact(fields.GetValueOrDefault("from"), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)
        && TimeOnly.TryParseExact(fields.GetValueOrDefault("at") is { Length: > 0 } at ? at : "00:00", "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out var clock) ? JapaneseTime.StartOf(day) + clock.ToTimeSpan() : null;
}

/// <summary>More time for a session that runs: approved like the session, and never beyond what the policy allows from its start. <clause>MIC 6.2(6)</clause></summary>
internal sealed class ExtendKind(Store store, Active<PrivilegedPolicy> policy, Permissions permissions, FilePermissions.TemporaryGrants files, Signers signers, Wakeups wakeups, TimeProvider time) : RequestKind
{
    public override string Name => "privileged.extend";
    public override string Title => "特権作業の延長";
    public override string Explanation => "実施中の特権作業の終了時刻を延ばします。承認する人は、カードかパスキーで署名します。開始からの長さは、作業ごとの上限を超えられません。";
    public override bool IsExecuted => false;
    public override bool NeedsConfirmation => true;
    public override bool NeedsSignature => true;
    public override bool IsExceptionable => false;
    public override IReadOnlyList<ApprovalStep> Steps => [.. Enumerable.Range(1, SessionKind.MostApprovals).Select(n => new ApprovalStep($"approve-{n}", $"承認者 {n}", "privileged.approve-extend"))];
    /// <summary>As many as the work itself.</summary>
    public override IReadOnlyList<ApprovalStep> StepsOf(Request request) => [.. Steps.Take(policy.Now.Work.GetValueOrDefault(request["work"])?.Approvals ?? SessionKind.MostApprovals)];
    public override IReadOnlyList<RequestField> Fields => [new("session", "特権作業の番号", Hint: "特権作業の画面から申請すると入ります。") { MaxLength = 40 }, new("minutes", "延長する長さ(分)") { MaxLength = 3 }];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        var (session, problem) = await JudgeAsync(work, fields, ct);
        return session is not null && session.Person != by ? "ほかの人の特権作業は延長できません。" : problem;
    }

    /// <summary>The session, if it runs, and why it cannot be extended like that; no problem: it can.</summary>
    private async Task<(PrivilegedSession? Session, string? Problem)> JudgeAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, CancellationToken ct)
    {
        if (await work.AskAsync(PrivilegedStore.Lock(fields["session"]), ct) is not { State: "open", IsEmergency: false } session || session.Left <= TimeSpan.Zero) return (null, "この特権作業は、実施中ではありません。");
        if (policy.Now.Work.GetValueOrDefault(session.Work)?.TwoPerson == true && session.Second is null) return (session, "二人作業の例外で始めた作業は延長できません。");
        if (SessionKind.Length(fields) is not { } length) return (session, "延長する長さは、1以上の分数で書いてください。");
        if ((await permissions.OfAsync(work, session.Person, ct)).Person is not { } worker) return (session, "作業している人は、いまは有効な職員ではありません。");
        if (Contract.Problem(policy.Now, worker, session.Work, session.Terminal, session.StartedAt, session.EndsAt + length) is { } outside) return (session, outside.Sentence);
        return (session, await policy.RulesNowAsync(work, session.Work, time.GetUtcNow(), ct) is { } rules && session.EndsAt + length - session.StartedAt <= rules.Longest ? rules.IsOutsideHours(session.StartedAt, session.EndsAt + length - session.StartedAt) ? $"「{rules.Name}」を行えるのは {rules.HoursInWords} です(方針 work.{session.Work}.hours)。" : null : $"開始からの長さは、最長 {policy.Now.Work.GetValueOrDefault(session.Work)?.Longest.TotalMinutes:0} 分です(方針 work.{session.Work}.longest)。");
    }

    /// <summary>Nobody is called for work that is over.</summary>
    public override async Task<bool> IsWantedAsync(UnitOfWork work, Request request, CancellationToken ct) => await work.AskAsync(PrivilegedStore.Find(request["session"]), ct) is { State: "open" } session && session.Left > TimeSpan.Zero;

    /// <summary>The same people as for the work, by the same rules.</summary>
    public override async Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, MayDo may, CancellationToken ct) =>
        await work.AskAsync(PrivilegedStore.Find(request["session"]), ct) is { } session && session.Work == request["work"] && may.Person?.Id != session.Person && await SessionKind.MayApproveAsync(work, this, request, asked, policy.Now.Work.GetValueOrDefault(session.Work), may, time.GetUtcNow(), ct);

    public override async Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => fields["work"] = (await work.AskAsync(PrivilegedStore.Find(fields["session"]), ct))?.Work ?? "";

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var (session, problem) = await JudgeAsync(work, request.Fields, ct);
        if (session is null || problem is not null) return problem;
        // The last yes is what makes it happen and was just signed; those before it must have been to the same.
        var (signed, asked) = (await work.AskAsync(ApprovalSignatures.Of(request.Id), ct), ConfirmedOperation.Of(this, request).Text);
        if (!request.Decisions.All(d => signed.Exists(s => s.Step == d.Step && s.Holds() && s.Document == asked)) || !await signers.AreTheirsAsync(work, request, ct))
        {
            // By itself: what the caller does is taken back.
            await store.RecordAsync(TargetReports.Event(session, "privileged.extend", HistoryOutcome.Refused, "privileged.approvals-do-not-hold") with { Person = by, Details = TargetReports.Details(session, ("extension", $"{request.Id}")) }, time.GetUtcNow(), ct);
            return "承認の署名が、申請の内容と合いません。申請し直してください。";
        }
        var until = session.EndsAt + SessionKind.Length(request.Fields)!.Value;
        // Who approved it does not review the work either.
        await work.ExecuteAsync($"update privileged.sessions set ends_at = {until}, approvers = approvers || {request.Approvers.Append(by.Value).Except(session.Approvers).ToArray()} where id = {session.Id} and state = 'open'", ct);
        if (session.Kind == "files") await files.ExtendAsync(work, session.Id, until, ct);
        work.Record(TargetReports.Event(session, "privileged.extend", HistoryOutcome.Done) with { Person = by, Details = TargetReports.Details(session, ("until", JapaneseTime.Precise(until)), ("extension", $"{request.Id}")) }, time.GetUtcNow());
        work.AfterCommit(() => wakeups.Wake(SessionDirector.Topic));
        return null;
    }
}
