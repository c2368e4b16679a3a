using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Primitives;

namespace AccessBroker.Oidc.Jose;

/// <summary>
/// JSON Web Signatures in compact form (RFC 7515), to verify what clients sign: ES256 and PS256 only (RFC 7518, allow-list).
/// Strict: canonical base64url, no duplicate members, no <c>crit</c>, the key's type must fit the algorithm.
/// </summary>
internal static class CompactJws
{
    /// <summary>The payload if a key of the set made the signature; else null. Never throws.</summary>
    /// <param name="token">The compact serialisation.</param>
    /// <param name="jwks">A JWK Set (RFC 7517 §5), or one JWK.</param>
    internal static byte[]? Verify(string token, JsonElement jwks)
    {
        if (token.Length > 16_384 || token.Split('.') is not [var header, var payload, var signature]) return null;
        if (Decode(header) is not { } headerBytes || Decode(payload) is not { } payloadBytes || Decode(signature) is not { } signatureBytes) return null;
        if (ReadHeader(headerBytes) is not var (algorithm, keyId)) return null;
        var input = Encoding.ASCII.GetBytes($"{header}.{payload}");
        return Keys(jwks).Any(k => Fits(k, algorithm, keyId) && Verifies(k, algorithm, input, signatureBytes)) ? payloadBytes : null;
    }

    /// <summary>The members of a payload, or null when it is no JSON object or has a member twice.</summary>
    internal static JsonElement? ReadClaims(byte[] payload) => StrictJson.ParseObject(payload);

    private static (string Algorithm, string? KeyId)? ReadHeader(byte[] bytes)
    {
        if (ReadClaims(bytes) is not { } header || header.TryGetProperty("crit", out _) || header.TryGetProperty("b64", out _)) return null;
        var keyId = header.TryGetProperty("kid", out var kid) ? kid.ValueKind == JsonValueKind.String ? kid.GetString() : "" : null;
        return header.TryGetProperty("alg", out var alg) && alg.ValueKind == JsonValueKind.String && alg.GetString() is "ES256" or "PS256" ? (alg.GetString()!, keyId) : null;
    }

    private static JsonElement[] Keys(JsonElement jwks) =>
        jwks.ValueKind != JsonValueKind.Object ? [] : jwks.TryGetProperty("keys", out var keys) && keys.ValueKind == JsonValueKind.Array ? [.. keys.EnumerateArray()] : [jwks];

    private static bool Fits(JsonElement key, string algorithm, string? keyId) =>
        key.ValueKind == JsonValueKind.Object
        && StrictJson.Text(key, "kty") == (algorithm == "ES256" ? "EC" : "RSA")
        && StrictJson.Text(key, "use") is null or "sig" && (StrictJson.Text(key, "alg") is not { } bound || bound == algorithm)
        && (keyId is null || StrictJson.Text(key, "kid") is not { } kid || kid == keyId)
        && (!key.TryGetProperty("key_ops", out var operations) || (operations.ValueKind == JsonValueKind.Array && operations.EnumerateArray().Any(o => o.ValueKind == JsonValueKind.String && o.ValueEquals("verify"))));

    private static bool Verifies(JsonElement key, string algorithm, byte[] input, byte[] signature)
    {
        try
        {
            if (algorithm == "PS256")
            {
                if (Decode(StrictJson.Text(key, "n")) is not { Length: >= 256 and <= 1024 } n || Decode(StrictJson.Text(key, "e")) is not { } e) return false;
                using var rsa = RSA.Create(new RSAParameters { Modulus = n, Exponent = e });
                return rsa.VerifyData(input, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pss);
            }
            if (StrictJson.Text(key, "crv") != "P-256" || Decode(StrictJson.Text(key, "x")) is not { Length: 32 } x || Decode(StrictJson.Text(key, "y")) is not { Length: 32 } y) return false;
            using var ecdsa = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = x, Y = y } });
            return signature.Length == 64 && ecdsa.VerifyData(input, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        }
        catch (CryptographicException) { return false; }    // a point off the curve, an impossible modulus
    }

    /// <summary>RFC 7515 §2: no padding, no white space, and only the one canonical text per value.</summary>
    internal static byte[]? Decode(string? text)
    {
        if (text is null || !text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')) return null;
        try { return Base64Url.DecodeFromChars(text) is var bytes && Base64Url.EncodeToString(bytes) == text ? bytes : null; }
        catch (FormatException) { return null; }
    }
}
