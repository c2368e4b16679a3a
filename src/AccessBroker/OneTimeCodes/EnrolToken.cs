using System.Security.Cryptography;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.TimeSource;
using AccessBroker.Web;

namespace AccessBroker.OneTimeCodes;

/// <summary>
/// A person who has just signed in enrols an app: the seed is shown once, and counts from the first code on that it makes. Nobody else sees it, and it is
/// never shown again. <clause>MIC 4.4注2, 5.4解(1)</clause>
/// </summary>
internal sealed class EnrolToken(Store store, SealedSeeds seeds, Active<OneTimeCodesPolicy> policy, Active<AssurancePolicy> assurance, ClockCheck clock, BrokerOptions options, TimeProvider time)
{
    private static readonly OneTimeToken Kind = new(6, HashAlgorithmName.SHA1, TimeSpan.FromSeconds(30), 0, 0);

    /// <summary>What an app needs, shown once.</summary>
    internal sealed record Shown(string Uri, string Base32);

    /// <summary>Do one-time codes count in this segment.</summary>
    internal bool IsOffered => assurance.Now.Segments[options.Segment].Methods.Contains(Method.OneTimeCode);

    /// <summary>Why this person may not enrol now, in Japanese; null: they may. <clause>MIC 6.2(1)注1</clause></summary>
    internal string? Problem(LiveSession session, ValidPerson? person, Card? card) =>
        SelfService.Problem(session, person, IsOffered ? null : NotHere, policy.Now.EnrolAfterSignIn, strong: true, time.GetUtcNow()) is { } problem ? problem
        : card is not { TemporaryUntil: null } ? "当日限りのカードでは、登録できません。"
        : !clock.IsExact ? "サーバーの時計がずれているため、いまは登録できません。" : null;

    internal const string NotHere = "この区分では、ワンタイムパスワードは使えません。";

    internal async Task<Shown> BeginAsync(LiveSession session, ValidPerson person, CancellationToken ct)
    {
        var (id, seed) = (Secret.New(16), RandomNumberGenerator.GetBytes(20));
        try
        {
            var sealed_ = await seeds.SealAsync(id, seed, ct);
            await using var work = await store.BeginAsync(ct);
            TokenRegister.Show(work, id, session.Person, sealed_, Kind, policy.Now.Enrolment, time.GetUtcNow());
            work.Record(Event(session, "one-time-codes.begin-enrol", HistoryOutcome.Done, ""), time.GetUtcNow());
            await work.CommitAsync(ct);
            var text = Base32.Encode(seed);
            return new($"otpauth://totp/{Uri.EscapeDataString("AccessBroker:" + person.Name)}?secret={text}&issuer=AccessBroker&algorithm=SHA1&digits=6&period=30", text);
        }
        finally { CryptographicOperations.ZeroMemory(seed); }
    }

    /// <summary>Why it was not enrolled, in Japanese; null: it is. A wrong code may be tried again while the seed waits.</summary>
    internal async Task<string?> ConfirmAsync(LiveSession session, string code, string? name, CancellationToken ct)
    {
        if (await store.AskAsync(TokenRegister.Pending(session.Person), ct) is not { } pending) return await RefuseAsync(session, "one-time-codes.enrolment-over", "時間切れです。もう一度、登録を始めてください。", ct);
        var seed = await seeds.OpenAsync(pending.Id, pending.Sealed, ct);
        (long Step, int Drift)? found;
        try { found = OneTimeCodeRule.Accept(seed, pending.Token, code, time.GetUtcNow(), policy.Now.Window, policy.Now.MostDrift); }
        finally { CryptographicOperations.ZeroMemory(seed); }
        if (found is not { } first) return await RefuseAsync(session, "one-time-codes.wrong-code", "番号が合いません。アプリに出ている 6 桁を、変わる前に入力してください。", ct);
        await using var work = await store.BeginAsync(ct);
        // One at a time per person: the limit is a limit.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended({session.Person}, 6))", ct);
        if (await IsFullAsync(work, session.Person, ct)) return await RefuseAsync(session, "one-time-codes.too-many", $"登録できるのは一人 {policy.Now.MostPerPerson} 個までです。", ct);
        var card = CardId.Parse(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        var called = name?.Trim() is { Length: > 0 and <= 100 } given && FreeText.Fits(given) ? given : "認証アプリ";
        if (!await TokenRegister.AssignAsync(work, pending.Id, card, session.Person, called, first.Step, first.Drift, ct)) return await RefuseAsync(session, "one-time-codes.enrolment-over", "時間切れです。もう一度、登録を始めてください。", ct);
        await CardRegister.AddMediumAsync(work, card, session.Person, "otp-token", "", "登録(本人)", session.Person, time.GetUtcNow(), ct);
        work.Notify([session.Person], "ワンタイムパスワードを登録しました", $"「{called}」を登録しました。心当たりがないときは、「自分のカード」で紛失を届け出て、情報セキュリティ管理者へ連絡してください。", "/one-time-codes", time.GetUtcNow());
        work.Record(Event(session, "one-time-codes.enrol", HistoryOutcome.Done, "") with { Card = card }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return null;
    }

    /// <summary>Has the person as many living tokens as may be.</summary>
    internal async Task<bool> IsFullAsync(UnitOfWork work, PersonId person, CancellationToken ct) =>
        (await work.AskAsync(CardRegister.MediaOfPerson(person), ct)).Count(m => m.Kind == "otp-token" && m.State is "handed-over" or "suspended") >= policy.Now.MostPerPerson;

    private async Task<string> RefuseAsync(LiveSession session, string code, string sentence, CancellationToken ct)
    {
        await store.RecordAsync(Event(session, "one-time-codes.enrol", HistoryOutcome.Refused, code), time.GetUtcNow(), ct);
        return sentence;
    }

    private static HistoryEvent Event(LiveSession session, string operation, HistoryOutcome outcome, string reason) => new(operation, outcome, reason) { Person = session.Person, Terminal = session.Terminal, Session = session.Id };
}
