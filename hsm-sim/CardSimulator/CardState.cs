using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace CardSimulator;

/// <summary>What a card keeps without power: its file in the drawer. Every change is on disk before the card answers.</summary>
internal sealed class CardState
{
    /// <summary>Factory values of a blank card: what the vendors of PIV cards ship.</summary>
    internal const string FactoryPin = "123456", FactoryPuk = "12345678";
    internal static readonly byte[] FactoryManagementKey = Convert.FromHexString("010203040506070801020304050607080102030405060708");

    public required string Label { get; init; }
    public required uint Serial { get; init; }
    public required byte[] CardId { get; init; }
    public byte[] Pin { get; set; } = Pad(FactoryPin);
    public byte[] Puk { get; set; } = Pad(FactoryPuk);
    public int PinLimit { get; set; } = 6;
    public int PinLeft { get; set; } = 6;
    public int PukLimit { get; set; } = 6;
    public int PukLeft { get; set; } = 6;
    public byte[] ManagementKey { get; set; } = FactoryManagementKey;
    /// <summary>Algorithm of the management key: 03 3DES, 08/0A/0C AES-128/192/256 (SP 800-78-4 table 6-2).</summary>
    public byte ManagementAlgorithm { get; set; } = 0x03;
    /// <summary>Data objects by tag: the content of the 53 template.</summary>
    public Dictionary<int, byte[]> Objects { get; init; } = [];
    /// <summary>Keys by slot (9A, 9C, 9D, 9E, 82–95): PKCS#8.</summary>
    public Dictionary<byte, StoredKey> Keys { get; init; } = [];

    internal sealed record StoredKey(byte Algorithm, byte[] Pkcs8);

    /// <summary>A blank card: a fresh CHUID, factory PIN, PUK and management key, no keys, no certificates.</summary>
    internal static CardState Blank(string label)
    {
        var id = RandomNumberGenerator.GetBytes(16);
        var card = new CardState { Label = label, Serial = BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(4)) & 0x3FFFFFFF, CardId = id };
        // FASC-N of a non-federal issuer (agency 9999), as SP 800-73-4 §3.1.2 allows; the GUID is the card's identity.
        var fascn = Convert.FromHexString("D4E739DA739CED39CE739D836858210842108421C84210C3EB");
        card.Objects[0x5FC102] = [.. Tlv.Encode(0x30, fascn), .. Tlv.Encode(0x34, id), .. Tlv.Encode(0x35, "20401231"u8), .. Tlv.Encode(0x3E, []), .. Tlv.Encode(0xFE, [])];
        card.Objects[0x5FC107] = Convert.FromHexString("F015A000000116FF02" + Convert.ToHexString(RandomNumberGenerator.GetBytes(14)) + "F10121F20121F300F40100F50110F600F700FA00FB00FC00FD00FE00");
        return card;
    }

    internal static byte[] Pad(string pin)
    {
        var block = new byte[8];
        Array.Fill(block, (byte)0xFF);
        Encoding.ASCII.GetBytes(pin).CopyTo(block, 0);
        return block;
    }

    internal static CardState Load(string path) =>
        JsonSerializer.Deserialize<CardState>(File.ReadAllBytes(path)) is { CardId.Length: 16, Pin.Length: 8, Puk.Length: 8 } card ? card : throw new JsonException($"{path}: not a card");

    /// <summary>Writes the file whole or not at all: a card pulled out or a simulator killed mid-write keeps the old state.</summary>
    internal void Save(string path)
    {
        var temporary = path + ".new";
        using (var file = new FileStream(temporary, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
        {
            JsonSerializer.Serialize(file, this);
            file.Flush(flushToDisk: false);
        }
        File.Move(temporary, path, overwrite: true);
    }
}
