using System.Security.Cryptography;
using System.Text;
using AccessBroker.OneTimeCodes;

namespace AccessBroker.Tests.OneTimeCodes;

/// <summary>One-time codes by the standards' own vectors, and the rule that takes one.</summary>
public sealed class TotpTests
{
    private static readonly byte[] Seed = "12345678901234567890"u8.ToArray();
    private static byte[] Repeated(int length) => [.. Enumerable.Range(0, length).Select(i => Seed[i % 20])];

    /// <summary>RFC 4226, appendix D.</summary>
    [Theory]
    [InlineData(0, "755224"), InlineData(1, "287082"), InlineData(2, "359152"), InlineData(3, "969429"), InlineData(4, "338314"), InlineData(5, "254676"), InlineData(6, "287922"), InlineData(7, "162583"), InlineData(8, "399871"), InlineData(9, "520489")]
    public void Rfc_4226(long counter, string code) => Assert.Equal(code, Totp.Hotp(Seed, counter, 6, HashAlgorithmName.SHA1));

    /// <summary>RFC 6238, appendix B.</summary>
    [Theory]
    [InlineData(59, "94287082", "46119246", "90693936"), InlineData(1111111109, "07081804", "68084774", "25091201"), InlineData(1111111111, "14050471", "67062674", "99943326"),
     InlineData(1234567890, "89005924", "91819424", "93441116"), InlineData(2000000000, "69279037", "90698825", "38618901"), InlineData(20000000000, "65353130", "77737706", "47863826")]
    public void Rfc_6238(long seconds, string sha1, string sha256, string sha512)
    {
        var step = Totp.StepAt(DateTimeOffset.FromUnixTimeSeconds(seconds), TimeSpan.FromSeconds(30));
        Assert.Equal((sha1, sha256, sha512), (Totp.Hotp(Seed, step, 8, HashAlgorithmName.SHA1), Totp.Hotp(Repeated(32), step, 8, HashAlgorithmName.SHA256), Totp.Hotp(Repeated(64), step, 8, HashAlgorithmName.SHA512)));
    }

    /// <summary>RFC 4648 §10, without padding.</summary>
    [Theory, InlineData("", ""), InlineData("f", "MY"), InlineData("fo", "MZXQ"), InlineData("foo", "MZXW6"), InlineData("foob", "MZXW6YQ"), InlineData("fooba", "MZXW6YTB"), InlineData("foobar", "MZXW6YTBOI")]
    public void Rfc_4648(string text, string expected) => Assert.Equal(expected, Base32.Encode(Encoding.ASCII.GetBytes(text)));

    private static readonly DateTimeOffset Noon = new(2026, 11, 21, 3, 0, 0, TimeSpan.Zero);
    private static OneTimeToken Token(long lastStep = 0, int drift = 0) => new(6, HashAlgorithmName.SHA1, TimeSpan.FromSeconds(30), lastStep, drift);
    private static string CodeAt(DateTimeOffset at) => Totp.Hotp(Seed, Totp.StepAt(at, TimeSpan.FromSeconds(30)), 6, HashAlgorithmName.SHA1);

    /// <summary>The window is ±1 step around where the token's clock is expected; the drift is learnt within ±4 steps.</summary>
    [Theory]
    [InlineData(0, 0, true), InlineData(-30, 0, true), InlineData(30, 0, true), InlineData(-60, 0, false), InlineData(60, 0, false), InlineData(-90, 0, false), InlineData(90, 0, false), InlineData(90, 2, true), InlineData(-90, -2, true), InlineData(150, 4, true), InlineData(180, 9, false), InlineData(0, 4, false)]
    public void The_window_and_the_learnt_drift(int tokenAhead, int known, bool accepted)
    {
        var found = OneTimeCodeRule.Accept(Seed, Token(drift: known), CodeAt(Noon.AddSeconds(tokenAhead)), Noon, 1, 4);
        Assert.Equal(accepted, found is not null);
        if (found is { } step) Assert.Equal(Math.Clamp(tokenAhead / 30, -4, 4), step.Drift);
    }

    [Fact]
    public void A_code_is_taken_once_and_no_earlier_one_after_it()
    {
        var step = OneTimeCodeRule.Accept(Seed, Token(), CodeAt(Noon), Noon, 1, 4)!.Value.Step;
        Assert.Null(OneTimeCodeRule.Accept(Seed, Token(step), CodeAt(Noon), Noon, 1, 4));
        Assert.Null(OneTimeCodeRule.Accept(Seed, Token(step), CodeAt(Noon.AddSeconds(-30)), Noon, 1, 4));
        Assert.NotNull(OneTimeCodeRule.Accept(Seed, Token(step), CodeAt(Noon.AddSeconds(30)), Noon, 1, 4));
        foreach (var wrong in (string[])["", "000000", "１２３４５６", CodeAt(Noon)[..5], CodeAt(Noon) + "0"]) Assert.Null(OneTimeCodeRule.Accept(Seed, Token(), wrong, Noon, 1, 4));
    }
}

