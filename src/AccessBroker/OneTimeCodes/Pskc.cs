using System.Globalization;
using System.Security.Cryptography;
using System.Xml;
using System.Xml.Linq;

namespace AccessBroker.OneTimeCodes;

/// <summary>One token of a key container.</summary>
public sealed record PskcToken(string Serial, string Manufacturer, byte[] Seed, int Digits, HashAlgorithmName Algorithm, TimeSpan Period);

/// <summary>A container that cannot be taken: what is wrong, and of which token.</summary>
public sealed class PskcException : Exception
{
    public PskcException() { }
    public PskcException(string message) : base(message) { }
    public PskcException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>
/// RFC 6030 key containers as vendors of hardware tokens ship them: TOTP keys, plain (§4) or encrypted with AES-128-CBC under a pre-shared key with
/// HMAC-SHA-1 over the cipher text (§6.1). Nothing else is taken; nothing of a container with a fault is taken.
/// </summary>
public static class Pskc
{
    private static readonly XNamespace Container = "urn:ietf:params:xml:ns:keyprov:pskc", Encryption = "http://www.w3.org/2001/04/xmlenc#";
    private const string Totp = "urn:ietf:params:xml:ns:keyprov:pskc:totp", Hotp = "urn:ietf:params:xml:ns:keyprov:pskc:hotp";
    private const string Aes128Cbc = "http://www.w3.org/2001/04/xmlenc#aes128-cbc", HmacSha1 = "http://www.w3.org/2000/09/xmldsig#hmac-sha1";
    /// <summary>Ours: 4 MiB, 10,000 tokens, elements in 16 levels.</summary>
    public const int MostBytes = 4 * 1024 * 1024, MostTokens = 10_000, MostDepth = 16;

    /// <summary>The tokens. Throws <see cref="PskcException"/>.</summary>
    /// <param name="preSharedKey">16 bytes that came by another way; null: only plain values are taken.</param>
    public static IReadOnlyList<PskcToken> Read(byte[] file, byte[]? preSharedKey)
    {
        if (file.Length > MostBytes) throw new PskcException($"larger than {MostBytes} bytes");
        XElement root;
        try
        {
            var settings = new XmlReaderSettings { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, MaxCharactersInDocument = MostBytes };
            // Deep nesting costs the tree more than its size says.
            using (var first = XmlReader.Create(new MemoryStream(file), settings)) while (first.Read()) if (first.Depth > MostDepth) throw new PskcException($"nested deeper than {MostDepth}");
            using var reader = XmlReader.Create(new MemoryStream(file), settings);
            root = XElement.Load(reader);
        }
        catch (XmlException e) { throw new PskcException("not well-formed XML", e); }
        if (root.Name != Container + "KeyContainer" || (string?)root.Attribute("Version") is not ("1.0" or "1")) throw new PskcException("not a KeyContainer of version 1.0 (RFC 6030)");
        var macKey = root.Element(Container + "MACMethod") is { } mac ? MacKey(mac, preSharedKey) : null;
        var tokens = new List<PskcToken>();
        foreach (var package in root.Elements(Container + "KeyPackage"))
        {
            if (tokens.Count == MostTokens) throw new PskcException($"more than {MostTokens} tokens");
            tokens.Add(ReadPackage(package, preSharedKey, macKey));
        }
        if (tokens.Count == 0) throw new PskcException("no KeyPackage");
        if (tokens.GroupBy(t => t.Serial).FirstOrDefault(g => g.Count() > 1) is { } twice) throw new PskcException($"serial number {twice.Key} stands twice");
        return tokens;
    }

