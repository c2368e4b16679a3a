using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Passkeys;
using AccessBroker.Tests.Support;
using Microsoft.AspNetCore.Http;

namespace AccessBroker.Tests.Passkeys;

/// <summary>
/// The test vectors of W3C Web Authentication Level 3, §16, through the code that serves the pages. Which may pass is written down here, by hand: what a
/// vector shows and we refuse is refused on purpose.
/// </summary>
public sealed class WebAuthnVectorTests
{
    private static readonly JsonElement File = JsonElement.Parse(System.IO.File.ReadAllText(Path.Combine(Place.Root, "tests/AccessBroker.Tests/Vectors/webauthn-l3.json")));
    private static JsonElement Vector(string id) => File.GetProperty("vectors").EnumerateArray().Single(v => v.GetProperty("id").GetString() == id);
    private static byte[] Hex(JsonElement part, string name) => Convert.FromHexString(part.GetProperty(name).GetString()!);
    private static string Text(byte[] bytes) => Base64Url.EncodeToString(bytes);
    private static readonly DateTimeOffset At = new(2026, 11, 21, 0, 0, 0, TimeSpan.Zero);

    private static PasskeyCeremony Ceremony(string verification = "discouraged") => new("example.org", "https://example.org", verification);

    /// <summary>The state that the handler keeps, with the vector's challenge in place of a random one.</summary>
    private static string With(string state, byte[] challenge)
    {
        var json = JsonNode.Parse(state)!.AsObject();
        var name = json.Single(m => m.Key.Equals("challenge", StringComparison.OrdinalIgnoreCase)).Key;
        json[name] = Convert.ToBase64String(challenge);
        return json.ToJsonString();
    }

    private static async Task<RegisteredKey?> RegisterAsync(JsonElement registration, PasskeyCeremony ceremony, Func<byte[], byte[]>? damage = null)
    {
        var context = new DefaultHttpContext();
        var (_, state) = await ceremony.BeginRegistrationAsync(new("handle-0123456789", "試験", []), context);
        var id = Text(Hex(registration, "credential_id"));
        var attestation = Hex(registration, "attestationObject");
        var credential = new JsonObject
        {
            ["id"] = id,
            ["rawId"] = id,
            ["type"] = "public-key",
            ["clientExtensionResults"] = new JsonObject(),
            ["response"] = new JsonObject { ["clientDataJSON"] = Text(Hex(registration, "clientDataJSON")), ["attestationObject"] = Text(damage?.Invoke(attestation) ?? attestation), ["transports"] = new JsonArray() },
        };
        return await ceremony.RegisterAsync(credential.ToJsonString(), With(state, Hex(registration, "challenge")), context);
    }

    private static async Task<uint?> AssertAsync(RegisteredKey key, JsonElement authentication, PasskeyCeremony ceremony, Func<byte[], byte[]>? damage = null)
    {
        var context = new DefaultHttpContext();
        var user = new PasskeyUser("handle-0123456789", "試験", [PasskeyCeremony.InfoOf(key.CredentialId, key.PublicKey, "", key.BackupEligible, key.BackedUp, At)]);
        var (_, state) = await ceremony.BeginAssertionAsync(user, context);
        var (id, signature) = (Text(key.CredentialId), Hex(authentication, "signature"));
        var credential = new JsonObject
        {
            ["id"] = id,
            ["rawId"] = id,
            ["type"] = "public-key",
            ["clientExtensionResults"] = new JsonObject(),
            ["response"] = new JsonObject { ["clientDataJSON"] = Text(Hex(authentication, "clientDataJSON")), ["authenticatorData"] = Text(Hex(authentication, "authenticatorData")), ["signature"] = Text(damage?.Invoke(signature) ?? signature) },
        };
        return await ceremony.AssertAsync(user, credential.ToJsonString(), With(state, Hex(authentication, "challenge")), context);
    }

    private static byte[] FlipLast(byte[] bytes) => [.. bytes[..^1], (byte)(bytes[^1] ^ 1)];

