using System.Buffers.Binary;

namespace CardSimulator;

/// <summary>BER-TLV as SP 800-73-4 uses it: tags of 1 to 3 bytes, definite lengths up to 65,535.</summary>
internal static class Tlv
{
    /// <summary>Encodes one data object.</summary>
    internal static byte[] Encode(int tag, ReadOnlySpan<byte> value)
    {
        Span<byte> tagBytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(tagBytes, tag);
        var start = tag > 0xFFFF ? 1 : tag > 0xFF ? 2 : 3;
        byte[] length = value.Length switch
        {
            < 0x80 => [(byte)value.Length],
            < 0x100 => [0x81, (byte)value.Length],
            _ => [0x82, (byte)(value.Length >> 8), (byte)value.Length],
        };
        return [.. tagBytes[start..], .. length, .. value];
    }

    /// <summary>Reads all objects of one level. Throws <see cref="FormatException"/> on anything malformed.</summary>
    internal static List<(int Tag, byte[] Value)> Parse(ReadOnlySpan<byte> data)
    {
        var objects = new List<(int, byte[])>();
        while (data.Length > 0)
        {
            int tag = Take(ref data);
            if ((tag & 0x1F) == 0x1F)
            {
                byte next;
                do { next = Take(ref data); tag = tag << 8 | next; } while ((next & 0x80) != 0 && tag < 0x10000);
            }
            int length = Take(ref data);
            if (length == 0x81) length = Take(ref data);
            else if (length == 0x82) length = Take(ref data) << 8 | Take(ref data);
            else if (length >= 0x80) throw new FormatException("TLV length");
            if (length > data.Length) throw new FormatException("TLV value cut short");
            objects.Add((tag, data[..length].ToArray()));
            data = data[length..];
        }
        return objects;
    }

    private static byte Take(ref ReadOnlySpan<byte> data)
    {
        if (data.Length == 0) throw new FormatException("TLV cut short");
        var first = data[0];
        data = data[1..];
        return first;
    }
}
