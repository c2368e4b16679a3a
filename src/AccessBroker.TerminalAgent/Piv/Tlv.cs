namespace AccessBroker.TerminalAgent.Piv;

/// <summary>BER-TLV as PIV uses it. What a card sends is never trusted: anything malformed is a <see cref="CardException"/>.</summary>
internal static class Tlv
{
    internal static byte[] Encode(int tag, ReadOnlySpan<byte> value)
    {
        byte[] tagBytes = tag > 0xFFFF ? [(byte)(tag >> 16), (byte)(tag >> 8), (byte)tag] : tag > 0xFF ? [(byte)(tag >> 8), (byte)tag] : [(byte)tag];
        byte[] length = value.Length < 0x80 ? [(byte)value.Length] : value.Length < 0x100 ? [0x81, (byte)value.Length] : [0x82, (byte)(value.Length >> 8), (byte)value.Length];
        return [.. tagBytes, .. length, .. value];
    }

    /// <summary>The value of the first object with this tag on this level.</summary>
    internal static byte[] Find(ReadOnlySpan<byte> data, int wanted)
    {
        while (data.Length > 0)
        {
            var tag = (int)Take(ref data);
            if ((tag & 0x1F) == 0x1F)
            {
                byte next;
                do { next = Take(ref data); tag = tag << 8 | next; } while ((next & 0x80) != 0 && tag < 0x10000);
            }
            int length = Take(ref data);
            if (length == 0x81) length = Take(ref data);
            else if (length == 0x82) length = Take(ref data) << 8 | Take(ref data);
            else if (length >= 0x80) throw new CardException("card-unreadable", "a length that PIV does not use");
            if (length > data.Length) throw new CardException("card-unreadable", "a value cut short");
            if (tag == wanted) return data[..length].ToArray();
            data = data[length..];
        }
        throw new CardException("card-unreadable", $"object {wanted:X} is missing");
    }

    private static byte Take(ref ReadOnlySpan<byte> data)
    {
        if (data.Length == 0) throw new CardException("card-unreadable", "an object cut short");
        var first = data[0];
        data = data[1..];
        return first;
    }
}

/// <summary>The card cannot be used: the cause is told to the broker (card-removed, card-unreadable, card-blocked, no-card, no-reader).</summary>
internal sealed class CardException : Exception
{
    public CardException() { }
    public CardException(string message) : base(message) { }
    public CardException(string message, Exception inner) : base(message, inner) { }
    internal CardException(string cause, string detail) : base(detail) => Cause = cause;
    internal string Cause { get; } = "card-unreadable";
}
