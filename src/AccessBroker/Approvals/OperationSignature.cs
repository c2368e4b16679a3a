using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>A signature over an operation that stock tools verify years later. <clause>MIC 6.2(1)③(オ)</clause></summary>
/// <param name="Content">Purpose, nonce, terminal, transaction, SHA-256 of the operation: each with its length before it (<see cref="SignedFields"/>).</param>
/// <param name="Signature">DER (ECDSA) or PKCS#1 v1.5 (RSA).</param>
public abstract record OperationSignature(byte[] Content, byte[] Signature)
{
    /// <summary>By the key 9C of an operator card, over <see cref="Content"/>: ECDSA P-256 with SHA-256.</summary>
    /// <param name="Certificate">DER.</param>
    public sealed record OfCard(byte[] Certificate, byte[] Content, byte[] Signature) : OperationSignature(Content, Signature)
    {
        private protected override bool Verifies()
        {
            using var certificate = X509CertificateLoader.LoadCertificate(Certificate);
            using var key = certificate.GetECDsaPublicKey();
            return key?.VerifyData(Content, Signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence) == true;
        }
    }

    /// <summary>By a passkey whose challenge was SHA-256 of <see cref="Content"/>: over authenticator data and the hash of client data.</summary>
    /// <param name="Card">The key's number in the register of cards.</param>
    /// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
    /// <param name="Authenticator">authenticatorData as the key sent it.</param>
    /// <param name="Client">clientDataJSON as the browser sent it.</param>
    public sealed record OfPasskey(CardId Card, byte[] PublicKey, byte[] Authenticator, byte[] Client, byte[] Content, byte[] Signature) : OperationSignature(Content, Signature)
    {
        /// <summary>W3C WebAuthn L3 §6.1: user present and user verified.</summary>
        private const byte PresentAndVerified = 0x05;

        /// <summary>Exactly what the key signed.</summary>
        internal byte[] Signed => [.. Authenticator, .. SHA256.HashData(Client)];

        private protected override bool Verifies()
        {
            using var client = JsonDocument.Parse(Client);
            return client.RootElement.GetProperty("type").ValueEquals("webauthn.get") && client.RootElement.GetProperty("challenge").ValueEquals(Base64Url.EncodeToString(SHA256.HashData(Content)))
                && Authenticator.Length >= 37 && (Authenticator[32] & PresentAndVerified) == PresentAndVerified && ByKey();
        }

        private bool ByKey()
        {
            var key = System.Security.Cryptography.X509Certificates.PublicKey.CreateFromSubjectPublicKeyInfo(PublicKey, out _);
            using var rsa = key.GetRSAPublicKey();
            if (rsa is not null) return rsa.VerifyData(Signed, Signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            using var ecdsa = key.GetECDsaPublicKey();
            return ecdsa?.VerifyData(Signed, Signature, HashOf(ecdsa.KeySize), DSASignatureFormat.Rfc3279DerSequence) == true;
        }

        /// <summary>RFC 9053 §2.1: ES256, ES384, ES512 go with their curves.</summary>
        internal static HashAlgorithmName HashOf(int keySize) => keySize switch { 384 => HashAlgorithmName.SHA384, 521 => HashAlgorithmName.SHA512, _ => HashAlgorithmName.SHA256 };
    }

    private protected abstract bool Verifies();

    /// <summary>True when the key signed, and what it signed names the operation of this hash (hex). Whose key it is, is the register's and the CA's word.</summary>
    public bool Holds(string hash)
    {
        try { return SignedFields.Decode(Content) is [SignedFields.Approval, _, _, _, var named] && named == hash && Verifies(); }
        catch (Exception e) when (e is CryptographicException or JsonException or KeyNotFoundException or InvalidOperationException) { return false; }
    }
}
