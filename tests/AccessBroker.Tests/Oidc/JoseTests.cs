using System.Security.Cryptography;
using System.Text.Json;
using AccessBroker.Oidc.Jose;
using FsCheck;
using FsCheck.Fluent;

namespace AccessBroker.Tests.Oidc;

/// <summary>Project Wycheproof's vectors (Apache-2.0): what a signature verifier must accept, and above all refuse.</summary>
public sealed class JoseTests
{
    private static JsonElement Read(string file) => JsonElement.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Vectors", file)));

    [Fact]
    public void Wycheproof_json_web_signatures()
    {
        var accepted = new List<int>();
        foreach (var group in Read("wp_json_web_signature.json").GetProperty("testGroups").EnumerateArray())
        {
            var key = group.TryGetProperty("public", out var given) ? given : group.GetProperty("private");
            foreach (var test in group.GetProperty("tests").EnumerateArray())
            {
                var token = test.GetProperty("jws").ValueKind == JsonValueKind.String ? test.GetProperty("jws").GetString()! : "";
                var verified = CompactJws.Verify(token, key) is not null;
                if (verified) accepted.Add(test.GetProperty("tcId").GetInt32());
            }
        }
        // Every valid ES256 and PS256 vector, and not one more: other algorithms are refused, and so are the two that only lax base64 decoders call valid.
        Assert.Equal([18, 272, 273, 274, 275, 287, 288, 378], accepted);
    }

    [Fact]
    public void Wycheproof_es256_signatures()
    {
        foreach (var group in Read("wp_ecdsa_secp256r1_sha256_p1363.json").GetProperty("testGroups").EnumerateArray())
        {
            var point = Convert.FromHexString(group.GetProperty("publicKey").GetProperty("uncompressed").GetString()!);
            var jwk = JsonElement.Parse(JsonSerializer.Serialize(new { kty = "EC", crv = "P-256", x = Text(point[1..33]), y = Text(point[33..]) }));
            foreach (var test in group.GetProperty("tests").EnumerateArray())
            {
                // Wycheproof signs raw messages; the verifier takes them inside its own form only, so the primitive is checked through the same key import.
                using var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = point[1..33], Y = point[33..] } });
                var signature = Convert.FromHexString(test.GetProperty("sig").GetString()!);
                var valid = signature.Length == 64 && key.VerifyData(Convert.FromHexString(test.GetProperty("msg").GetString()!), signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
                Assert.Equal(test.GetProperty("result").GetString() == "valid", valid);
            }
            Assert.Null(CompactJws.Verify("e30.e30.", jwk));
        }
        static string Text(byte[] bytes) => System.Buffers.Text.Base64Url.EncodeToString(bytes);
    }

    [Fact]
    public void No_text_makes_the_verifier_throw() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<string>(), text =>
        text is null || CompactJws.Verify(text, JsonElement.Parse("{\"keys\":[{}]}")) is null && CompactJws.Verify($"eyJhbGciOiJFUzI1NiJ9.{text}.AAAA", JsonElement.Parse("[]")) is null));

    [Theory]
    [InlineData("QQ", true), InlineData("QR", false), InlineData("QQ==", false), InlineData("Q Q", false), InlineData("Q", false), InlineData("", true)]
    public void Base64url_has_one_text_per_value(string text, bool good) => Assert.Equal(good, CompactJws.Decode(text) is not null);
}
