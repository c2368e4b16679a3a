using System.Formats.Cbor;
using System.Security.Cryptography;

namespace AccessBroker.Passkeys;

/// <summary>A public key as COSE writes it (RFC 9053), of the algorithms the platform has: ES256, ES384, ES512, RS256.</summary>
internal sealed record CoseKey(int Algorithm, ECParameters? Ec, RSAParameters? Rsa)
{
    /// <summary>Null: malformed, or of another algorithm.</summary>
    internal static CoseKey? Read(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            var reader = new CborReader(bytes, CborConformanceMode.Ctap2Canonical);
            var (numbers, strings) = (new Dictionary<long, long>(), new Dictionary<long, byte[]>());
            var count = reader.ReadStartMap();
            for (var i = 0; i < count; i++)
            {
                var label = reader.ReadInt64();
                if (reader.PeekState() == CborReaderState.ByteString) strings[label] = reader.ReadByteString();
                else numbers[label] = reader.ReadInt64();
            }
            reader.ReadEndMap();
            if (reader.BytesRemaining > 0) return null;
            return ((int)numbers.GetValueOrDefault(1), (int)numbers.GetValueOrDefault(3), (int)numbers.GetValueOrDefault(-1)) switch
            {
                (2, -7, 1) => Elliptic(-7, ECCurve.NamedCurves.nistP256, 32, strings),
                (2, -35, 2) => Elliptic(-35, ECCurve.NamedCurves.nistP384, 48, strings),
                (2, -36, 3) => Elliptic(-36, ECCurve.NamedCurves.nistP521, 66, strings),
                (3, -257, _) when strings.GetValueOrDefault(-1) is { Length: >= 256 and <= 1024 } n && strings.GetValueOrDefault(-2) is { Length: > 0 and <= 8 } e => new(-257, null, new RSAParameters { Modulus = n, Exponent = e }),
                _ => null,
            };
        }
        catch (Exception e) when (e is CborContentException or InvalidOperationException or OverflowException) { return null; }
    }

    private static CoseKey? Elliptic(int algorithm, ECCurve curve, int size, Dictionary<long, byte[]> strings) =>
        strings.GetValueOrDefault(-2) is { } x && x.Length == size && strings.GetValueOrDefault(-3) is { } y && y.Length == size ? new(algorithm, new ECParameters { Curve = curve, Q = new() { X = x, Y = y } }, null) : null;

    /// <summary>The same key as stock tools read it, DER.</summary>
    internal byte[] SubjectPublicKeyInfo()
    {
        using AsymmetricAlgorithm key = Rsa is { } parameters ? RSA.Create(parameters) : ECDsa.Create(Ec!.Value);
        return key.ExportSubjectPublicKeyInfo();
    }

    /// <summary>False on every fault.</summary>
    internal bool Verifies(byte[] data, byte[] signature)
    {
        try
        {
            if (Rsa is { } parameters)
            {
                using var rsa = RSA.Create(parameters);
                return rsa.VerifyData(data, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
            }
            using var ecdsa = ECDsa.Create(Ec!.Value);
            return ecdsa.VerifyData(data, signature, HashOf(Algorithm), DSASignatureFormat.Rfc3279DerSequence);
        }
        catch (CryptographicException) { return false; }
    }

    /// <summary>The hash of a COSE algorithm.</summary>
    internal static HashAlgorithmName HashOf(int algorithm) => algorithm switch { -35 => HashAlgorithmName.SHA384, -36 => HashAlgorithmName.SHA512, _ => HashAlgorithmName.SHA256 };
}
