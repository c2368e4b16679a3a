using System.Security.Cryptography;
using System.Text;
using AccessBroker.Keys;

namespace AccessBroker.OneTimeCodes;

/// <summary>
/// Seeds at rest: AES-256-GCM under a key that the HSM derives for each token, bound to the token's id. A dump or a backup without the HSM holds no seed,
/// and a seed moved to another row opens nothing. <clause>MOJ 第5-5(1)</clause>
/// </summary>
internal sealed class SealedSeeds(IHsm hsm, HsmOptions options)
{
    private const int NonceBytes = 12, TagBytes = 16;

    /// <summary>nonce ‖ tag ‖ cipher text. Throws <see cref="HsmUnavailableException"/>.</summary>
    internal async Task<byte[]> SealAsync(string token, byte[] seed, CancellationToken ct)
    {
        var key = await KeyAsync(token, ct);
        try
        {
            var made = new byte[NonceBytes + TagBytes + seed.Length];
            RandomNumberGenerator.Fill(made.AsSpan(0, NonceBytes));
            using var aes = new AesGcm(key, TagBytes);
            aes.Encrypt(made.AsSpan(0, NonceBytes), seed, made.AsSpan(NonceBytes + TagBytes), made.AsSpan(NonceBytes, TagBytes), Encoding.ASCII.GetBytes(token));
            return made;
        }
        finally { CryptographicOperations.ZeroMemory(key); }
    }

    /// <summary>The seed; the caller wipes it. Throws <see cref="CryptographicException"/> when the seal does not fit, <see cref="HsmUnavailableException"/>.</summary>
    internal async Task<byte[]> OpenAsync(string token, byte[] made, CancellationToken ct)
    {
        var key = await KeyAsync(token, ct);
        try
        {
            var seed = new byte[made.Length - NonceBytes - TagBytes];
            using var aes = new AesGcm(key, TagBytes);
            aes.Decrypt(made.AsSpan(0, NonceBytes), made.AsSpan(NonceBytes + TagBytes), made.AsSpan(NonceBytes, TagBytes), seed, Encoding.ASCII.GetBytes(token));
            return seed;
        }
        finally { CryptographicOperations.ZeroMemory(key); }
    }

    private Task<byte[]> KeyAsync(string token, CancellationToken ct) => hsm.MacAsync(options.CardSecretKey, Encoding.ASCII.GetBytes($"accessbroker:otp-seed:v1:{token}"), ct);
}