/// <summary>Key containers of hardware tokens: the standard's own example, and everything that must not be taken.</summary>
public sealed class PskcTests
{
    /// <summary>A megabyte of nesting must not cost minutes.</summary>
    [Fact]
    public void Deep_nesting_is_refused_before_a_tree_is_built() =>
        Assert.Contains("nested", Assert.Throws<PskcException>(() => Pskc.Read(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("<a>", 150_000)) + string.Concat(Enumerable.Repeat("</a>", 150_000))), null)).Message, StringComparison.Ordinal);

    private static readonly byte[] Key = Convert.FromHexString("12345678901234567890123456789012");

    private static string Container(string secret, string mac = "", string algorithm = "urn:ietf:params:xml:ns:keyprov:pskc:totp", string serial = "987654321", string more = "") => $"""
        <?xml version="1.0" encoding="UTF-8"?>
        <KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc" xmlns:xenc="http://www.w3.org/2001/04/xmlenc#">
          {mac}
          <KeyPackage><DeviceInfo><Manufacturer>Manufacturer</Manufacturer><SerialNo>{serial}</SerialNo></DeviceInfo>
            <Key Id="12345678" Algorithm="{algorithm}"><Issuer>Issuer</Issuer><AlgorithmParameters><ResponseFormat Length="8" Encoding="DECIMAL"/></AlgorithmParameters>
              <Data><Secret>{secret}</Secret><TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data></Key></KeyPackage>{more}
        </KeyContainer>
        """;

    private static string Encrypted(string cipher) => $"<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#aes128-cbc\"/><xenc:CipherData><xenc:CipherValue>{cipher}</xenc:CipherValue></xenc:CipherData>";

    // RFC 6030, figure 6: key, MAC key and value.
    private const string Cipher = "AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv", MacKeyCipher = "ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX", Mac = "Su+NvtQfmvfJzF6bmQiJqoLRExc=";
    private static readonly string Method = $"<MACMethod Algorithm=\"http://www.w3.org/2000/09/xmldsig#hmac-sha1\"><MACKey>{Encrypted(MacKeyCipher)}</MACKey></MACMethod>";
    private static string Secret(string cipher = Cipher, string mac = Mac) => $"<EncryptedValue>{Encrypted(cipher)}</EncryptedValue><ValueMAC>{mac}</ValueMAC>";

    private static IReadOnlyList<PskcToken> Read(string xml, byte[]? key = null) => Pskc.Read(Encoding.UTF8.GetBytes(xml), key);

    [Fact]
    public void The_encrypted_example_of_rfc_6030_and_a_plain_one_give_the_seed()
    {
        var token = Assert.Single(Read(Container(Secret(), Method), Key));
        Assert.Equal("12345678901234567890", Encoding.ASCII.GetString(token.Seed));
        Assert.Equal(("987654321", "Manufacturer", 8, TimeSpan.FromSeconds(30)), (token.Serial, token.Manufacturer, token.Digits, token.Period));
        Assert.Equal(token.Seed, Assert.Single(Read(Container("<PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue>"))).Seed);
    }

    [Fact]
    public void What_is_damaged_unauthenticated_foreign_or_doubled_is_not_taken()
    {
        void Refused(string said, string xml, byte[]? key = null) => Assert.Contains(said, Assert.Throws<PskcException>(() => Read(xml, key)).Message, StringComparison.Ordinal);
        const string plain = "<PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue>";
        Refused("MAC does not fit", Container(Secret(mac: "SvANvtQfmvfJzF6bmQiJqoLRExc="), Method), Key);
        Refused("MAC does not fit", Container(Secret(cipher: "BAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv"), Method), Key);
        Refused("without a MAC", Container($"<EncryptedValue>{Encrypted(Cipher)}</EncryptedValue>", Method), Key);
        Refused("key of 16 bytes", Container(Secret(), Method));
        Refused("MACKey", Container(Secret(), Method), [.. Key.Reverse()]);
        Refused("HOTP", Container(plain, algorithm: "urn:ietf:params:xml:ns:keyprov:pskc:hotp"));
        Refused("not a TOTP", Container(plain, algorithm: "urn:example"));
        Refused("serial number", Container(plain, serial: "=1+1"));
        Refused("twice", Container(plain, more: Container(plain)[Container(plain).IndexOf("<KeyPackage>", StringComparison.Ordinal)..].Replace("</KeyContainer>", "", StringComparison.Ordinal)));
        Refused("4 bytes", Container("<PlainValue>MTIzNA==</PlainValue>"));
        Refused("base64", Container("<PlainValue>%%%</PlainValue>"));
        Refused("no Secret", Container(""));
        Refused("not well-formed", "<KeyContainer");
        Refused("not a KeyContainer", "<a/>");
        Refused("not well-formed", "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">&x;</KeyContainer>");
        Refused("no KeyPackage", "<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\"/>");
    }
}
