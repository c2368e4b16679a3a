using System.Buffers.Binary;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AccessBroker.Passkeys;

/// <summary>What a key says of its model, and how well.</summary>
internal enum AttestationKind
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>It signs for itself: proves no model.</summary>
    Self,
    /// <summary>A certificate signs; whether it is trusted is for the metadata to say.</summary>
    Certified,
}

/// <summary>A statement that holds in itself.</summary>
/// <param name="Chain">The attestation certificate first; empty unless certified.</param>
internal sealed record Attested(AttestationKind Kind, string Format, Guid Aaguid, IReadOnlyList<byte[]> Chain);

/// <summary>
/// Verifies attestation statements: none (§8.7), packed (§8.2), tpm (§8.3) of Web Authentication Level 3. Other formats are not accepted: keys that a
/// city hall buys use these. Pure. <clause>MIC 3(1)②(ア)</clause>
/// </summary>
internal static class Attestation
{
    private const string AaguidExtension = "1.3.6.1.4.1.45724.1.1.4", TcgAikCertificate = "2.23.133.8.3";

    /// <summary>Null: malformed, of another format, or it does not hold.</summary>
    internal static Attested? Verify(ReadOnlyMemory<byte> attestationObject, ReadOnlyMemory<byte> clientDataHash)
    {
        if (AttestationObject.Read(attestationObject) is not { } attestation || CoseKey.Read(attestation.PublicKey) is not { } credential) return null;
        byte[] signed = [.. attestation.AuthenticatorData, .. clientDataHash.Span];
        try
        {
            return attestation.Format switch
            {
                "none" => attestation.Statement.Count == 0 ? new(AttestationKind.None, "none", attestation.Aaguid, []) : null,
                "packed" => Packed(attestation, credential, signed),
                "tpm" => Tpm(attestation, credential, signed),
                _ => null,
            };
        }
        catch (Exception e) when (e is CryptographicException or AsnContentException or ArgumentException) { return null; }
    }

    private static Attested? Packed(AttestationObject attestation, CoseKey credential, byte[] signed)
    {
        var statement = attestation.Statement;
        if (statement.GetValueOrDefault("alg") is not long algorithm || statement.GetValueOrDefault("sig") is not byte[] signature) return null;
        if (!statement.TryGetValue("x5c", out var chain)) return statement.Count == 2 && algorithm == credential.Algorithm && credential.Verifies(signed, signature) ? new(AttestationKind.Self, "packed", attestation.Aaguid, []) : null;
        if (statement.Count != 3 || chain is not List<byte[]> { Count: > 0 and <= 8 } x5c) return null;
        using var leaf = X509CertificateLoader.LoadCertificate(x5c[0]);
        // §8.2.1: a certificate for attestation and nothing else.
        var isAttestation = leaf.Version == 3 && leaf.SubjectName.EnumerateRelativeDistinguishedNames().Any(n => !n.HasMultipleElements && n.GetSingleElementType().Value == "2.5.4.11" && n.GetSingleElementValue() == "Authenticator Attestation");
        return isAttestation && IsNoCa(leaf) && NamesModel(leaf, attestation.Aaguid) && Verifies(leaf, (int)algorithm, signed, signature) ? new(AttestationKind.Certified, "packed", attestation.Aaguid, x5c) : null;
    }

    private static Attested? Tpm(AttestationObject attestation, CoseKey credential, byte[] signed)
    {
        var statement = attestation.Statement;
        if (statement.GetValueOrDefault("ver") is not "2.0" || statement.GetValueOrDefault("alg") is not long algorithm || statement.GetValueOrDefault("sig") is not byte[] signature || statement.GetValueOrDefault("x5c") is not List<byte[]> { Count: > 0 and <= 8 } x5c
            || statement.GetValueOrDefault("certInfo") is not byte[] certInfo || statement.GetValueOrDefault("pubArea") is not byte[] pubArea) return null;
        if (!TpmStructures.HoldsKey(pubArea, credential) || !TpmStructures.Certifies(certInfo, pubArea, HashOf((int)algorithm, signed))) return null;
        using var leaf = X509CertificateLoader.LoadCertificate(x5c[0]);
        // §8.3.1: an AIK certificate: no subject, the TPM named in the alternative name, its own purpose.
        var isAik = leaf.Version == 3 && leaf.SubjectName.RawData is [0x30, 0x00] && leaf.Extensions.OfType<X509SubjectAlternativeNameExtension>().Any() && leaf.Extensions.OfType<X509EnhancedKeyUsageExtension>().Any(e => e.EnhancedKeyUsages.Cast<Oid>().Any(o => o.Value == TcgAikCertificate));
        return isAik && IsNoCa(leaf) && NamesModel(leaf, attestation.Aaguid) && Verifies(leaf, (int)algorithm, certInfo, signature) ? new(AttestationKind.Certified, "tpm", attestation.Aaguid, x5c) : null;
    }

