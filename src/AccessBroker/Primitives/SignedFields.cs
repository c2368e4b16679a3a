using System.Buffers.Binary;
using System.Text;

namespace AccessBroker.Primitives;

/// <summary>
/// What a card or a terminal signs: a versioned purpose tag, then each field with its length (4 bytes, big-endian) before it, so that
/// no signature fits another purpose and no two lists of fields have the same bytes.
/// </summary>
public static class SignedFields
{
    /// <summary>Possession of the card, key 9E: nonce, terminal.</summary>
    public const string Possession = "accessbroker:possession:v1";
    /// <summary>Sign-in, key 9A: nonce, terminal, transaction.</summary>
    public const string SignIn = "accessbroker:sign-in:v1";

    /// <summary>Receipt of a card with a PIN of one's own, key 9A: nonce, card.</summary>
    public const string Receipt = "accessbroker:receipt:v1";
    /// <summary>A wrong PIN, key 9E: nonce, terminal, transaction, how many before it.</summary>
    public const string PinFailed = "accessbroker:pin-failed:v1";
    /// <summary>Sign-in right after the printed first PIN was replaced, key 9A: nonce, terminal, transaction.</summary>
    public const string FirstPinSet = "accessbroker:first-pin-set:v1";

    /// <summary>The bytes to sign. Never throws.</summary>
    public static byte[] Encode(string purpose, params ReadOnlySpan<string> fields)
    {
        using var bytes = new MemoryStream();
        Append(bytes, purpose);
        foreach (var field in fields) Append(bytes, field);
        return bytes.ToArray();
    }

    private static void Append(MemoryStream bytes, string field)
    {
        var text = Encoding.UTF8.GetBytes(field);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(length, text.Length);
        bytes.Write(length);
        bytes.Write(text);
    }
}
