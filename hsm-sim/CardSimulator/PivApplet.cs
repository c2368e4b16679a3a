using System.Security.Cryptography;

namespace CardSimulator;

/// <summary>
/// The PIV card application (NIST SP 800-73-4 part 2) of one card, plus the few vendor instructions with which blank cards are
/// prepared (set management key, set PIN limits, serial, version). One instance = one card; not thread-safe: a reader sends one APDU at a time.
/// </summary>
internal sealed partial class PivApplet(CardState card, Action save)
{
    private static readonly byte[] Aid = Convert.FromHexString("A000000308000010000100");
    private const int Ok = 0x9000, WrongLength = 0x6700, SecurityStatus = 0x6982, Blocked = 0x6983, ConditionsNotSatisfied = 0x6985,
        BadData = 0x6A80, NotFound = 0x6A82, BadParameters = 0x6A86, ReferenceNotFound = 0x6A88, BadInstruction = 0x6D00, BadClass = 0x6E00;

    private bool _selected, _pinVerified, _pinJustVerified, _managed;
    private byte[]? _witness, _challenge;
    private byte[] _chained = [], _response = [];

    /// <summary>Answer to reset: T=1, the standard's historical bytes.</summary>
    internal static byte[] Atr { get; } = MakeAtr();

    /// <summary>Power on or reset: every security state is gone.</summary>
    internal void Reset()
    {
        (_selected, _pinVerified, _pinJustVerified, _managed) = (false, false, false, false);
        (_witness, _challenge, _chained, _response) = (null, null, [], []);
    }

    /// <summary>Answers one command APDU. Never throws: anything malformed is a status word.</summary>
    internal byte[] Transmit(ReadOnlySpan<byte> apdu)
    {
        if (apdu.Length < 4) return Status(WrongLength);
        if ((apdu[0] & 0xEF) != 0) return Status(BadClass);
        if (!TryReadBody(apdu, out var data, out var expected)) return Status(WrongLength);
        if (apdu[1] == 0xC0) return NextPart(expected);
        if ((apdu[0] & 0x10) != 0)
        {
            if (_chained.Length + data.Length > 16_384) { _chained = []; return Status(WrongLength); }
            _chained = [.. _chained, .. data];
            return Status(Ok);
        }
        if (_chained.Length > 0) (data, _chained) = ([.. _chained, .. data], []);
        _response = [];
        var (response, status) = Run(apdu[1], apdu[2], apdu[3], data);
        if (response.Length == 0) return Status(status);
        _response = response;
        return NextPart(expected);
    }

    private (byte[] Response, int Status) Run(byte instruction, byte p1, byte p2, byte[] data)
    {
        if (instruction == 0xA4) return Select(p1, data);
        if (!_selected) return ([], BadInstruction);
        var justVerified = _pinJustVerified;
        if (instruction != 0x20) _pinJustVerified = false;
        try
        {
            return instruction switch
            {
                0xCB => p1 == 0x3F && p2 == 0xFF ? GetData(data) : ([], BadParameters),
                0xDB => p1 == 0x3F && p2 == 0xFF ? ([], PutData(data)) : ([], BadParameters),
                0x20 => ([], Verify(p1, p2, data)),
                0x24 => ([], ChangeReferenceData(p2, data)),
                0x2C => ([], ResetRetryCounter(p2, data)),
                0x87 => GeneralAuthenticate(p1, p2, data, justVerified),
                0x47 => Generate(p2, data),
                0xFF => ([], SetManagementKey(data)),
                0xFA => ([], SetPinLimits(p1, p2)),
                0xFD => ([5, 2, 7], Ok),
                0xF8 => ([(byte)(card.Serial >> 24), (byte)(card.Serial >> 16), (byte)(card.Serial >> 8), (byte)card.Serial], Ok),
                _ => ([], BadInstruction),
            };
        }
        catch (Exception e) when (e is FormatException or CryptographicException or KeyNotFoundException or ArgumentException or IndexOutOfRangeException)
        {
            return ([], BadData);
        }
    }

    private (byte[], int) Select(byte p1, byte[] name)
    {
        if (p1 != 4 || name.Length is < 5 or > 11 || !Aid.AsSpan(0, name.Length).SequenceEqual(name)) return ([], NotFound);
        if (!_selected) (_pinVerified, _managed) = (false, false);
        _selected = true;
        return (Tlv.Encode(0x61, [.. Tlv.Encode(0x4F, Aid.AsSpan(5)), .. Tlv.Encode(0x79, Tlv.Encode(0x4F, Aid.AsSpan(0, 5))), .. Tlv.Encode(0x50, "Simulated PIV card"u8)]), Ok);
    }

