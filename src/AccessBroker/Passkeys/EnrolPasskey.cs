using System.Security.Cryptography;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Passkeys;

/// <summary>
/// A person who has just signed in with a card or a key enrols another key; or the PIN manager does it with them, for an approved request. In segments that want it the model must be attested, known to the metadata
/// and not revoked. The key enters the register of cards: loss, suspension and return go as for cards. <clause>MIC 5.4解(1)</clause>
/// </summary>
internal sealed class EnrolPasskey(Store store, Active<PasskeysPolicy> policy, Active<AssurancePolicy> assurance, BrokerOptions options, TimeProvider time)
{
    /// <summary>What came of it; <see cref="Code"/> is a reason code, empty when it was done.</summary>
    internal sealed record Outcome(string Code, string Sentence)
    {
        /// <summary>The model of the metadata, and whether its anchors vouch for this key; null: it is not listed.</summary>
        internal (MetadataModel Model, bool Vouched)? Judged { get; init; }
    }

    /// <summary>For whom a key is made, and at whose session: one's own, or, for a request, the PIN manager's while the holder is there with the key.</summary>
    internal sealed record Enrolment(PersonId Person, LiveSession At, Request? Request = null)
    {
        internal string Owner => Request is null ? At.Id.Value : $"{At.Id} {Request.Id}";
    }

    /// <summary>Do passkeys count in this segment.</summary>
    internal bool IsOffered => assurance.Now.Segments[options.Segment].Methods.Contains(Method.Passkey);

    /// <summary>Why this person may not enrol a key of their own, in Japanese; null: they may. <clause>MIC 6.2(1)注1</clause></summary>
    internal string? Problem(LiveSession session, ValidPerson? person) =>
        SelfService.Problem(session, person, IsOffered ? null : NotHere, policy.Now.EnrolAfterSignIn, strong: true, time.GetUtcNow());

    internal const string NotHere = "この区分では、パスキーは使えません。";

    /// <summary>The same, asked anew; the PIN manager's case has its own rules.</summary>
    private async Task<string?> ProblemAsync(UnitOfWork work, Enrolment enrolment, CancellationToken ct) =>
        enrolment.Request is not null ? null : Problem(enrolment.At, await work.AskAsync(PeopleRegister.FindValid(enrolment.Person, time.GetUtcNow()), ct));

