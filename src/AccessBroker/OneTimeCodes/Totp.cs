using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.OneTimeCodes;

/// <summary>RFC 4226 and RFC 6238, pure.</summary>
public static class Totp
{
    /// <summary>HOTP (RFC 4226 §5.3): <paramref name="digits"/> decimal digits, 6..8, for a counter.</summary>
    /// <param name="algorithm">SHA1, SHA256 or SHA512.</param>
    public static string Hotp(ReadOnlySpan<byte> seed, long counter, int digits, HashAlgorithmName algorithm)
    {
        Span<byte> moving = stackalloc byte[8], mac = stackalloc byte[64];
        BinaryPrimitives.WriteInt64BigEndian(moving, counter);
#pragma warning disable CA5350 // RFC 6238 tokens use HMAC-SHA-1; its collisions do not matter in an HMAC.
        var length = algorithm.Name switch
        {
            "SHA1" => HMACSHA1.HashData(seed, moving, mac),
            "SHA256" => HMACSHA256.HashData(seed, moving, mac),
            "SHA512" => HMACSHA512.HashData(seed, moving, mac),
            _ => throw new ArgumentOutOfRangeException(nameof(algorithm), algorithm, null),
        };
#pragma warning restore CA5350
        var offset = mac[length - 1] & 0xF;
        var value = (long)(BinaryPrimitives.ReadUInt32BigEndian(mac[offset..]) & 0x7FFF_FFFF);
        return (value % (long)Math.Pow(10, digits)).ToString(CultureInfo.InvariantCulture).PadLeft(digits, '0');
    }

    /// <summary>The time step (RFC 6238 §4.2): whole periods since 1970.</summary>
    public static long StepAt(DateTimeOffset at, TimeSpan period) => at.ToUnixTimeSeconds() / (long)period.TotalSeconds;
}

/// <summary>What a token is, beside its seed.</summary>
/// <param name="LastStep">The last step that was accepted; earlier ones and it are used up (RFC 6238 §5.2).</param>
/// <param name="Drift">By how many steps the token's clock was ahead when it was last seen.</param>
public sealed record OneTimeToken(int Digits, HashAlgorithmName Algorithm, TimeSpan Period, long LastStep, int Drift);

/// <summary>The whole decision on a code, pure.</summary>
public static class OneTimeCodeRule
{
    /// <summary>What people type: full-width digits and spaces are no mistake. At most 12 characters are looked at; never throws.</summary>
    public static string Typed(string? given) => given is null or { Length: > 12 } ? "" : string.Concat(People.FreeText.CommonForm(given).Where(c => !char.IsWhiteSpace(c)));

    /// <summary>
    /// The step a code belongs to, or null: it is wrong, used, or outside the window of ±<paramref name="window"/> around where the token's clock is
    /// expected. The drift is learnt, but never beyond ±<paramref name="mostDrift"/>. Compares in constant time, and all steps of the window always.
    /// </summary>
    public static (long Step, int Drift)? Accept(ReadOnlySpan<byte> seed, OneTimeToken token, string code, DateTimeOffset now, int window, int mostDrift)
    {
        (long, int)? found = null;
        var step = Totp.StepAt(now, token.Period);
        var expected = step + Math.Clamp(token.Drift, -mostDrift, mostDrift);
        for (var at = expected - window; at <= expected + window; at++)
        {
            var same = Primitives.Secret.Same(Encoding.ASCII.GetBytes(Totp.Hotp(seed, at, token.Digits, token.Algorithm)), Encoding.UTF8.GetBytes(code));
            if (same && at > token.LastStep && Math.Abs(at - step) <= mostDrift + window) found ??= (at, (int)Math.Clamp(at - step, -mostDrift, mostDrift));
        }
        return found;
    }
}
