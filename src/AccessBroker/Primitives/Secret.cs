using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.Primitives;

/// <summary>Random bearer values: codes, handles, cookies, tokens. The database holds only their hash.</summary>
public static class Secret
{
    /// <summary>A new value of <paramref name="bytes"/> random bytes (16 to 64), base64url without padding.</summary>
    public static string New(int bytes = 32) => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(bytes));

    /// <summary>What is stored and looked up: SHA-256 of the UTF-8 text. Enough for random values; never for PINs or passwords.</summary>
    public static byte[] Hash(string value) => SHA256.HashData(Encoding.UTF8.GetBytes(value));

    /// <summary>Compares in constant time. Never throws.</summary>
    public static bool Same(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) => CryptographicOperations.FixedTimeEquals(a, b);

    /// <summary>True for a value <see cref="New"/> could have made: base64url, 22 to 86 characters.</summary>
    public static bool Fits(string? value) => value is { Length: >= 22 and <= 86 } && value.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');
}
