using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.Cards;

/// <summary>
/// The offline way of <c>AccessBroker cards issue</c>: signs the certificates of a card's keys and puts the card on the register as handed over. For
/// demonstrations and tests, which have no PIN manager yet; the first cards of a city come from <c>AccessBroker init</c>, all others from the station.
/// </summary>
internal sealed class IssueCard(Store store, CertificateAuthorities authorities, CardSecrets secrets, Active<CardsPolicy> policy, TimeProvider time)
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2", SmartCardLogon = "1.3.6.1.4.1.311.20.2.2";

    /// <summary>Public keys as the card gave them: SubjectPublicKeyInfo, base64 in JSON.</summary>
    internal sealed record CardKeys(CardId Card, byte[] SignIn, byte[] Signature, byte[] Possession);

    /// <summary>Certificates in DER and the secrets to be written to the card: they go through a pipe, to nobody's eyes.</summary>
    internal sealed record CardCertificates(byte[] SignIn, byte[] Signature, byte[] Possession, byte[] ManagementKey, byte[] Puk);

    /// <summary>Throws when the card is on the register already, or a key is not P-256.</summary>
    internal async Task<CardCertificates> RunAsync(CardKeys keys, PersonId person, CancellationToken ct)
    {
        byte[] Certify(byte[] spki, params string[] usage)
        {
            using var certificate = authorities.OperatorCards.Issue(keys.Card.Value, PublicKey.CreateFromSubjectPublicKeyInfo(spki, out _), usage, time.GetUtcNow(), policy.Now.CertificateLifetime);
            return certificate.RawData;
        }
        var written = new CardCertificates(Certify(keys.SignIn, ClientAuthentication, SmartCardLogon), Certify(keys.Signature), Certify(keys.Possession),
            await secrets.ManagementKeyAsync(keys.Card.Value, 1, ct), await secrets.PukAsync(keys.Card.Value, 1, ct));
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync($"""
            insert into cards.cards (id, person, state, sign_in_key, signature_key, possession_key, generation, puk_counter, changed_at)
            values ({keys.Card}, {person}, 'handed-over', {keys.SignIn}, {keys.Signature}, {keys.Possession}, 1, 1, {time.GetUtcNow()})
            """, ct);
        work.Enter("cards", keys.Card.Value, "初期発行", "setup", (await work.AskAsync(CardRegister.Find(keys.Card), ct))!.Entry(), time.GetUtcNow());
        work.Record(new("cards.issue", HistoryOutcome.Done) { Card = keys.Card, Person = person }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return written;
    }
}
