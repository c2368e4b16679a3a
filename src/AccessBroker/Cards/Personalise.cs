using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.Cards;

/// <summary>
/// Makes an operator card of a blank one: three keys generated on the card, certified by the CA in the HSM; factory management key and PUK replaced
/// by derived ones; the PIN set to a random one that nobody knows. Broken off half-way the card is to be destroyed, and the register says so.
/// </summary>
internal sealed class Personalise(CertificateAuthorities authorities, CardSecrets secrets, Active<CardsPolicy> policy, TimeProvider time) : CardScript
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2", SmartCardLogon = "1.3.6.1.4.1.311.20.2.2";
    private const int FactoryAlgorithm = 0x03, OurAlgorithm = 0x0C;

    internal override string Kind => "personalise";

    internal override async Task<CardCommands> NextAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct) => now.Step switch
    {
        0 => CardCommands.Of(now, Command("read")),
        1 => await IdentifyAsync(work, now, results[0], ct),
        2 => await AuthenticateAsync(now, results[0], ct),
        3 => await BeginAsync(work, now, results[0], ct),
        4 => await CertifyAsync(work, now, results, ct),
        5 => await FinishAsync(work, now, results, ct),
        _ => throw new CardWorkException("card-unreadable"),
    };

    /// <summary>A blank card, or one of ours that came back and is lent out for a day again.</summary>
    private static async Task<CardCommands> IdentifyAsync(UnitOfWork work, CardWork now, JsonElement read, CancellationToken ct)
    {
        var id = ReadCard(read);
        var known = await work.AskAsync(CardRegister.Find(id), ct);
        var reuse = known is { State: "returned", TemporaryUntil: not null } && now.Data["temporary"] is not null;
        if (known is not null && !reuse) throw new CardWorkException("registered-already");
        now.Data["serial"] = StrictJson.Text(read, "serial") is { Length: <= 32 } serial && IdForm.Fits(serial) ? serial : "";
        (now.Data["generation"], now.Data["puk"]) = (reuse ? known!.Generation : 0, reuse ? known!.PukCounter : 0);
        return CardCommands.Of(now with { Card = id }, Command("challenge", ("algorithm", reuse ? OurAlgorithm : FactoryAlgorithm)));
    }

    private async Task<CardCommands> AuthenticateAsync(CardWork now, JsonElement challenged, CancellationToken ct)
    {
        var generation = now.Data["generation"]!.GetValue<int>();
        var challenge = Bytes(challenged, "challenge", 16);
        if (challenge.Length != (generation == 0 ? 8 : 16)) throw new CardWorkException("foreign-card");
        var answer = generation == 0 ? CardSecrets.AnswerWithFactoryKey(challenge) : await secrets.AnswerAsync(now.Card!.Value.Value, generation, challenge, ct);
        return CardCommands.Of(now, Command("authenticate", ("algorithm", generation == 0 ? FactoryAlgorithm : OurAlgorithm), ("response", Bytes(answer))));
    }

    /// <summary>From here on the card changes: it is on the register before it does.</summary>
    private async Task<CardCommands> BeginAsync(UnitOfWork work, CardWork now, JsonElement authenticated, CancellationToken ct)
    {
        if (!Ok(authenticated)) throw new CardWorkException("foreign-card");
        var at = time.GetUtcNow();
        DateTimeOffset? temporary = now.Data["temporary"] is { } until ? DateTimeOffset.Parse(until.GetValue<string>(), System.Globalization.CultureInfo.InvariantCulture) : null;
        if (now.Data["generation"]!.GetValue<int>() == 0) work.Write($"insert into cards.stock (kind, change, why, by, at) values ('piv-card', -1, {"作成 " + now.Card!.Value.Value}, {now.StartedBy}, {at})");
        await work.ExecuteAsync($"""
            insert into cards.cards (id, person, state, kind, serial, request, replaces, temporary_until, changed_at)
            values ({now.Card}, {now.Person}, 'personalising', 'piv-card', {now.Data["serial"]!.GetValue<string>()}, {now.Request?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {now.Data["replaces"]?.GetValue<string>()}, {temporary}, {at})
            on conflict (id) do update set person = excluded.person, state = excluded.state, request = excluded.request, replaces = excluded.replaces, temporary_until = excluded.temporary_until, tries_left = null, first_pin_until = null, collected_by = null, changed_at = excluded.changed_at
            """, ct);
        work.Enter("cards", now.Card!.Value.Value, "作成開始", now.StartedBy.Value, (await work.AskAsync(CardRegister.Find(now.Card.Value), ct))!.Entry(), at);
        work.Record(new("cards.personalise", HistoryOutcome.Done) { Person = now.StartedBy, Card = now.Card, Terminal = now.Terminal, Details = new Dictionary<string, string> { ["subject"] = now.Person.Value, ["request"] = $"{now.Request}" } }, at);
        return CardCommands.Of(now, Command("generate", ("slot", "9A")), Command("generate", ("slot", "9C")), Command("generate", ("slot", "9E")));
    }

    private async Task<CardCommands> CertifyAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        if (results.Count != 3) throw new CardWorkException("card-unreadable");
        var (keys, card) = (results.Select(r => Bytes(r, "publicKey", 256)).ToArray(), now.Card!.Value);
        var lifetime = (await work.AskAsync(CardRegister.Find(card), ct))!.TemporaryUntil is { } until ? until - time.GetUtcNow() + TimeSpan.FromHours(1) : policy.Now.CertificateLifetime;
        var certificates = new[] { Certify(card, keys[0], lifetime, ClientAuthentication, SmartCardLogon), Certify(card, keys[1], lifetime), Certify(card, keys[2], lifetime) };
        await work.ExecuteAsync($"update cards.cards set sign_in_key = {keys[0]}, signature_key = {keys[1]}, possession_key = {keys[2]} where id = {card}", ct);
        var (generation, puk, nonce) = (now.Data["generation"]!.GetValue<int>() + 1, now.Data["puk"]!.GetValue<int>(), Secret.New());
        now.Data["nonce"] = nonce;
        Task<byte[]> Puk(int counter) => counter == 0 ? Task.FromResult(CardSecrets.FactoryPuk) : secrets.PukAsync(card.Value, counter, ct);
        return CardCommands.Of(now,
            Command("write", ("slot", "9A"), ("certificate", Bytes(certificates[0]))), Command("write", ("slot", "9C"), ("certificate", Bytes(certificates[1]))), Command("write", ("slot", "9E"), ("certificate", Bytes(certificates[2]))),
            Command("set-puk", ("current", Bytes(await Puk(puk))), ("next", Bytes(await Puk(puk + 1)))), Command("scramble-pin", ("puk", Bytes(await Puk(puk + 1)))), Command("set-puk", ("current", Bytes(await Puk(puk + 1))), ("next", Bytes(await Puk(puk + 2)))),
            Command("set-management-key", ("key", Bytes(await secrets.ManagementKeyAsync(card.Value, generation, ct)))), Command("prove", ("nonce", nonce)));
    }

    private async Task<CardCommands> FinishAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        if (results.Count != 8 || !results.Take(7).All(Ok)) throw new CardWorkException("card-unreadable");
        var card = (await work.AskAsync(CardRegister.Lock(now.Card!.Value), ct))!;
        if (card.State != "personalising" || !CardProof.Holds(results[7], card.PossessionKey, now.Data["nonce"]!.GetValue<string>(), now.Terminal)) throw new CardWorkException("card-unreadable");
        await work.ExecuteAsync($"""
            update cards.cards set state = 'personalised', generation = {now.Data["generation"]!.GetValue<int>() + 1}, puk_counter = {now.Data["puk"]!.GetValue<int>() + 2}, changed_at = {time.GetUtcNow()} where id = {card.Id}
            """, ct);
        work.Enter("cards", card.Id.Value, "作成", now.StartedBy.Value, (card with { State = "personalised" }).Entry(), time.GetUtcNow());
        work.Record(new("cards.prepared", HistoryOutcome.Done) { Person = now.StartedBy, Card = card.Id, Terminal = now.Terminal, Details = new Dictionary<string, string> { ["subject"] = card.Person.Value } }, time.GetUtcNow());
        return CardCommands.Finished(now, "personalised");
    }

    internal override async Task<string> BrokenOffAsync(UnitOfWork work, CardWork now, string cause, CancellationToken ct)
    {
        if (now.Card is not { } id || await work.AskAsync(CardRegister.Lock(id), ct) is not { State: "personalising" } card) return cause;
        await work.ExecuteAsync($"update cards.cards set state = 'spoiled', changed_at = {time.GetUtcNow()} where id = {id}", ct);
        var entry = (card with { State = "spoiled" }).Entry();
        entry["reason"] = cause;
        work.Enter("cards", id.Value, "作成失敗(要廃棄)", now.StartedBy.Value, entry, time.GetUtcNow());
        work.Notify([now.StartedBy], "カードの作成が中断しました(要廃棄)", $"カード {id} は使えません。廃棄し、別の白紙カードで作り直してください。", $"/cards/{id}", time.GetUtcNow());
        work.Record(new("cards.spoil", HistoryOutcome.Ended, "cards.spoiled") { Person = now.StartedBy, Card = id, Terminal = now.Terminal, Details = new Dictionary<string, string> { ["cause"] = cause } }, time.GetUtcNow());
        return "spoiled";
    }

    private byte[] Certify(CardId card, byte[] publicKey, TimeSpan lifetime, params string[] usage)
    {
        try
        {
            using var certificate = authorities.OperatorCards.Issue(card.Value, PublicKey.CreateFromSubjectPublicKeyInfo(publicKey, out _), usage, time.GetUtcNow(), lifetime);
            return certificate.RawData;
        }
        catch (CryptographicException e) { throw new CardWorkException("card-unreadable", e); }
    }
}

/// <summary>What a card signs at a station, verified with the key on the register. <clause>MOJ 第5-4(2)</clause></summary>
internal static class CardProof
{
    /// <summary>9E over the nonce and the terminal: the card is there, and its key is this one.</summary>
    internal static bool Holds(JsonElement result, byte[] key, string nonce, TerminalId terminal) => Verify(result, key, SignedFields.Encode(SignedFields.Possession, nonce, terminal.Value));

    /// <summary>9A over the nonce and the card: its holder has set, and knows, the PIN.</summary>
    internal static bool Received(JsonElement result, byte[] key, string nonce, CardId card) => Verify(result, key, SignedFields.Encode(SignedFields.Receipt, nonce, card.Value));

    private static bool Verify(JsonElement result, byte[] key, byte[] data)
    {
        if (key.Length == 0 || !result.TryGetProperty("signature", out var value) || !value.TryGetBytesFromBase64(out var signature) || signature.Length > 128) return false;
        using var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(key, out _);
        return ecdsa.VerifyData(data, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
    }
}
