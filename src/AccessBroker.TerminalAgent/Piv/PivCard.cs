using System.IO.Compression;
using System.Security.Cryptography;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent.Piv;

/// <summary>
/// A PIV card (NIST SP 800-73-4 part 2) held exclusively. Not thread-safe. Throws <see cref="CardException"/>; after
/// <see cref="Reset"/> the card has forgotten every PIN.
/// </summary>
internal sealed class PivCard(IPcsc pcsc, nint card, uint protocol)
{
    internal enum Slot : byte { SignIn = 0x9A, Signature = 0x9C, Possession = 0x9E }

    private static readonly byte[] Aid = Convert.FromHexString("A000000308000010000100");
    private const byte P256 = 0x11;
    private uint _protocol = protocol;

    /// <summary>Resets the card and selects its PIV application.</summary>
    internal void Begin()
    {
        Reset();
        Require(Send(0xA4, 0x04, 0x00, Aid), "SELECT");
    }

    /// <summary>Takes the PIN back: whatever reads the card next starts from nothing.</summary>
    internal void Reset() => Guard(() => _protocol = pcsc.Reset(card));

    /// <summary>The card's GUID (CHUID, tag 34), 32 hex digits: its identity with us.</summary>
    internal string ReadId() => Tlv.Find(ReadObject(0x5FC102), 0x34) is { Length: 16 } id ? Convert.ToHexStringLower(id) : throw new CardException("card-unreadable", "the card has no GUID");

    /// <summary>The certificate of a slot, DER.</summary>
    internal byte[] ReadCertificate(Slot slot)
    {
        var content = ReadObject(CertificateTag(slot));
        var certificate = Tlv.Find(content, 0x70);
        return Tlv.Find(content, 0x71) is [1] ? Inflate(certificate) : certificate;
    }

    /// <summary>PIN tries left; 0: blocked. Costs none.</summary>
    internal int TriesLeft()
    {
        var (_, status) = Send(0x20, 0x00, 0x80, []);
        return status == 0x6983 ? 0 : (status & 0xFFF0) == 0x63C0 ? status & 0xF : throw new CardException("card-unreadable", $"VERIFY without data: {status:X4}");
    }

    /// <summary>Offers a PIN of 6 to 8 digits. True when right; a wrong one costs a try.</summary>
    internal bool Verify(ReadOnlySpan<byte> pin)
    {
        Span<byte> block = stackalloc byte[8];
        block.Fill(0xFF);
        pin.CopyTo(block);
        try
        {
            var (_, status) = Send(0x20, 0x00, 0x80, block);
            return status == 0x9000 || (status == 0x6983 || (status & 0xFFF0) == 0x63C0 ? false : throw new CardException("card-unreadable", $"VERIFY: {status:X4}"));
        }
        finally { CryptographicOperations.ZeroMemory(block); }
    }

    /// <summary>ECDSA P-256 over SHA-256 of <paramref name="data"/>, DER.</summary>
    internal byte[] Sign(Slot slot, ReadOnlySpan<byte> data)
    {
        byte[] template = Tlv.Encode(0x7C, [.. Tlv.Encode(0x82, []), .. Tlv.Encode(0x81, SHA256.HashData(data))]);
        return Tlv.Find(Tlv.Find(Require(Send(0x87, P256, (byte)slot, template), "GENERAL AUTHENTICATE"), 0x7C), 0x82);
    }

    /// <summary>Proves the management key (9B) by external authentication. <paramref name="answer"/> encrypts the card's challenge.</summary>
    internal void AuthenticateManagement(byte algorithm, Func<byte[], byte[]> answer)
    {
        var challenge = Tlv.Find(Tlv.Find(Require(Send(0x87, algorithm, 0x9B, Tlv.Encode(0x7C, Tlv.Encode(0x81, []))), "9B challenge"), 0x7C), 0x81);
        Require(Send(0x87, algorithm, 0x9B, Tlv.Encode(0x7C, Tlv.Encode(0x82, answer(challenge)))), "9B response");
    }

    /// <summary>The card's challenge for an external authentication with its management key (9B).</summary>
    internal byte[] Challenge(byte algorithm) => Send(0x87, algorithm, 0x9B, Tlv.Encode(0x7C, Tlv.Encode(0x81, []))) is { Status: 0x9000 } answer ? Tlv.Find(Tlv.Find(answer.Data, 0x7C), 0x81) : [];

    /// <summary>The answer to it. False: that is not its management key.</summary>
    internal bool Authenticate(byte algorithm, byte[] response) => Send(0x87, algorithm, 0x9B, Tlv.Encode(0x7C, Tlv.Encode(0x82, response))).Status == 0x9000;

    /// <summary>The manufacturer's number in hex (vendors' instruction F8); empty when the card has none.</summary>
    internal string ReadSerial() => Send(0xF8, 0x00, 0x00, []) is { Status: 0x9000, Data: { Length: > 0 and <= 16 } serial } ? Convert.ToHexStringLower(serial) : "";

    /// <summary>RESET RETRY COUNTER: a new PIN by the PUK. False: wrong PUK, which costs one of its tries.</summary>
    internal bool ResetPin(ReadOnlySpan<byte> puk, ReadOnlySpan<byte> pin)
    {
        Span<byte> blocks = stackalloc byte[16];
        blocks.Fill(0xFF);
        puk.CopyTo(blocks);
        pin.CopyTo(blocks[8..]);
        try
        {
            var (_, status) = Send(0x2C, 0x00, 0x80, blocks);
            return status == 0x9000 || (status == 0x6983 || (status & 0xFFF0) == 0x63C0 ? false : throw new CardException("card-unreadable", $"RESET RETRY COUNTER: {status:X4}"));
        }
        finally { CryptographicOperations.ZeroMemory(blocks); }
    }

