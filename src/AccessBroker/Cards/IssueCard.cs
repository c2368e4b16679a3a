using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>
/// Signs the certificates of a card's three keys with the operator-card CA and puts the card on the register as handed over.
/// First-day tool of the operator of the broker (<c>AccessBroker cards issue</c>); the PIN manager's workflow takes its place.
/// </summary>
internal sealed class IssueCard(Store store, CertificateAuthorities authorities, TimeProvider time)
{
    /// <summary>Ours: 5 years.</summary>
    internal static readonly TimeSpan CertificateLifetime = TimeSpan.FromDays(5 * 365);
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2", SmartCardLogon = "1.3.6.1.4.1.311.20.2.2";

    /// <summary>Public keys as the card gave them: SubjectPublicKeyInfo, base64 in JSON.</summary>
    internal sealed record CardKeys(CardId Card, byte[] SignIn, byte[] Signature, byte[] Possession);

    /// <summary>Certificates in DER, to be written to the card.</summary>
    internal sealed record CardCertificates(byte[] SignIn, byte[] Signature, byte[] Possession);

    /// <summary>Throws when the card is on the register already, or a key is not P-256.</summary>
    internal async Task<CardCertificates> RunAsync(CardKeys keys, PersonId person, CancellationToken ct)
    {
        byte[] Certify(byte[] spki, params string[] usage)
        {
            using var certificate = authorities.OperatorCards.Issue(keys.Card.Value, PublicKey.CreateFromSubjectPublicKeyInfo(spki, out _), usage, time.GetUtcNow(), CertificateLifetime);
            return certificate.RawData;
        }
        var certificates = new CardCertificates(Certify(keys.SignIn, ClientAuthentication, SmartCardLogon), Certify(keys.Signature), Certify(keys.Possession));
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync($"""
            insert into cards.cards (id, person, state, sign_in_key, signature_key, possession_key, changed_at)
            values ({keys.Card}, {person}, 'handed-over', {keys.SignIn}, {keys.Signature}, {keys.Possession}, {time.GetUtcNow()})
            """, ct);
        work.Record(new("cards.issue", HistoryOutcome.Done) { Card = keys.Card, Person = person }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return certificates;
    }
}
