using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;

namespace AccessBroker.Approvals;

/// <summary>
/// Judges the rules of separation on persons, and keeps the way out for small municipalities: a reason, an expiry, and a review by somebody
/// independent, in a queue that everybody responsible sees. <clause>MIC 1(8)①②</clause>
/// </summary>
public sealed class Separation(Active<ApprovalsPolicy> policy, TimeProvider time)
{
    /// <summary>What came of the question.</summary>
    public abstract record Verdict
    {
        private Verdict() { }
        /// <summary>No rule forbids it, or it was set aside: then with the exception's number.</summary>
        public sealed record Allowed(long? Exception) : Verdict;
        /// <summary>Forbidden. <paramref name="Rules"/> say why; with <paramref name="MayBeUnavoidable"/> a reason of 10 characters opens it.</summary>
        public sealed record Forbidden(IReadOnlyList<string> Rules, bool MayBeUnavoidable) : Verdict;
    }

    /// <summary>Judges, and with a reason sets aside what may be set aside, in the caller's unit of work.</summary>
    /// <param name="about">What it is about, for the reviewer.</param>
    /// <param name="unavoidable">Why it cannot be helped; null or empty: no exception is wanted.</param>
    public async Task<Verdict> JudgeAsync(UnitOfWork work, Act act, MayDo actor, Involved involved, long? request, string about, string? unavoidable, CancellationToken ct)
    {
        var person = actor.Person ?? throw new InvalidOperationException("nobody acts");
        var rules = SeparationRule.Violations(act, person.Id.Value, person.IsContractor, involved);
        if (rules.Count == 0) return new Verdict.Allowed(null);
        var now = time.GetUtcNow();
        var open = rules.All(r => policy.Now.Separation[r].Unavoidable) && !await work.AskAsync(RequestStore.HasOverdueReview(person.Id, now), ct);
        if (!open || unavoidable?.Trim() is not { Length: >= 10 and <= 1000 } reason) return new Verdict.Forbidden(rules, open);
        var (expires, review) = (rules.Min(r => policy.Now.Separation[r].ExpiresAfter), rules.Min(r => policy.Now.Separation[r].ReviewWithin));
        string[] everyone = [.. new[] { person.Id.Value, involved.Requester, involved.Subject }.Concat(involved.Approvers).OfType<string>().Distinct()];
        var id = await RequestStore.ExceptAsync(work, string.Join(' ', rules), act, person.Id, request, about, reason, now, now + expires, now + review, everyone, ct);
        work.Record(new("approvals.set-aside", HistoryOutcome.Done) { Person = person.Id, Details = new Dictionary<string, string> { ["rules"] = string.Join(' ', rules), ["exception"] = $"{id}", ["request"] = $"{request}", ["why"] = reason } }, now);
        return new Verdict.Allowed(id);
    }

    /// <summary>The Japanese sentence of a rule.</summary>
    public static string Sentence(string rule) => rule switch
    {
        "contractor-decides" => "委託先の方は、承認・実施・確認・解除ができません。",
        "requester-approves" => "ご自身の申請は、ご自身では承認できません。",
        "approves-twice" => "すでに別の立場で承認しています。一人が二つの立場で承認することはできません。",
        "subject-approves" => "ご自身に関する申請は、ご自身では承認できません。",
        "requester-executes" => "ご自身の申請は、ご自身では実施できません。",
        "subject-executes" => "ご自身のカードや権限に関することは、ご自身では実施できません。",
        "second-person-executes" => "立ち会った方は、実施者を兼ねられません。",
        "actor-reviews" => "関わった方は、その確認ができません。",
        "locked-unlocks" => "ご自身の失敗によるロックは、ご自身では解除できません。",
        _ => throw new ArgumentOutOfRangeException(nameof(rule), rule, "no rule"),
    };
}
