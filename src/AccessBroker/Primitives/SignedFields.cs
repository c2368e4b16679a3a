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

    /// <summary>A yes to one operation, key 9C: nonce, terminal, transaction, SHA-256 (hex) of the operation's canonical form.</summary>
    public const string Approval = "accessbroker:approval:v1";

    /// <summary>An emergency stop of privileged work, key 9C: the order's text.</summary>
    public const string StopOrder = "accessbroker:stop-order:v1";

    /// <summary>The fields, the purpose first; null when the bytes are no such list.</summary>
    public static IReadOnlyList<string>? Decode(ReadOnlySpan<byte> bytes)
    {
        var fields = new List<string>();
        while (bytes.Length > 0)
        {
            if (bytes.Length < 4 || BinaryPrimitives.ReadInt32BigEndian(bytes) is var length && (length < 0 || length > bytes.Length - 4)) return null;
            fields.Add(Encoding.UTF8.GetString(bytes.Slice(4, length)));
            bytes = bytes[(4 + length)..];
        }
        return fields;
    }

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
