using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace AccessBroker.Keys;

/// <summary>Signs JWTs with ES256 in the HSM (RFC 7515, RFC 7518 §3.4) and publishes the public key (RFC 7517). One C_Sign per token.</summary>
public sealed class TokenSigner(IHsm hsm, HsmOptions options)
{
    private sealed record Published(string KeyId, byte[] Jwks);
    private volatile Published? _published;

    /// <summary>The JWK Set, UTF-8 JSON. Throws <see cref="HsmUnavailableException"/> before the HSM was reached once.</summary>
    public async Task<byte[]> JwksAsync(CancellationToken ct) => (await PublishedAsync(ct)).Jwks;

    /// <summary>Signs a payload: the compact serialisation. <paramref name="type"/> is the <c>typ</c> header.</summary>
    public async Task<string> SignAsync(string type, byte[] payload, CancellationToken ct)
    {
        var key = await PublishedAsync(ct);
        var header = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string> { ["alg"] = "ES256", ["kid"] = key.KeyId, ["typ"] = type });
        var input = $"{Base64Url.EncodeToString(header)}.{Base64Url.EncodeToString(payload)}";
        var signature = await hsm.SignAsync(options.TokenKey, SHA256.HashData(Encoding.ASCII.GetBytes(input)), ct);
        return $"{input}.{Base64Url.EncodeToString(signature)}";
    }

    private async Task<Published> PublishedAsync(CancellationToken ct)
    {
        if (_published is { } known) return known;
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(await hsm.PublicKeyAsync(options.TokenKey, ct), out _);
        var q = key.ExportParameters(false).Q;
        var (x, y) = (Base64Url.EncodeToString(q.X), Base64Url.EncodeToString(q.Y));
        // RFC 7638 §3.2: the required members only, in lexicographic order, no white space.
        var thumbprint = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes($$"""{"crv":"P-256","kty":"EC","x":"{{x}}","y":"{{y}}"}""")));
        var jwks = JsonSerializer.SerializeToUtf8Bytes(new { keys = new[] { new { kty = "EC", crv = "P-256", x, y, kid = thumbprint, use = "sig", alg = "ES256" } } });
        return _published = new(thumbprint, jwks);
    }
}
