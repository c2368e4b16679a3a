using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Staff;

/// <summary>
/// The rights of a person rest at once, what lives of theirs ends with the same commit, and CISO and the person's 情報セキュリティ管理者 are told; they come
/// back by a request that CISO grants. <clause>MIC 7.6(2)③</clause>
/// </summary>
internal sealed class SuspendPerson(HistorySpool history, LiveSessions sessions, TimeProvider time)
{
    /// <summary>False: nobody is to be suspended.</summary>
    internal async Task<bool> RunAsync(PersonId person, PersonId by, string reason)
    {
        var done = await history.NarrowAsync(async work =>
        {
            var now = time.GetUtcNow();
            if (await work.AskAsync(PeopleRegister.Find(person, now), CancellationToken.None) is not { Standing: "valid" or "future" } line) return [];
            PeopleChanges.Suspend(work, person, by, reason, now);
            var (chiefs, managers) = (PeopleRegister.Holders(["ciso"], now), PeopleRegister.HoldersInSectionOf(person, ["security-manager"], now));
            await work.AskAsync(CancellationToken.None, chiefs, managers);
            work.Notify(chiefs.Answer.Select(c => c.Id).Concat(managers.Answer), $"権限を停止しました: {line.Name}", reason, $"/people/{person}", now);
            work.Enter("user-ids", person.Value, "権限停止", by.Value, new Dictionary<string, string> { ["name"] = line.Name, ["staffNumber"] = line.StaffNumber ?? "", ["post"] = string.Join('、', line.Posts), ["employment"] = line.Employment, ["reason"] = reason }, now);
            var ended = await sessions.EndWithinAsync(work, SessionFilter.OfPerson(person), "sessions.person-suspended");
            return [new(new("staff.suspend", HistoryOutcome.Ended, "staff.suspended") { Person = by, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["why"] = reason, ["told"] = string.Join(' ', chiefs.Answer.Select(c => c.Id.Value).Concat(managers.Answer.Select(m => m.Value))) } }, now), .. ended];
        });
        return done.Count > 0;
    }
}

/// <summary>A suspended person works again: CISO says so. <clause>MIC 7.6(2)</clause></summary>
internal sealed class ResumePersonKind(TimeProvider time) : RequestKind
{
    public override string Name => "staff.resume";
    public override string Title => "権限停止の解除";
    public override string Explanation => "停止した権限を元に戻します。CISO(最高情報セキュリティ責任者)が認めると、直ちに有効になります。";
    public override bool IsExecuted => false;
    public override bool NeedsConfirmation => true;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("CISO")];
    public override IReadOnlyList<RequestField> Fields => [new("person", "権限を戻す人", FieldType.Person)];

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        PeopleChanges.Resume(work, request.Subject!.Value, by, time.GetUtcNow());
        var line = (await work.AskAsync(PeopleRegister.Find(PersonId.Parse(request["person"]), time.GetUtcNow()), ct))!;
        work.Enter("user-ids", request["person"], "停止の解除", by.Value, new Dictionary<string, string> { ["name"] = line.Name, ["staffNumber"] = line.StaffNumber ?? "", ["post"] = string.Join('、', line.Posts), ["employment"] = line.Employment, ["reason"] = request.Reason }, time.GetUtcNow());
        return null;
    }
}

/// <summary>
/// Somebody acts for an absent holder of a role, from a day to a day: nominated, then approved by CISO, who tells four roles; the notices are written by
/// the same commit, or nothing is. <clause>MIC 6.2(1)③(イ)(ウ)</clause>
/// </summary>
internal sealed class DeputyKind(TimeProvider time) : RequestKind
{
    internal static readonly string[] Told = ["security-chief", "security-head", "security-manager", "system-manager"];

    public override string Name => "staff.deputy";
    public override string Title => "代行者の指名";
    public override string Explanation => "不在の間、別の職員が役割を代行します。CISO が承認すると、統括情報セキュリティ責任者・情報セキュリティ責任者・情報セキュリティ管理者・情報システム管理者に通知され、開始日から最終日まで有効になります。委託先の人は代行できません。";
    public override bool IsExecuted => false;
    public override bool NeedsConfirmation => true;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("CISO")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        new("person", "代行する人", FieldType.Person),
        new("role", "代行する役割", FieldType.Choice) { Choices = [("pin-manager", "暗証番号管理者"), ("administrator", "住基ネット管理者"), ("juki-operations-manager", "住基ネット運用管理者"), ("system-manager", "情報システム管理者"), ("security-manager", "情報セキュリティ管理者"), ("security-chief", "統括情報セキュリティ責任者"), ("responsible-person", "端末の管理責任者")] },
        new("from", "開始日", FieldType.Day), new("until", "最終日", FieldType.Day),
    ];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (string.CompareOrdinal(fields["from"], fields["until"]) > 0 || JapaneseTime.EndOf(Day(fields["until"])) <= time.GetUtcNow()) return "最終日は、開始日と今日より前にはできません。";
        return await work.AskAsync(PeopleRegister.Find(PersonId.Parse(fields["person"]), time.GetUtcNow()), ct) switch
        {
            { Employment: "contractor" } => "委託先の人は代行できません(MIC 6.2(1)③(エ))。",
            { Standing: "valid" } => null,
            _ => "代行する人は在籍している人から選んでください。",
        };
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var (now, person, role) = (time.GetUtcNow(), request.Subject!.Value, Fields[1].Choices.First(c => c.Value == request["role"]).Label);
        var (from, until) = (JapaneseTime.StartOf(Day(request["from"])), JapaneseTime.EndOf(Day(request["until"])));
        PeopleChanges.Hold(work, person, new($"{role}代行", "", request["role"]), from > now ? from : now, until);
        var names = await work.AskAsync(PeopleRegister.Names([person.Value], now), ct);
        foreach (var told in Told)
        {
            var holders = await work.AskAsync(PeopleRegister.Holders([told], now), ct);
            work.Notify(holders.Select(h => h.Id), $"代行者が承認されました: {role}", $"{names.GetValueOrDefault(person.Value)} — {request["from"]} から {request["until"]} まで。{request.Reason}", $"/requests/{request.Id}", now);
            work.Record(new("staff.tell-deputy", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["role"] = told, ["holders"] = string.Join(' ', holders.Select(h => h.Id.Value)), ["deputy"] = person.Value } }, now);
        }
        work.Enter("privileged", $"{person}/{request["role"]}/{request["from"]}", "代行者", by.Value, new Dictionary<string, string> { ["person"] = person.Value, ["role"] = role, ["nominatedBy"] = request.RequestedBy.Value, ["approvedBy"] = by.Value, ["from"] = request["from"], ["until"] = request["until"], ["told"] = string.Join(' ', Told), ["reason"] = request.Reason }, now);
        return null;
    }

    private static DateOnly Day(string text) => DateOnly.ParseExact(text, "yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
}