    private static PskcToken ReadPackage(XElement package, byte[]? preSharedKey, byte[]? macKey)
    {
        var device = package.Element(Container + "DeviceInfo");
        var serial = device?.Element(Container + "SerialNo")?.Value.Trim() ?? "";
        if (serial.Length is 0 or > 40 || !serial.All(c => char.IsAsciiLetterOrDigit(c) || c == '-')) throw new PskcException("a token without a usable serial number");
        if (package.Element(Container + "Key") is not { } key) throw new PskcException($"token {serial}: no Key");
        if ((string?)key.Attribute("Algorithm") is var algorithm && algorithm != Totp) throw new PskcException(algorithm == Hotp ? $"token {serial}: counter tokens (HOTP) are not supported" : $"token {serial}: not a TOTP key");
        var parameters = key.Element(Container + "AlgorithmParameters");
        var suite = parameters?.Element(Container + "Suite")?.Value.Trim() ?? "HMAC-SHA1";
        var response = parameters?.Element(Container + "ResponseFormat");
        var digits = Number(response?.Attribute("Length")?.Value, serial, "ResponseFormat/Length");
        if ((string?)response?.Attribute("Encoding") != "DECIMAL" || digits is < 6 or > 8) throw new PskcException($"token {serial}: only 6 to 8 decimal digits");
        var data = key.Element(Container + "Data");
        var period = Number(data?.Element(Container + "TimeInterval")?.Element(Container + "PlainValue")?.Value ?? "30", serial, "TimeInterval");
        if (period is < 15 or > 120) throw new PskcException($"token {serial}: TimeInterval {period}");
        var seed = Secret(data?.Element(Container + "Secret"), serial, preSharedKey, macKey);
        if (seed.Length is < 16 or > 64) throw new PskcException($"token {serial}: a seed of {seed.Length} bytes (RFC 4226 R6: 16 at least)");
        var maker = device?.Element(Container + "Manufacturer")?.Value.Trim() ?? "";
        return new(serial, maker.Length <= 100 && People.FreeText.Fits(maker) ? maker : throw new PskcException($"token {serial}: Manufacturer"), seed, digits, suite switch { "HMAC-SHA1" or "HMAC-SHA-1" => HashAlgorithmName.SHA1, "HMAC-SHA256" or "HMAC-SHA-256" => HashAlgorithmName.SHA256, "HMAC-SHA512" or "HMAC-SHA-512" => HashAlgorithmName.SHA512, _ => throw new PskcException($"token {serial}: suite {suite}") }, TimeSpan.FromSeconds(period));
    }

    private static byte[] Secret(XElement? secret, string serial, byte[]? preSharedKey, byte[]? macKey)
    {
        if (secret?.Element(Container + "PlainValue") is { } plain) return Base64(plain.Value, serial);
        if (secret?.Element(Container + "EncryptedValue") is not { } encrypted) throw new PskcException($"token {serial}: no Secret");
        // §6.1: authenticated, or not taken at all.
        if (macKey is null || secret.Element(Container + "ValueMAC") is not { } mac) throw new PskcException($"token {serial}: encrypted without a MAC");
        var cipher = Cipher(encrypted, serial);
#pragma warning disable CA5350 // The MAC that RFC 6030 §6 names.
        if (!CryptographicOperations.FixedTimeEquals(HMACSHA1.HashData(macKey, cipher), Base64(mac.Value, serial))) throw new PskcException($"token {serial}: the MAC does not fit");
#pragma warning restore CA5350
        return Decrypt(cipher, preSharedKey, serial);
    }

    private static byte[] MacKey(XElement method, byte[]? preSharedKey)
    {
        if ((string?)method.Attribute("Algorithm") != HmacSha1) throw new PskcException("only HMAC-SHA-1 as MACMethod");
        return method.Element(Container + "MACKey") is { } key ? Decrypt(Cipher(key, "MACKey"), preSharedKey, "MACKey") : preSharedKey ?? throw new PskcException("the container is encrypted: its key is needed");
    }

    private static byte[] Cipher(XElement encrypted, string what)
    {
        if ((string?)encrypted.Element(Encryption + "EncryptionMethod")?.Attribute("Algorithm") != Aes128Cbc) throw new PskcException($"{what}: only AES-128-CBC");
        return Base64(encrypted.Element(Encryption + "CipherData")?.Element(Encryption + "CipherValue")?.Value ?? "", what);
    }

    private static byte[] Decrypt(byte[] cipher, byte[]? key, string what)
    {
        if (key is not { Length: 16 }) throw new PskcException("the container is encrypted: its key of 16 bytes is needed");
        if (cipher.Length < 32 || cipher.Length % 16 != 0) throw new PskcException($"{what}: the cipher text is no AES-CBC");
        using var aes = Aes.Create();
        aes.Key = key;
        try { return aes.DecryptCbc(cipher.AsSpan(16), cipher.AsSpan(0, 16), PaddingMode.PKCS7); }
        catch (CryptographicException e) { throw new PskcException($"{what}: the key does not fit", e); }
    }

    private static byte[] Base64(string text, string what)
    {
        try { return Convert.FromBase64String(text.Trim()); }
        catch (FormatException e) { throw new PskcException($"{what}: no base64", e); }
    }

    private static int Number(string? text, string serial, string what) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw new PskcException($"token {serial}: {what} is missing or no number");
}