    /// <summary>Expected: the kind of the attestation; null: refused, and why.</summary>
    [Theory, Trait("Requirement", "IDN-03")]
    [InlineData("none-es256", "None"), InlineData("packed-self-es256", "Self"), InlineData("none-es256-long-credential-id", "None"),
     InlineData("none-es256-crossOrigin", null /* in a frame of another site */), InlineData("none-es256-topOrigin", null /* the same */),
     InlineData("packed-es256", "Certified"), InlineData("packed-es384", "Certified"), InlineData("packed-es512", "Certified"), InlineData("packed-rs256", "Certified"),
     InlineData("packed-eddsa", null /* the platform has no Ed25519 */), InlineData("packed-ed448", null /* nor Ed448 */), InlineData("tpm-es256", "Certified"),
     InlineData("android-key-es256", null /* format not accepted */), InlineData("apple-es256", null /* format not accepted */), InlineData("fido-u2f-es256", null /* no user verification */)]
    public async Task Each_vector_comes_out_as_decided(string id, string? expected)
    {
        var (registration, authentication) = (Vector(id).GetProperty("registration"), Vector(id).GetProperty("authentication"));
        var key = await RegisterAsync(registration, Ceremony());
        Assert.Equal(expected, key?.Attested.Kind.ToString());
        if (key is null) return;
        Assert.Equal(Hex(registration, "credential_id"), key.CredentialId);
        Assert.Equal(new Guid(Hex(registration, "aaguid"), bigEndian: true), key.Attested.Aaguid);
        var root = Hex(File, "attestation_ca_cert");
        Assert.Equal(key.Attested.Kind == AttestationKind.Certified, Attestation.IsTrusted(key.Attested.Chain, [root], At));
        Assert.False(Attestation.IsTrusted(key.Attested.Chain, [SelfMade()], At));
        Assert.Equal(0u, await AssertAsync(key, authentication, Ceremony()));
        // Every bit counts: the signature of the key, and that of the statement.
        Assert.Null(await AssertAsync(key, authentication, Ceremony(), FlipLast));
        if (key.Attested.Kind != AttestationKind.None) Assert.Null(await RegisterAsync(registration, Ceremony(), o => Damaged(o, "sig")));
        // Where the vector's user was not verified, the product refuses it.
        var verified = (Hex(authentication, "authenticatorData")[32] & 0x04) != 0;
        Assert.Equal(verified ? 0u : null, await AssertAsync(key, authentication, Ceremony("required")));
        var verifiedThen = AttestationObject.Read(Hex(registration, "attestationObject"))!.UserVerified;
        Assert.Equal(verifiedThen, await RegisterAsync(registration, Ceremony("required")) is not null);
        Assert.Null(await RegisterAsync(registration, new("example.org", "https://example.com", "discouraged")));
        Assert.Null(await RegisterAsync(registration, new("example.com", "https://example.org", "discouraged")));
    }

    /// <summary>Flips a bit within the named member: the byte after its name and header.</summary>
    private static byte[] Damaged(byte[] attestation, string member)
    {
        var at = attestation.AsSpan().IndexOf([(byte)(0x60 + member.Length), .. System.Text.Encoding.ASCII.GetBytes(member)]) + 1 + member.Length + 12;
        var copy = attestation.ToArray();
        copy[at] ^= 1;
        return copy;
    }

    private static byte[] SelfMade()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=somebody", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new System.Security.Cryptography.X509Certificates.X509BasicConstraintsExtension(true, false, 0, true));
        using var certificate = request.CreateSelfSigned(At.AddYears(-1), At.AddYears(1));
        return certificate.RawData;
    }

    [Fact]
    public void What_is_no_attestation_object_is_refused()
    {
        var good = Hex(Vector("packed-es256").GetProperty("registration"), "attestationObject");
        Assert.NotNull(AttestationObject.Read(good));
        Assert.Null(AttestationObject.Read(Array.Empty<byte>()));
        Assert.Null(AttestationObject.Read((byte[])[.. good, 0]));
        for (var cut = 0; cut < good.Length; cut += 7) Assert.Null(AttestationObject.Read(good.AsMemory(0, cut)));
        Assert.Null(AttestationObject.Read(new byte[] { 0xbf, 0xff }));
        Assert.Null(Attestation.Verify(good, new byte[32]));
    }
}