    private static byte[] HashOf(int algorithm, byte[] data) => CoseKey.HashOf(algorithm).Name switch { "SHA384" => SHA384.HashData(data), "SHA512" => SHA512.HashData(data), _ => SHA256.HashData(data) };

    private static bool IsNoCa(X509Certificate2 certificate) => certificate.Extensions.OfType<X509BasicConstraintsExtension>().SingleOrDefault() is { CertificateAuthority: false };

    /// <summary>A certificate that names a model names this one.</summary>
    private static bool NamesModel(X509Certificate2 certificate, Guid aaguid)
    {
        if (certificate.Extensions[AaguidExtension] is not { } extension) return true;
        return !extension.Critical && AsnDecoder.ReadOctetString(extension.RawData, AsnEncodingRules.DER, out _) is { Length: 16 } named && new Guid(named, bigEndian: true) == aaguid;
    }

    private static bool Verifies(X509Certificate2 certificate, int algorithm, byte[] data, byte[] signature)
    {
        if (algorithm is -257)
        {
            using var rsa = certificate.GetRSAPublicKey();
            return rsa is { KeySize: >= 2048 } && rsa.VerifyData(data, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        }
        using var ecdsa = certificate.GetECDsaPublicKey();
        return algorithm is -7 or -35 or -36 && ecdsa is not null && ecdsa.VerifyData(data, signature, CoseKey.HashOf(algorithm), DSASignatureFormat.Rfc3279DerSequence);
    }

    /// <summary>
    /// Does the chain end at one of these anchors (RFC 5280 §6: a name and a key)? An anchor may also be the attestation certificate itself, as the
    /// metadata service allows.
    /// </summary>
    internal static bool IsTrusted(IReadOnlyList<byte[]> x5c, IReadOnlyList<byte[]> anchors, DateTimeOffset at)
    {
        if (x5c.Count == 0) return false;
        try { return LeadsTo(x5c, anchors, at); }
        catch (CryptographicException) { return false; }
    }

    private static bool LeadsTo(IReadOnlyList<byte[]> x5c, IReadOnlyList<byte[]> anchors, DateTimeOffset at)
    {
        using var leaf = X509CertificateLoader.LoadCertificate(x5c[0]);
        if (at < leaf.NotBefore || at > leaf.NotAfter) return false;
        foreach (var raw in anchors)
        {
            using var anchor = X509CertificateLoader.LoadCertificate(raw);
            if (raw.AsSpan().SequenceEqual(x5c[0]) || IsIssuedBy(leaf, anchor)) return true;
        }
        using var chain = new X509Chain();
        (chain.ChainPolicy.TrustMode, chain.ChainPolicy.RevocationMode, chain.ChainPolicy.DisableCertificateDownloads, chain.ChainPolicy.VerificationTime) = (X509ChainTrustMode.CustomRootTrust, X509RevocationMode.NoCheck, true, at.UtcDateTime);
        foreach (var anchor in anchors) chain.ChainPolicy.CustomTrustStore.Add(X509CertificateLoader.LoadCertificate(anchor));
        foreach (var intermediate in x5c.Skip(1)) chain.ChainPolicy.ExtraStore.Add(X509CertificateLoader.LoadCertificate(intermediate));
        return chain.Build(leaf);
    }

    /// <summary>The certificate bears the anchor's name as issuer, and its key made the signature (ECDSA with SHA-256).</summary>
    private static bool IsIssuedBy(X509Certificate2 leaf, X509Certificate2 anchor)
    {
        if (!leaf.IssuerName.RawData.AsSpan().SequenceEqual(anchor.SubjectName.RawData) || leaf.SignatureAlgorithm.Value != "1.2.840.10045.4.3.2") return false;
        var certificate = new AsnReader(leaf.RawData, AsnEncodingRules.DER).ReadSequence();
        var signed = certificate.ReadEncodedValue().ToArray();
        certificate.ReadSequence();
        using var key = anchor.GetECDsaPublicKey();
        return key is not null && key.VerifyData(signed, certificate.ReadBitString(out _), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
    }
}

/// <summary>The two TPM structures of a statement (Trusted Platform Module Library, part 2): TPMT_PUBLIC and TPMS_ATTEST.</summary>
internal static class TpmStructures
{
    private const uint Generated = 0xFF544347;
    private const ushort AttestCertify = 0x8017, Rsa = 0x0001, Ecc = 0x0023, Null = 0x0010, Sha1 = 0x0004, Sha256 = 0x000B, Sha384 = 0x000C, Sha512 = 0x000D;

    /// <summary>The public area holds the credential's key.</summary>
    internal static bool HoldsKey(byte[] pubArea, CoseKey credential)
    {
        var r = new Reader(pubArea);
        var type = r.UInt16();
        _ = r.UInt16();                        // nameAlg
        _ = r.UInt32();                        // objectAttributes
        _ = r.Sized();                         // authPolicy
        if (r.UInt16() != Null) r.UInt16();    // symmetric: its key bits and mode are not there for signing keys
        if (r.UInt16() != Null) r.UInt16();    // scheme: hash
        if (type == Rsa && credential.Rsa is { } rsa)
        {
            _ = r.UInt16();                    // keyBits
            var exponent = r.UInt32() is 0 ? 65_537 : BinaryPrimitives.ReadUInt32BigEndian(pubArea.AsSpan(r.Position - 4));
            return r.Sized().AsSpan().SequenceEqual(rsa.Modulus) && r.AtEnd && new System.Numerics.BigInteger(rsa.Exponent, isUnsigned: true, isBigEndian: true) == exponent;
        }
        if (type != Ecc || credential.Ec is not { } ec) return false;
        var curve = r.UInt16();
        if (r.UInt16() != Null) r.UInt16();    // kdf
        return curve == credential.Algorithm switch { -7 => 3, -35 => 4, -36 => 5, _ => 0 } && Same(r.Sized(), ec.Q.X!) && Same(r.Sized(), ec.Q.Y!) && r.AtEnd;
    }

    /// <summary>TPM2_Certify of that public area, over this extra data.</summary>
    internal static bool Certifies(byte[] certInfo, byte[] pubArea, byte[] extraData)
    {
        var r = new Reader(certInfo);
        if (r.UInt32() != Generated || r.UInt16() != AttestCertify) return false;
        _ = r.Sized();                         // qualifiedSigner
        if (!r.Sized().AsSpan().SequenceEqual(extraData)) return false;
        r.Skip(8 + 4 + 4 + 1 + 8);             // clockInfo, firmwareVersion
        var name = r.Sized();
        _ = r.Sized();                         // qualifiedName
        if (!r.AtEnd || name.Length < 2) return false;
        var digest = BinaryPrimitives.ReadUInt16BigEndian(name) switch { Sha256 => SHA256.HashData(pubArea), Sha384 => SHA384.HashData(pubArea), Sha512 => SHA512.HashData(pubArea), Sha1 or _ => [] };
        return digest.Length > 0 && name.AsSpan(2).SequenceEqual(digest) && name.AsSpan(0, 2).SequenceEqual(pubArea.AsSpan(2, 2));
    }

    /// <summary>Numbers may come without leading zeros.</summary>
    private static bool Same(byte[] a, byte[] b) => a.AsSpan().TrimStart((byte)0).SequenceEqual(b.AsSpan().TrimStart((byte)0));

    /// <summary>Reads big-endian; too short throws <see cref="ArgumentOutOfRangeException"/>, which the verifier takes for "does not hold".</summary>
    private sealed class Reader(byte[] bytes)
    {
        internal int Position { get; private set; }
        internal bool AtEnd => Position == bytes.Length;
        internal ushort UInt16() => BinaryPrimitives.ReadUInt16BigEndian(Take(2));
        internal uint UInt32() => BinaryPrimitives.ReadUInt32BigEndian(Take(4));
        internal byte[] Sized() => Take(UInt16()).ToArray();
        internal void Skip(int count) => Take(count);

        private ReadOnlySpan<byte> Take(int count)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan(count, bytes.Length - Position);
            var taken = bytes.AsSpan(Position, count);
            Position += count;
            return taken;
        }
    }
}
