using System.Buffers.Binary;
using System.Buffers.Text;
using System.Formats.Cbor;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.Tests.Support;

/// <summary>A FIDO2 key in software that lies on demand: another origin, no user verification, a counter that goes back, no or a self-made attestation.</summary>
internal sealed class SoftKey(Guid aaguid) : IDisposable
{
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly byte[] _id = RandomNumberGenerator.GetBytes(32);
    private string _user = "";

    internal string Attestation { get; init; } = "certified";
    internal bool Verifies { get; set; } = true;
    internal uint Counter { get; set; } = 1;
    internal string? Origin { get; set; }
    internal bool TellsUser { get; set; } = true;

    /// <summary>Who makes these keys: an attestation root and the certificate under it.</summary>
    internal static readonly (X509Certificate2 Root, X509Certificate2 Leaf) Maker = Make();

    private static (X509Certificate2, X509Certificate2) Make()
    {
        var (from, until) = (DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(5));
        var rootRequest = new CertificateRequest("CN=Test Authenticator Root", ECDsa.Create(ECCurve.NamedCurves.nistP256), HashAlgorithmName.SHA256);
        rootRequest.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var root = rootRequest.CreateSelfSigned(from, until);
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("C=JP, O=Test, OU=Authenticator Attestation, CN=Test Key", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        return (root, request.Create(root, from, until, [1, 2, 3, 4]).CopyWithPrivateKey(key));
    }

    /// <summary>Answers creation options as PublicKeyCredential.toJSON() does.</summary>
    internal JsonObject Create(JsonElement options, string origin)
    {
        _user = options.GetProperty("user").GetProperty("id").GetString()!;
        var client = ClientData("webauthn.create", options, origin);
        var data = Data(options.GetProperty("rp").GetProperty("id").GetString()!, attested: true);
        var writer = new CborWriter(CborConformanceMode.Ctap2Canonical);
        writer.WriteStartMap(3);
        writer.WriteTextString("fmt");
        writer.WriteTextString(Attestation == "none" ? "none" : "packed");
        writer.WriteTextString("attStmt");
        WriteStatement(writer, [.. data, .. SHA256.HashData(client)]);
        writer.WriteTextString("authData");
        writer.WriteByteString(data);
        writer.WriteEndMap();
        return Credential(new JsonObject { ["clientDataJSON"] = Text(client), ["attestationObject"] = Text(writer.Encode()), ["transports"] = new JsonArray("usb") });
    }

    /// <summary>Answers request options.</summary>
    internal JsonObject Get(JsonElement options, string origin)
    {
        var client = ClientData("webauthn.get", options, origin);
        var data = Data(options.GetProperty("rpId").GetString()!, attested: false);
        var signature = _key.SignData([.. data, .. SHA256.HashData(client)], HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        var response = new JsonObject { ["clientDataJSON"] = Text(client), ["authenticatorData"] = Text(data), ["signature"] = Text(signature) };
        if (TellsUser) response["userHandle"] = _user;
        return Credential(response);
    }

    private JsonObject Credential(JsonObject response) => new() { ["id"] = Text(_id), ["rawId"] = Text(_id), ["type"] = "public-key", ["clientExtensionResults"] = new JsonObject(), ["response"] = response };

    private byte[] ClientData(string type, JsonElement options, string origin) =>
        Encoding.UTF8.GetBytes(new JsonObject { ["type"] = type, ["challenge"] = options.GetProperty("challenge").GetString(), ["origin"] = Origin ?? origin, ["crossOrigin"] = false }.ToJsonString());

    private byte[] Data(string rpId, bool attested)
    {
        var data = new List<byte>(SHA256.HashData(Encoding.UTF8.GetBytes(rpId))) { (byte)(0x01 | (Verifies ? 0x04 : 0) | (attested ? 0x40 : 0)) };
        var counter = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(counter, Counter);
        data.AddRange(counter);
        if (!attested) return [.. data];
        data.AddRange(aaguid.ToByteArray(bigEndian: true));
        data.AddRange([0, (byte)_id.Length]);
        data.AddRange(_id);
        var q = _key.ExportParameters(false).Q;
        var cose = new CborWriter(CborConformanceMode.Ctap2Canonical);
        cose.WriteStartMap(5);
        foreach (var (label, value) in ((int, int)[])[(1, 2), (3, -7), (-1, 1)]) { cose.WriteInt32(label); cose.WriteInt32(value); }
        foreach (var (label, value) in ((int, byte[])[])[(-2, q.X!), (-3, q.Y!)]) { cose.WriteInt32(label); cose.WriteByteString(value); }
        cose.WriteEndMap();
        data.AddRange(cose.Encode());
        return [.. data];
    }

    private void WriteStatement(CborWriter writer, byte[] signed)
    {
        if (Attestation == "none") { writer.WriteStartMap(0); writer.WriteEndMap(); return; }
        using var signer = Attestation == "self" ? null : Maker.Leaf.GetECDsaPrivateKey();
        writer.WriteStartMap(Attestation == "self" ? 2 : 3);
        writer.WriteTextString("alg");
        writer.WriteInt32(-7);
        writer.WriteTextString("sig");
        writer.WriteByteString((signer ?? _key).SignData(signed, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        if (Attestation != "self")
        {
            writer.WriteTextString("x5c");
            writer.WriteStartArray(1);
            writer.WriteByteString(Maker.Leaf.RawData);
            writer.WriteEndArray();
        }
        writer.WriteEndMap();
    }

    private static string Text(byte[] bytes) => Base64Url.EncodeToString(bytes);
    public void Dispose() => _key.Dispose();
}

/// <summary>FIDO metadata files of a test's own publisher.</summary>
internal static class TestMetadata
{
    internal const string Signer = "mds.fidoalliance.org";
    internal static readonly (X509Certificate2 Root, X509Certificate2 Leaf) Publisher = Make("CN=Test Metadata Root", Signer);

    internal static (X509Certificate2 Root, X509Certificate2 Leaf) Make(string root, string signer)
    {
        var (from, until) = (DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(5));
        var rootRequest = new CertificateRequest(root, ECDsa.Create(ECCurve.NamedCurves.nistP256), HashAlgorithmName.SHA256);
        rootRequest.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var made = rootRequest.CreateSelfSigned(from, until);
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={signer}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        return (made, request.Create(made, from, until, [9, 8, 7]).CopyWithPrivateKey(key));
    }

    /// <summary>A file with these models; every part can be spoilt.</summary>
    internal static byte[] Write(long number, IEnumerable<(Guid Aaguid, byte[] Anchor, string[] Statuses)> models, (X509Certificate2 Root, X509Certificate2 Leaf)? publisher = null, string algorithm = "ES256", Func<string, string>? spoil = null)
    {
        var by = publisher ?? Publisher;
        var header = new JsonObject { ["alg"] = algorithm, ["typ"] = "JWT", ["x5c"] = new JsonArray(Convert.ToBase64String(by.Leaf.RawData)) };
        var entries = new JsonArray([.. models.Select(m => (JsonNode)new JsonObject
        {
            ["aaguid"] = m.Aaguid.ToString("D"), ["statusReports"] = new JsonArray([.. m.Statuses.Select(s => (JsonNode)new JsonObject { ["status"] = s, ["effectiveDate"] = "2026-01-01" })]), ["timeOfLastStatusChange"] = "2026-01-01",
            ["metadataStatement"] = new JsonObject { ["description"] = "試験用のキー", ["attestationRootCertificates"] = new JsonArray(Convert.ToBase64String(m.Anchor)) },
        })]);
        var payload = new JsonObject { ["legalHeader"] = "test", ["no"] = number, ["nextUpdate"] = "2030-01-01", ["entries"] = entries }.ToJsonString();
        var text = $"{Part(header.ToJsonString())}.{Part(spoil?.Invoke(payload) ?? payload)}";
        using var key = by.Leaf.GetECDsaPrivateKey()!;
        return Encoding.ASCII.GetBytes($"{text}.{Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(text), HashAlgorithmName.SHA256))}");
    }

    private static string Part(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
