using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace DemoRelyingParty;

/// <summary>The key with which this relying party authenticates at the token endpoint (private_key_jwt, ES256).</summary>
internal sealed class ClientKey(ECDsa key)
{
    internal static ClientKey LoadOrCreate(string file)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        if (File.Exists(file)) key.ImportFromPem(File.ReadAllText(file));
        else File.WriteAllText(file, key.ExportPkcs8PrivateKeyPem());
        return new(key);
    }

    internal object PublicJwk()
    {
        var q = key.ExportParameters(false).Q;
        return new { kty = "EC", crv = "P-256", x = Base64Url.EncodeToString(q.X), y = Base64Url.EncodeToString(q.Y), use = "sig", alg = "ES256" };
    }

    internal string Assertion(string clientId, string audience)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var payload = new { iss = clientId, sub = clientId, aud = audience, iat = now, exp = now + 60, jti = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16)) };
        var input = $"{Part(new { alg = "ES256", typ = "JWT" })}.{Part(payload)}";
        return $"{input}.{Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256))}";
    }

    private static string Part(object value) => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(value));
}