    private (byte[], int) GetData(byte[] data)
    {
        var tag = ReadTag(Tlv.Parse(data)[0].Value);
        if (tag == 0x7E) return (Tlv.Encode(0x7E, [.. Tlv.Encode(0x4F, Aid), .. Tlv.Encode(0x5F2F, [0x40, 0x00])]), Ok);
        // Printed information, face image, fingerprints are read only after the PIN (SP 800-73-4 part 1 table 2).
        if (tag is 0x5FC109 or 0x5FC108 or 0x5FC103 && !_pinVerified) return ([], SecurityStatus);
        return card.Objects.TryGetValue(tag, out var value) ? (Tlv.Encode(0x53, value), Ok) : ([], NotFound);
    }

    private int PutData(byte[] data)
    {
        if (!_managed) return SecurityStatus;
        var parts = Tlv.Parse(data);
        if (parts.Count != 2 || parts[1].Tag != 0x53) return BadData;
        var tag = ReadTag(parts[0].Value);
        if (parts[1].Value.Length == 0) card.Objects.Remove(tag);
        else card.Objects[tag] = parts[1].Value;
        save();
        return Ok;
    }

    private int SetManagementKey(byte[] data)
    {
        if (!_managed) return SecurityStatus;
        if (data.Length < 3 || data[1] != 0x9B || data.Length != 3 + data[2]) return BadData;
        var expected = data[0] switch { 0x03 or 0x0A => 24, 0x08 => 16, 0x0C => 32, _ => 0 };
        if (data[2] != expected) return BadData;
        (card.ManagementAlgorithm, card.ManagementKey) = (data[0], data[3..]);
        save();
        return Ok;
    }

    private int SetPinLimits(byte pin, byte puk)
    {
        if (!_managed || !_pinVerified) return SecurityStatus;
        if (pin == 0 || puk == 0) return BadData;
        (card.PinLimit, card.PinLeft, card.PukLimit, card.PukLeft) = (pin, pin, puk, puk);
        (card.Pin, card.Puk) = (CardState.Pad(CardState.FactoryPin), CardState.Pad(CardState.FactoryPuk));
        save();
        return Ok;
    }

    private static int ReadTag(byte[] tag) => tag.Length is >= 1 and <= 3 ? tag.Aggregate(0, (sum, b) => sum << 8 | b) : throw new FormatException("tag");

    private byte[] NextPart(int expected)
    {
        if (_response.Length == 0) return Status(ConditionsNotSatisfied);
        var part = _response[..Math.Min(expected, _response.Length)];
        _response = _response[part.Length..];
        return [.. part, .. Status(_response.Length == 0 ? Ok : 0x6100 | Math.Min(_response.Length, 0xFF))];
    }

    private static bool TryReadBody(ReadOnlySpan<byte> apdu, out byte[] data, out int expected)
    {
        (data, expected) = ([], 256);
        if (apdu.Length == 4) return true;
        if (apdu.Length == 5) { expected = apdu[4] == 0 ? 256 : apdu[4]; return true; }
        if (apdu[4] != 0) return TryTake(apdu[5..], apdu[4], out data, ref expected);
        if (apdu.Length < 7) return false;
        var length = apdu[5] << 8 | apdu[6];
        if (apdu.Length == 7) { expected = length == 0 ? 65_536 : length; return true; }
        expected = 65_536;
        return TryTake(apdu[7..], length, out data, ref expected);
    }

    private static bool TryTake(ReadOnlySpan<byte> rest, int length, out byte[] data, ref int expected)
    {
        data = [];
        if (rest.Length < length) return false;
        data = rest[..length].ToArray();
        if (rest.Length == length + 1) expected = rest[length] == 0 ? 256 : rest[length];
        return rest.Length <= length + 2;
    }

    private static byte[] Status(int word) => [(byte)(word >> 8), (byte)word];

    private static byte[] MakeAtr()
    {
        byte[] historical = [0x80, 0x31, 0xC0, 0x64, .. "SimPIV1"u8];
        byte[] body = [(byte)(0x80 | historical.Length), 0x80, 0x01, .. historical];
        return [0x3B, .. body, body.Aggregate((byte)0, (sum, b) => (byte)(sum ^ b))];
    }
}
