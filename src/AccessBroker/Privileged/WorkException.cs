using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>A rule that does not hold for one kind of work, until a day.</summary>
/// <param name="Rule">hours or two-person.</param>
public sealed record PermittedDeviation(long Request, string Work, string Rule, string Reason, string Measure, DateTimeOffset Until, string RequestedBy, string PermittedBy, DateTimeOffset PermittedAt, DateTimeOffset? EndedAt)
{
    internal bool Holds(DateTimeOffset at) => EndedAt is null && Until > at;
}

/// <summary>
/// 例外措置: a rule of the policy is set aside for one kind of work, with a reason and what is done instead, by the CISO's permission, for 90 days at most.
/// It ends by itself. <clause>MIC 7.4(1)(3)</clause>
/// </summary>
internal sealed class ExceptionKind(Active<PrivilegedPolicy> policy, TimeProvider time) : RequestKind
{
    private const int MostDays = 90;

    public override string Name => "privileged.exception";
    public override string Title => "特権作業の例外措置";
    public override string Explanation => "方針の定めを守れないやむを得ない理由があるとき、代わりに行うことと期限を決めて、CISO の許可を求めます。許可されると最終日まで例外になり、その後は自動的に元の定めに戻ります。最長90日です。";
    public override bool IsExecuted => false;
    public override bool NeedsConfirmation => true;
    public override bool IsExceptionable => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("CISO")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        new("work", "作業", FieldType.Choice) { Choices = [.. policy.Now.Work.Select(w => (w.Key, w.Value.Name))] },
        new("rule", "守れない定め", FieldType.Choice) { Choices = [("hours", "作業の時間帯"), ("two-person", "二人作業")] },
        new("measure", "代わりに行うこと", FieldType.Lines) { MaxLength = 1000 },
        new("until", "最終日", FieldType.Day),
    ];

    public override Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) => Task.FromResult(Problem(fields));

    private string? Problem(IReadOnlyDictionary<string, string> fields)
    {
        if (!policy.Now.Work.TryGetValue(fields["work"], out var rules)) return "この作業は、方針にありません。";
        if (fields["rule"] == "hours" ? rules.Hours.Length == 0 : !rules.TwoPerson) return "この作業には、その定めがありません。例外は要りません。";
        var today = JapaneseTime.DayOf(time.GetUtcNow());
        return SessionKind.Until(fields) is { } until && until >= today && until <= today.AddDays(MostDays) ? null : $"最終日は、今日から{MostDays}日以内にしてください。";
    }

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (Problem(request.Fields) is { } problem) return Task.FromResult<string?>(problem);
        var (until, now) = (JapaneseTime.EndOf(SessionKind.Until(request.Fields)!.Value), time.GetUtcNow());
        work.Write($"insert into privileged.exceptions (request, work, rule, reason, measure, until, requested_by, permitted_by, permitted_at) values ({request.Id}, {request["work"]}, {request["rule"]}, {request.Reason}, {request["measure"]}, {until}, {request.RequestedBy}, {by}, {now})");
        work.Enter("privileged", $"{request["work"]}/{request["rule"]}/{request.Id}", "例外措置", by.Value, new Dictionary<string, string> { ["work"] = request["work"], ["rule"] = request["rule"], ["reason"] = request.Reason, ["measure"] = request["measure"], ["until"] = request["until"], ["requestedBy"] = request.RequestedBy.Value, ["permittedBy"] = by.Value }, now);
        return Task.FromResult<string?>(null);
    }
}

/// <summary>The register of exceptions: what holds, and what has held.</summary>
internal static class WorkExceptions
{
    internal static Question<List<PermittedDeviation>> All() => Question.All($"select request, work, rule, reason, measure, until, requested_by, permitted_by, permitted_at, ended_at from privileged.exceptions order by permitted_at desc limit 200", r =>
        new PermittedDeviation(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetString(4), r.GetFieldValue<DateTimeOffset>(5), r.GetString(6), r.GetString(7), r.GetFieldValue<DateTimeOffset>(8), r.IsDBNull(9) ? null : r.GetFieldValue<DateTimeOffset>(9)));

    /// <summary>The rules of a kind of work as they hold now, exceptions included; null: there is no such work.</summary>
    internal static async Task<Work?> RulesNowAsync(this Active<PrivilegedPolicy> policy, UnitOfWork work, string kindOfWork, DateTimeOffset at, CancellationToken ct)
    {
        if (!policy.Now.Work.TryGetValue(kindOfWork, out var rules)) return null;
        foreach (var exception in await work.AskAsync(Question.All($"select rule from privileged.exceptions where work = {kindOfWork} and ended_at is null and until > {at}", r => r.GetString(0)), ct))
            rules = exception == "hours" ? rules with { Hours = "", Recurring = false } : rules with { TwoPerson = false };
        return rules;
    }

    /// <summary>False: it was over already.</summary>
    internal static async Task<bool> EndAsync(UnitOfWork work, long request, PersonId by, DateTimeOffset at, CancellationToken ct)
    {
        if (await work.ExecuteAsync($"update privileged.exceptions set ended_at = {at}, ended_by = {by} where request = {request} and ended_at is null and until > {at}", ct) == 0) return false;
        work.Record(new("privileged.end-exception", HistoryOutcome.Ended) { Person = by, Details = new Dictionary<string, string> { ["request"] = $"{request}" } }, at);
        await work.CommitAsync(ct);
        return true;
    }
}
