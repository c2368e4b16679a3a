using System.Collections.Concurrent;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AccessBroker.Keys;

/// <summary>A CA whose key is in the HSM. Issues end-entity certificates and judges chains to itself, and to itself only.</summary>
public sealed class CertificateAuthority(IHsm hsm, HsmKey key, X509Certificate2 root)
{
    /// <summary>Signs a certificate. <paramref name="publicKey"/>: P-256. Throws <see cref="HsmUnavailableException"/>.</summary>
    /// <param name="commonName">The subject: an id of ours, never a person's name.</param>
    /// <param name="publicKey">The key that was proven to belong to the subject.</param>
    /// <param name="usage">Extended key usage OIDs; empty for none.</param>
    /// <param name="from">Valid from, UTC; 5 min are taken off for clocks.</param>
    /// <param name="lifetime">Ours: terminals 400 days, cards 5 years.</param>
    public X509Certificate2 Issue(string commonName, PublicKey publicKey, IReadOnlyList<string> usage, DateTimeOffset from, TimeSpan lifetime)
    {
        var request = new CertificateRequest(Name(commonName), publicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        if (usage.Count > 0)
        {
            var oids = new OidCollection();
            foreach (var oid in usage) oids.Add(new Oid(oid));
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(oids, critical: false));
        }
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(root, true, false));
        return request.Create(root.SubjectName, new Generator(hsm, key, root.PublicKey), from.AddMinutes(-5), from + lifetime, Serial());
    }

    /// <summary>True when the certificate chains to this CA and is within its validity at <paramref name="at"/>. Never throws, never asks the network.</summary>
    public bool Vouches(X509Certificate2 certificate, DateTimeOffset at)
    {
        // Whether one certificate chains to one root never changes, only the time does: it is judged once.
        var name = certificate.GetCertHashString(HashAlgorithmName.SHA256);
        if (_chained.ContainsKey(name)) return at >= certificate.NotBefore && at <= certificate.NotAfter && at >= root.NotBefore && at <= root.NotAfter;
        if (!Builds(certificate, at)) return false;
        if (_chained.Count < MostChained) _chained[name] = true;
        return true;
    }

    /// <summary>Ours: 20,000 certificates of our own are remembered, a city's cards and terminals.</summary>
    private const int MostChained = 20_000;
    private readonly ConcurrentDictionary<string, bool> _chained = new();

    private bool Builds(X509Certificate2 certificate, DateTimeOffset at)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(root);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;    // Revocation is the register's answer, at once: cards and terminals.
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = at.UtcDateTime;
        return chain.Build(certificate) && chain.ChainElements.Count == 2;
    }

    internal static X509Certificate2 SelfSign(IHsm hsm, HsmKey key, PublicKey publicKey, string name, DateTimeOffset from)
    {
        var request = new CertificateRequest(Name(name), publicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(publicKey, critical: false));
        return request.Create(Name(name), new Generator(hsm, key, publicKey), from.AddMinutes(-5), from.AddYears(20), Serial());
    }

    private static X500DistinguishedName Name(string commonName)
    {
        var builder = new X500DistinguishedNameBuilder();
        builder.AddCommonName(commonName);
        return builder.Build();
    }

    private static byte[] Serial()
    {
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x40);    // positive, and always 16 bytes
        return serial;
    }

    /// <summary>CertificateRequest asks for a signature synchronously: issuing is rare, and the HSM's deadline bounds the wait.</summary>
    private sealed class Generator(IHsm hsm, HsmKey key, PublicKey publicKey) : X509SignatureGenerator
    {
        public override byte[] GetSignatureAlgorithmIdentifier(HashAlgorithmName hashAlgorithm)
        {
            var der = new AsnWriter(AsnEncodingRules.DER);
            using (der.PushSequence()) der.WriteObjectIdentifier("1.2.840.10045.4.3.2");    // ecdsa-with-SHA256
            return der.Encode();
        }

        public override byte[] SignData(byte[] data, HashAlgorithmName hashAlgorithm)
        {
            var rs = hsm.SignAsync(key, SHA256.HashData(data), CancellationToken.None).GetAwaiter().GetResult();
            var der = new AsnWriter(AsnEncodingRules.DER);
            using (der.PushSequence())
            {
                der.WriteIntegerUnsigned(Trim(rs.AsSpan(0, 32)));
                der.WriteIntegerUnsigned(Trim(rs.AsSpan(32)));
            }
            return der.Encode();
        }

        protected override PublicKey BuildPublicKey() => publicKey;

        private static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> number) => number[..^1].IndexOfAnyExcept((byte)0) is var first && first < 0 ? number[^1..] : number[first..];
    }
}

/// <summary>The two CAs of the broker and their certificates' files.</summary>
public sealed class CertificateAuthorities
{
    internal const string OperatorCardFile = "operator-card-ca.pem", TerminalFile = "terminal-ca.pem";

    /// <summary>Reads both CA certificates. Throws when one is missing: run the key ceremony first.</summary>
    public CertificateAuthorities(IHsm hsm, HsmOptions options, string directory)
    {
        OperatorCards = new(hsm, options.OperatorCardCaKey, Load(directory, OperatorCardFile));
        Terminals = new(hsm, options.TerminalCaKey, Load(directory, TerminalFile));
    }

    /// <summary>Signs and judges operator-card certificates.</summary>
    public CertificateAuthority OperatorCards { get; }
    /// <summary>Signs and judges terminal certificates.</summary>
    public CertificateAuthority Terminals { get; }

    private static X509Certificate2 Load(string directory, string file)
    {
        var path = Path.Combine(directory, file);
        return File.Exists(path) ? X509Certificate2.CreateFromPem(File.ReadAllText(path)) : throw new InvalidOperationException($"{path} is missing; run 'AccessBroker keys create' first");
    }
}
