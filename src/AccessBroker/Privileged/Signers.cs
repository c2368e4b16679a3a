using System.Security.Cryptography.X509Certificates;
using AccessBroker.Approvals;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.Keys;
using AccessBroker.Passkeys;
using AccessBroker.Primitives;

namespace AccessBroker.Privileged;

/// <summary>Whose signatures those of a request are: what a row says of itself is no proof. <clause>MIC 6.2(1)③(オ)</clause></summary>
internal sealed class Signers(CertificateAuthorities authorities)
{
    /// <summary>Each signature is by a card that our CA certified, or a passkey as it was registered, and it belongs to whoever decided; one that is being given just now has no decision yet.</summary>
    internal async Task<bool> AreTheirsAsync(UnitOfWork work, Request request, CancellationToken ct)
    {
        foreach (var signed in await work.AskAsync(ApprovalSignatures.Of(request.Id), ct))
            if (request.Decisions.FirstOrDefault(d => d.Step == signed.Step) is { } decision
                && (await SignerAsync(work, signed.Proof, decision.At, ct) is not { } signer || await work.AskAsync(CardRegister.Find(signer), ct) is not { } card || card.Person.Value != decision.By)) return false;
        return true;
    }

    /// <summary>The card or key that signed; null: none of ours.</summary>
    private async Task<CardId?> SignerAsync(UnitOfWork work, OperationSignature proof, DateTimeOffset at, CancellationToken ct)
    {
        if (proof is OperationSignature.OfPasskey key) return (await work.AskAsync(PasskeySignIn.PublicKeyOf(key.Card), ct))?.AsSpan().SequenceEqual(key.PublicKey) == true ? key.Card : null;
        using var certificate = X509CertificateLoader.LoadCertificate(((OperationSignature.OfCard)proof).Certificate);
        return authorities.OperatorCards.Vouches(certificate, at) && CardId.TryParse(certificate.GetNameInfo(X509NameType.SimpleName, false), null, out var id) ? id : null;
    }
}
