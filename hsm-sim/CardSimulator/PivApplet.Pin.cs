using System.Security.Cryptography;

namespace CardSimulator;

/// <content>VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER (SP 800-73-4 part 2, §3.2.1 to §3.2.3).</content>
internal sealed partial class PivApplet
{
    private int Verify(byte p1, byte p2, byte[] data)
    {
        if (p2 != 0x80) return ReferenceNotFound;
        if (p1 == 0xFF) { _pinVerified = _pinJustVerified = false; return Ok; }
        if (p1 != 0) return BadParameters;
        if (data.Length == 0) return _pinVerified ? Ok : card.PinLeft == 0 ? Blocked : 0x63C0 | card.PinLeft;
        // A PIN of the wrong form costs no try.
        if (!IsPinBlock(data)) return BadData;
        if (card.PinLeft == 0) return Blocked;
        if (CryptographicOperations.FixedTimeEquals(data, card.Pin))
        {
            card.PinLeft = card.PinLimit;
            save();
            _pinVerified = _pinJustVerified = true;
            return Ok;
        }
        return PinFailed();
    }

    private int ChangeReferenceData(byte p2, byte[] data)
    {
        if (p2 is not (0x80 or 0x81)) return ReferenceNotFound;
        if (data.Length != 16) return BadData;
        var (current, changed) = (data[..8], data[8..]);
        if (p2 == 0x80)
        {
            if (!IsPinBlock(changed)) return BadData;
            if (card.PinLeft == 0) return Blocked;
            if (!CryptographicOperations.FixedTimeEquals(current, card.Pin)) return PinFailed();
            (card.Pin, card.PinLeft) = (changed, card.PinLimit);
        }
        else
        {
            if (card.PukLeft == 0) return Blocked;
            if (!CryptographicOperations.FixedTimeEquals(current, card.Puk)) return PukFailed();
            (card.Puk, card.PukLeft) = (changed, card.PukLimit);
        }
        save();
        return Ok;
    }

    private int ResetRetryCounter(byte p2, byte[] data)
    {
        if (p2 != 0x80) return ReferenceNotFound;
        if (data.Length != 16 || !IsPinBlock(data.AsSpan(8))) return BadData;
        if (card.PukLeft == 0) return Blocked;
        if (!CryptographicOperations.FixedTimeEquals(data.AsSpan(0, 8), card.Puk)) return PukFailed();
        (card.PukLeft, card.PinLeft, card.Pin) = (card.PukLimit, card.PinLimit, data[8..]);
        save();
        _pinVerified = false;
        return Ok;
    }

    private int PinFailed()
    {
        card.PinLeft--;
        save();
        _pinVerified = _pinJustVerified = false;
        return card.PinLeft == 0 ? Blocked : 0x63C0 | card.PinLeft;
    }

    private int PukFailed()
    {
        card.PukLeft--;
        save();
        return card.PukLeft == 0 ? Blocked : 0x63C0 | card.PukLeft;
    }

    /// <summary>6 to 8 decimal digits, padded with FF to 8 bytes (SP 800-73-4 part 2 §2.4.3).</summary>
    private static bool IsPinBlock(ReadOnlySpan<byte> block)
    {
        if (block.Length != 8) return false;
        var digits = block.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        if (digits < 0) return true;
        return digits >= 6 && !block[digits..].ContainsAnyExcept((byte)0xFF);
    }
}