    /// <summary>The options, or why there are none, in Japanese.</summary>
    internal async Task<(string Id, string Options, string? Problem)> BeginAsync(HttpContext context, Enrolment enrolment, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await ProblemAsync(work, enrolment, ct) is { } problem) return ("", "", problem);
        var person = enrolment.Person;
        var name = (await work.AskAsync(PeopleRegister.Names([person.Value], time.GetUtcNow()), ct)).GetValueOrDefault(person.Value, person.Value);
        var keys = await work.AskAsync(PasskeyRegister.OfPerson(person), ct);
        var user = new PasskeyUser(await PasskeyRegister.HandleAsync(work, person, ct), name, [.. keys.Select(Info)]);
        var (made, state) = await PasskeyCeremony.Of(options).BeginRegistrationAsync(user, context);
        var id = Secret.New(16);
        PasskeyRegister.Keep(work, id, "register", enrolment.Owner, state, policy.Now.Ceremony);
        await work.CommitAsync(ct);
        return (id, made, null);
    }

    /// <summary>Judges the key's answer and enters it, in the caller's unit of work; records what came of it. The caller commits in either case.</summary>
    internal async Task<Outcome> RegisterAsync(UnitOfWork work, HttpContext context, Enrolment enrolment, string? id, JsonElement credential, string? name, CancellationToken ct)
    {
        var (session, person) = (enrolment.At, enrolment.Person);
        var state = await PasskeyRegister.TakeAsync(work, id, "register", enrolment.Owner, ct);
        var answer = state is null || await ProblemAsync(work, enrolment, ct) is not null ? null : await PasskeyCeremony.Of(options).RegisterAsync(credential.GetRawText(), state, context);
        var outcome = state is null ? new("passkeys.ceremony-over", "時間切れか、すでに使われた操作です。もう一度始めてください。") : answer is null ? new("passkeys.ceremony-failed", "キーの応答を確かめられませんでした。本人確認(指紋・暗証番号など)のできるキーを使ってください。") : await JudgeAsync(work, enrolment, answer, ct);
        var now = time.GetUtcNow();
        var entry = new HistoryEvent("passkeys.enrol", HistoryOutcome.Refused, outcome.Code) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["aaguid"] = answer?.Attested.Aaguid.ToString("D") ?? "", ["attestation"] = answer?.Attested.Kind.ToString().ToLowerInvariant() ?? "" } };
        if (outcome.Code.Length == 0)
        {
            var card = CardId.Parse(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
            var trusted = outcome.Judged is { Vouched: true };
            var called = name?.Trim() is { Length: > 0 and <= 100 } given && FreeText.Fits(given) ? given : outcome.Judged?.Model.Description is { Length: > 0 and <= 100 } known ? known : "パスキー";
            await CardRegister.AddMediumAsync(work, card, person, "fido-key", answer!.Attested.Aaguid.ToString("D"), enrolment.Request is null ? "登録(本人)" : "登録(暗証番号管理者)", session.Person, now, ct);
            PasskeyRegister.Add(work, new(card, person, answer.CredentialId, answer.PublicKey, answer.SignCount, answer.Attested.Aaguid, answer.Attested.Kind.ToString().ToLowerInvariant(), trusted, answer.BackupEligible, answer.BackedUp, answer.Transports, called, now, null) { Chain = answer.Attested.Chain });
            work.Notify([person], "パスキーが登録されました", $"「{called}」が登録されました。心当たりがないときは、直ちに情報セキュリティ管理者へ連絡してください。", "/passkeys", now);
            // With the key's own hash: whoever judges a signature of it later finds whose it was.
            entry = entry with { Outcome = HistoryOutcome.Done, Card = card, Details = entry.Details.Append(new("key", Convert.ToHexStringLower(SHA256.HashData(CoseKey.Read(answer.PublicKey)!.SubjectPublicKeyInfo())))).ToDictionary() };
        }
        work.Record(entry, now);
        return outcome;
    }

    private async Task<Outcome> JudgeAsync(UnitOfWork work, Enrolment enrolment, RegisteredKey key, CancellationToken ct)
    {
        var person = enrolment.Person;
        if (enrolment.Request is null && await work.AskAsync(CardRegister.Find(enrolment.At.Card), ct) is { TemporaryUntil: not null }) return new("passkeys.temporary-card", "当日限りのカードでは、キーを登録できません。");
        await PasskeyRegister.LockModelsAsync(work, alone: false, ct);
        // One at a time per person: the limit is a limit.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended({person}, 5))", ct);
        var (own, known, model) = (PasskeyRegister.OfPerson(person), PasskeyRegister.FindByCredential(key.CredentialId), PasskeyRegister.FindModel(key.Attested.Aaguid));
        var media = CardRegister.MediaOfPerson(person);
        await work.AskAsync(ct, own, known, model, media);
        if (known.Answer is not null) return new("passkeys.enrolled-already", "このキーはすでに登録されています。");
        if (media.Answer.Count(m => m.State is "handed-over" or "suspended" && own.Answer.Exists(k => k.Card == m.Id)) >= policy.Now.MostPerPerson) return new("passkeys.too-many", $"登録できるキーは一人 {policy.Now.MostPerPerson} 個までです。");
        if (model.Answer is { Revoked: true }) return new("passkeys.model-revoked", "このキーの機種は、安全でないとして取り消されています。");
        if (!policy.Now.Allows(key.Attested.Aaguid)) return new("passkeys.model-refused", "このキーの機種は、この市では使えません。");
        var done = new Outcome("", "登録しました。") { Judged = model.Answer is { } listed ? (listed, key.Attested.Kind == AttestationKind.Certified && Attestation.IsTrusted(key.Attested.Chain, listed.Anchors, time.GetUtcNow())) : null };
        if (key.Attested.Kind == AttestationKind.Certified && done.Judged is { Vouched: false }) return new("passkeys.chain-untrusted", "このキーの機種の証明を確かめられませんでした。");
        if (!assurance.Now.Segments[options.Segment].Attested) return done;
        if (key.Attested.Kind != AttestationKind.Certified) return new("passkeys.not-attested", "このキーは機種の証明を示しません。この区分では、機種の確かなキーだけを登録できます。");
        return model.Answer is null ? new("passkeys.model-unknown", "このキーの機種は、登録された一覧にありません。") : done;
    }

    internal static Microsoft.AspNetCore.Identity.UserPasskeyInfo Info(PasskeyRow key) => PasskeyCeremony.InfoOf(key.CredentialId, key.PublicKey, key.Transports, key.BackupEligible, key.BackedUp, key.CreatedAt);
}