    /// <summary>Makes a P-256 key on the card; returns its SubjectPublicKeyInfo. Needs the management key.</summary>
    internal byte[] Generate(Slot slot)
    {
        var point = Tlv.Find(Tlv.Find(Require(Send(0x47, 0x00, (byte)slot, Tlv.Encode(0xAC, Tlv.Encode(0x80, [P256]))), "GENERATE"), 0x7F49), 0x86);
        if (point.Length != 65 || point[0] != 4) throw new CardException("card-unreadable", "not a P-256 point");
        using var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = point[1..33], Y = point[33..] } });
        return key.ExportSubjectPublicKeyInfo();
    }

    /// <summary>Writes a certificate. Needs the management key.</summary>
    internal void WriteCertificate(Slot slot, byte[] der)
    {
        byte[] content = [.. Tlv.Encode(0x70, der), .. Tlv.Encode(0x71, [0]), .. Tlv.Encode(0xFE, [])];
        Require(Send(0xDB, 0x3F, 0xFF, [.. Tlv.Encode(0x5C, TagBytes(CertificateTag(slot))), .. Tlv.Encode(0x53, content)]), "PUT DATA");
    }

    /// <summary>CHANGE REFERENCE DATA: the PIN. Both 6 to 8 digits.</summary>
    internal void ChangePin(ReadOnlySpan<byte> current, ReadOnlySpan<byte> changed) => ChangeReference(0x80, current, changed);

    /// <summary>CHANGE REFERENCE DATA: the PUK, 8 bytes.</summary>
    internal void ChangePuk(ReadOnlySpan<byte> current, ReadOnlySpan<byte> changed) => ChangeReference(0x81, current, changed);

    /// <summary>Sets the management key to AES-256. Vendors' instruction FF, as the YubiKey has it. Needs the current one.</summary>
    internal void ChangeManagementKey(byte[] aes256) => Require(Send(0xFF, 0xFF, 0xFF, [0x0C, 0x9B, 0x20, .. aes256]), "SET MANAGEMENT KEY");

    private void ChangeReference(byte which, ReadOnlySpan<byte> current, ReadOnlySpan<byte> changed)
    {
        Span<byte> blocks = stackalloc byte[16];
        blocks.Fill(0xFF);
        current.CopyTo(blocks);
        changed.CopyTo(blocks[8..]);
        try { Require(Send(0x24, 0x00, which, blocks), "CHANGE REFERENCE DATA"); }
        finally { CryptographicOperations.ZeroMemory(blocks); }
    }

    private byte[] ReadObject(int tag) => Tlv.Find(Require(Send(0xCB, 0x3F, 0xFF, Tlv.Encode(0x5C, TagBytes(tag))), "GET DATA"), 0x53);

    private static byte[] TagBytes(int tag) => [(byte)(tag >> 16), (byte)(tag >> 8), (byte)tag];

    private static int CertificateTag(Slot slot) => slot switch { Slot.SignIn => 0x5FC105, Slot.Signature => 0x5FC10A, Slot.Possession => 0x5FC101, _ => throw new ArgumentOutOfRangeException(nameof(slot)) };

    private static byte[] Require((byte[] Data, int Status) answer, string what) => answer.Status == 0x9000 ? answer.Data : throw new CardException("card-unreadable", $"{what}: {answer.Status:X4}");

    /// <summary>One command: chained when it is long (ISO 7816-4), its response fetched to the end, at most 16 KiB.</summary>
    private (byte[] Data, int Status) Send(byte instruction, byte p1, byte p2, ReadOnlySpan<byte> data)
    {
        while (data.Length > 255)
        {
            Require(Split(Transmit([0x10, instruction, p1, p2, 0xFF, .. data[..255]])), "command chaining");
            data = data[255..];
        }
        byte[] command = data.Length == 0 ? [0x00, instruction, p1, p2] : [0x00, instruction, p1, p2, (byte)data.Length, .. data, 0x00];
        var (response, status) = Split(Transmit(command));
        CryptographicOperations.ZeroMemory(command);
        while (status >> 8 == 0x61)
        {
            if (response.Length > 16_384) throw new CardException("card-unreadable", "an endless response");
            var (more, next) = Split(Transmit([0x00, 0xC0, 0x00, 0x00, (byte)status]));
            (response, status) = ([.. response, .. more], next);
        }
        return (response, status);
    }

    private byte[] Transmit(ReadOnlySpan<byte> command)
    {
        try { return pcsc.Transmit(card, _protocol, command); }
        catch (PcscException e) { throw new CardException(e.Gone ? "card-removed" : "card-unreadable", e.Message); }
    }

    private static void Guard(Action act)
    {
        try { act(); }
        catch (PcscException e) { throw new CardException(e.Gone ? "card-removed" : "card-unreadable", e.Message); }
    }

    private static (byte[], int) Split(byte[] response) =>
        response.Length >= 2 ? (response[..^2], response[^2] << 8 | response[^1]) : throw new CardException("card-unreadable", "a response without status");

    private static byte[] Inflate(byte[] gzip)
    {
        try
        {
            using var stream = new GZipStream(new MemoryStream(gzip), CompressionMode.Decompress);
            var buffer = new byte[8_192];
            var length = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            return length < buffer.Length ? buffer[..length] : throw new CardException("card-unreadable", "a certificate too large");
        }
        catch (InvalidDataException e) { throw new CardException("card-unreadable", e.Message); }
    }
}
