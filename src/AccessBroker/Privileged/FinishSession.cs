using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>After the end: what was done, in words, by who did it; and what somebody independent finds. <clause>MIC 6.1(4)①, 7.1注2, 7.4(2)</clause></summary>
internal sealed class FinishSession(Store store, Permissions permissions, PrivilegedNotices notices, TimeProvider time)
{
    /// <summary>Null: done; else why not, in Japanese.</summary>
    internal async Task<string?> ReportAsync(string id, PersonId by, string? text, CancellationToken ct)
    {
        if (text?.Trim() is not { Length: >= 10 and <= 4000 } result || !FreeText.Fits(result, lines: true)) return "結果は10〜4000文字で書いてください。";
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { State: "ended", Result: null } session || session.Person != by) return "結果を書けるのは、終わった作業の本人だけです。書いた後は変えられません。";
        await work.ExecuteAsync($"update privileged.sessions set result = {result}, result_at = {time.GetUtcNow()} where id = {id}", ct);
        work.Record(TargetReports.Event(session, "privileged.report-result", HistoryOutcome.Done) with { Details = TargetReports.Details(session, ("result", result.Length > 200 ? result[..200] + "…" : result)) }, time.GetUtcNow());
        await notices.TellAsync(work, ReviewOperation(session), session.IsEmergency ? "緊急の特権作業の報告" : "特権作業の確認", $"{session.Id}: {session.Reason}", $"/privileged/{id}", ct, except: [session.Person.Value, .. session.Approvers, .. session.Second?.Witnesses ?? []]);
        await work.CommitAsync(ct);
        return null;
    }

    /// <summary>An emergency is looked at by those above: the CISO and the deputies.</summary>
    internal static string ReviewOperation(PrivilegedSession session) => session.IsEmergency ? "privileged.review-emergency" : "privileged.review";

    /// <summary>Null: done; else why not, in Japanese.</summary>
    internal async Task<string?> ReviewAsync(string id, LiveSession by, string? text, bool? concern, CancellationToken ct)
    {
        if (concern is null) return "問題の有無を選んでください。";
        if (text?.Trim() is not { Length: >= 2 and <= 2000 } finding || !FreeText.Fits(finding, lines: true)) return "確認した内容を2〜2000文字で書いてください。";
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { State: "ended", ReviewedAt: null } session) return "この作業は終わっていないか、すでに確認されています。";
        var may = await permissions.OfAsync(work, by.Person, ct);
        if (!MayReview(session, may))
        {
            work.Record(TargetReports.Event(session, by, "privileged.review", HistoryOutcome.Refused, "approvals.actor-reviews"), time.GetUtcNow());
            await work.CommitAsync(ct);
            return "作業した人、承認した人、立ち会った人、閉じた人、委託先の人は、確認できません。";
        }
        if (session.Result is null) return "作業した人の結果の記入を待っています。";
        if (await work.AskAsync(Question.Any($"select from privileged.chunks where session = {id}"), ct) && !await work.AskAsync(HasLooked(id, by.Person), ct)) return "先に記録を見てください。";
        await work.ExecuteAsync($"update privileged.sessions set concern = {concern.Value}, reviewed_by = {by.Person}, reviewed_at = {time.GetUtcNow()}, finding = {finding} where id = {id}", ct);
        work.Record(TargetReports.Event(session, by, ReviewOperation(session), HistoryOutcome.Done) with { Details = TargetReports.Details(session, ("concern", concern.Value ? "yes" : "no"), ("finding", finding.Length > 200 ? finding[..200] + "…" : finding)) }, time.GetUtcNow());
        if (concern.Value) await notices.TellAsync(work, "privileged.review-emergency", "特権作業の確認で、問題が見つかりました", $"{session.Id}: {finding}", $"/privileged/{id}", ct);
        await work.CommitAsync(ct);
        return null;
    }

    /// <summary>
    /// The word that no agent will give any more: its machine is gone. Somebody else than who worked in it says how they made sure that nothing of it runs.
    /// Null: done; else why not, in Japanese. <clause>MIC 6.2(6)</clause>
    /// </summary>
    internal async Task<string?> CloseAsync(string id, LiveSession by, string? text, CancellationToken ct)
    {
        if (text?.Trim() is not { Length: >= 10 and <= 400 } note || !FreeText.Fits(note)) return "何も動いていないことをどう確かめたかを、10〜400文字で書いてください。";
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { IsRunning: true } session) return "この作業は、すでに終わっています。";
        if (!MayClose(session, await permissions.OfAsync(work, by.Person, ct))) return "";
        if (await work.AskAsync(PrivilegedStore.IsAttached(session.Target), ct)) return "対象のエージェントがつながっています。エージェントが終わりを知らせるまで待ってください。";
        var reason = session.EndReason ?? "privileged.closed-by-hand";
        await work.ExecuteAsync($"update privileged.sessions set state = 'ended', end_reason = {reason}, asked_at = coalesce(asked_at, clock_timestamp()), ended_at = clock_timestamp(), left_over = null, closed_by = {by.Person}, closed_note = {note} where id = {id}", ct);
        work.Record(TargetReports.Event(session, by, "privileged.close", HistoryOutcome.Ended, reason) with { Details = TargetReports.Details(session, ("worker", session.Person.Value), ("note", note)) }, time.GetUtcNow());
        if (session.Place is not null) work.Notify([session.Person], "特権作業が終わりました。結果を書いてください", PrivilegedWords.Reason(reason), $"/privileged/{id}", time.GetUtcNow());
        await notices.TellAsync(work, ReviewOperation(session), "終わりの知らせがない特権作業を、人が閉じました", $"{id} {session.Target}", $"/privileged/{id}", ct, except: [session.Person.Value, by.Person.Value]);
        await work.CommitAsync(ct);
        return null;
    }

    /// <summary>Nobody who worked in it, approved it or watched. Ours: a target that has not said for 5 minutes after the limit that it is over will not say it.</summary>
    internal static bool MayClose(PrivilegedSession session, MayDo may) => session is { IsRunning: true, HasAgent: true } && session.Left < TimeSpan.FromMinutes(-5) && may.Allows("privileged.end-any") && may.Person is { IsContractor: false } person
        && person.Id != session.Person && !session.Approvers.Contains(person.Id.Value) && session.Second?.Witnesses.Contains(person.Id.Value) != true;

    /// <summary>The reviewer has opened the recording. <clause>MIC 7.1注2</clause></summary>
    private static Question<bool> HasLooked(string session, PersonId by) => Question.Any($"select from privileged.looks where session = {session} and person = {by} and at >= (select ended_at from privileged.sessions where id = {session})");

    internal static bool MayReview(PrivilegedSession session, MayDo may) => may.Person is { IsContractor: false } person && (session.IsEmergency ? may.Allows("privileged.review-emergency") : may.Allows("privileged.review")) && person.Id != session.Person && !session.Approvers.Contains(person.Id.Value) && session.Second?.Witnesses.Contains(person.Id.Value) != true && session.Closed?.By != person.Id.Value;
}

/// <summary>Results that are missing and records that nobody has looked at.</summary>
internal sealed class PrivilegedTasks(Policies.Active<PrivilegedPolicy> policy) : ITaskSource
{
    /// <summary>Ours: results and reviews within 3 days.</summary>
    private static readonly TimeSpan Soon = TimeSpan.FromDays(3);

    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        if (may.Person is not { } person || !(may.Allows("privileged.read") || may.Allows("privileged.review"))) return [];
        var tasks = new List<WaitingTask>();
        foreach (var session in await work.AskAsync(PrivilegedStore.Unfinished(), ct))
            if (session.Result is null && session.Person == person.Id) tasks.Add(new("特権作業の結果の記入", $"{session.Id} — {session.Reason}", $"/privileged/{session.Id}", session.EndedAt + (session.IsEmergency ? policy.Now.Emergency.ReportWithin : Soon)));
            else if (session.Result is not null && FinishSession.MayReview(session, may)) tasks.Add(new(session.IsEmergency ? "緊急の特権作業の確認" : "特権作業の確認", $"{session.Id} — {session.Reason}", $"/privileged/{session.Id}", session.EndedAt + Soon));
        return tasks;
    }
}
