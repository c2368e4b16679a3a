using System.Security.Cryptography;
using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.Passkeys;

/// <summary>
/// A person who has just signed in with a card or a key enrols another key. In segments that want it the model must be attested, known to the metadata
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

    /// <summary>Why this session may not enrol, in Japanese; null: it may.</summary>
    internal string? Problem(LiveSession session) =>
        !assurance.Now.Segments[options.Segment].Methods.Contains(Method.Passkey) ? "この区分では、パスキーは使えません。"
        // Equal or stronger than what is enrolled: a card, or another key.
        : !(session.Amr.Contains("sc") || session.Amr.Contains("hwk")) ? "カードか登録済みのパスキーでサインインしてから登録してください。"
        : time.GetUtcNow() - session.AuthTime > policy.Now.EnrolAfterSignIn ? "登録の前に、もう一度サインインしてください。" : null;

    internal async Task<(string Id, string Options)?> BeginAsync(HttpContext context, LiveSession session, CancellationToken ct)
    {
        if (Problem(session) is not null) return null;
        await using var work = await store.BeginAsync(ct);
        var name = (await work.AskAsync(PeopleRegister.Names([session.Person.Value], time.GetUtcNow()), ct)).GetValueOrDefault(session.Person.Value, session.Person.Value);
        var keys = await work.AskAsync(PasskeyRegister.OfPerson(session.Person), ct);
        var user = new PasskeyUser(await PasskeyRegister.HandleAsync(work, session.Person, ct), name, [.. keys.Select(Info)]);
        var (made, state) = await PasskeyCeremony.Of(options).BeginRegistrationAsync(user, context);
        var id = Secret.New(16);
        PasskeyRegister.Keep(work, id, "register", session.Id.Value, state, policy.Now.Ceremony);
        await work.CommitAsync(ct);
        return (id, made);
    }

    internal async Task<Outcome> RegisterAsync(HttpContext context, LiveSession session, string? id, JsonElement credential, string? name, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var state = await PasskeyRegister.TakeAsync(work, id, "register", session.Id.Value, ct);
        var answer = state is null || Problem(session) is not null ? null : await PasskeyCeremony.Of(options).RegisterAsync(credential.GetRawText(), state, context);
        var outcome = state is null ? new("passkeys.ceremony-over", "時間切れか、すでに使われた操作です。もう一度始めてください。") : answer is null ? new("passkeys.ceremony-failed", "キーの応答を確かめられませんでした。本人確認(指紋・暗証番号など)のできるキーを使ってください。") : await JudgeAsync(work, session, answer, ct);
        var now = time.GetUtcNow();
        var entry = new HistoryEvent("passkeys.enrol", HistoryOutcome.Refused, outcome.Code) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Details = new Dictionary<string, string> { ["aaguid"] = answer?.Attested.Aaguid.ToString("D") ?? "", ["attestation"] = answer?.Attested.Kind.ToString().ToLowerInvariant() ?? "" } };
        if (outcome.Code.Length == 0)
        {
            var card = CardId.Parse(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
            var trusted = outcome.Judged is { Vouched: true };
            var called = name?.Trim() is { Length: > 0 and <= 100 } given && FreeText.Fits(given) ? given : outcome.Judged?.Model.Description is { Length: > 0 and <= 100 } known ? known : "パスキー";
            await CardRegister.AddMediumAsync(work, card, session.Person, "fido-key", answer!.Attested.Aaguid.ToString("D"), "登録(本人)", now, ct);
            PasskeyRegister.Add(work, new(card, session.Person, answer.CredentialId, answer.PublicKey, answer.SignCount, answer.Attested.Aaguid, answer.Attested.Kind.ToString().ToLowerInvariant(), trusted, answer.BackupEligible, answer.BackedUp, answer.Transports, called, now, null) { Chain = answer.Attested.Chain });
            entry = entry with { Outcome = HistoryOutcome.Done, Card = card };
        }
        work.Record(entry, now);
        await work.CommitAsync(ct);
        return outcome;
    }

    private async Task<Outcome> JudgeAsync(UnitOfWork work, LiveSession session, RegisteredKey key, CancellationToken ct)
    {
        if (await work.AskAsync(CardRegister.Find(session.Card), ct) is { TemporaryUntil: not null }) return new("passkeys.temporary-card", "当日限りのカードでは、キーを登録できません。");
        await PasskeyRegister.LockModelsAsync(work, alone: false, ct);
        // One at a time per person: the limit is a limit.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended({session.Person}, 5))", ct);
        var (own, known, model) = (PasskeyRegister.OfPerson(session.Person), PasskeyRegister.FindByCredential(key.CredentialId), PasskeyRegister.FindModel(key.Attested.Aaguid));
        var media = CardRegister.MediaOfPerson(session.Person);
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
