using System.Text;
using AccessBroker.Passkeys;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Passkeys;

/// <summary>Metadata files: taken only with the right signer, a chain to the root, a newer number, and every entry readable.</summary>
public sealed class MetadataTests
{
    private static readonly Guid Model = Guid.Parse("01020304-0506-0708-090a-0b0c0d0e0f10");
    private static readonly DateTimeOffset Now = DateTimeOffset.UtcNow;
    private static byte[] File(long number = 5, Func<string, string>? spoil = null, string algorithm = "ES256") => TestMetadata.Write(number, [(Model, SoftKey.Maker.Root.RawData, ["FIDO_CERTIFIED_L2"])], algorithm: algorithm, spoil: spoil);
    private static MetadataBlob Read(byte[] file, long last = 4) => MetadataBlob.Read(file, TestMetadata.Publisher.Root, TestMetadata.Signer, last, Now);

    [Fact, Trait("Requirement", "NET-07")]
    public void A_file_of_the_publisher_is_read()
    {
        var blob = Read(File());
        Assert.Equal((5, new DateOnly(2030, 1, 1)), (blob.Number, blob.NextUpdate));
        var model = Assert.Single(blob.Models);
        Assert.Equal((Model, "試験用のキー", false), (model.Aaguid, model.Description, model.Revoked));
        Assert.Equal(SoftKey.Maker.Root.RawData, Assert.Single(model.Anchors));
    }

    [Theory]
    [InlineData("REVOKED"), InlineData("USER_VERIFICATION_BYPASS"), InlineData("ATTESTATION_KEY_COMPROMISE"), InlineData("USER_KEY_REMOTE_COMPROMISE"), InlineData("USER_KEY_PHYSICAL_COMPROMISE")]
    public void A_bad_status_once_is_a_bad_status(string status) => Assert.True(Assert.Single(Read(TestMetadata.Write(5, [(Model, SoftKey.Maker.Root.RawData, ["FIDO_CERTIFIED", status, "UPDATE_AVAILABLE"])])).Models).Revoked);

    [Fact, Trait("Requirement", "NET-07")]
    public void What_is_older_forged_or_spoilt_is_not_taken()
    {
        void Refused(string said, byte[] file, long last = 4) => Assert.Contains(said, Assert.Throws<MetadataException>(() => Read(file, last)).Message, StringComparison.Ordinal);
        Refused("not newer", File(4));
        Refused("not newer", File(5), last: 5);
        Refused("does not lead", TestMetadata.Write(5, [], TestMetadata.Make("CN=Test Metadata Root", TestMetadata.Signer)));
        Refused("algorithm 'none'", File(algorithm: "none"));
        Refused("algorithm 'HS256'", File(algorithm: "HS256"));
        var text = Encoding.ASCII.GetString(File());
        var parts = text.Split('.');
        Refused("signature", Encoding.ASCII.GetBytes($"{parts[0]}.{Encoding.ASCII.GetString(File(9)).Split('.')[1]}.{parts[2]}"));
        Refused("compact", Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"));
        Refused("base64url", Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}.%%"));
        Refused("header", Encoding.ASCII.GetBytes($"e30x.{parts[1]}.{parts[2]}"));
        Refused("x5c", Encoding.ASCII.GetBytes($"e30.{parts[1]}.{parts[2]}"));
        Refused("serial number", File(spoil: p => p.Replace("\"no\":5", "\"no\":\"5\"", StringComparison.Ordinal)));
        Refused("nextUpdate", File(spoil: p => p.Replace("2030-01-01", "soon", StringComparison.Ordinal)));
        Refused("AAGUID", File(spoil: p => p.Replace("01020304-", "xx020304-", StringComparison.Ordinal)));
        Refused("attestationRootCertificates", File(spoil: p => p.Replace("\"attestationRootCertificates\":[\"MII", "\"attestationRootCertificates\":[\"XXX", StringComparison.Ordinal)));
        Refused("no JSON object", File(spoil: p => p[..^3]));
    }

    /// <summary>A public root vouches for many: another of its certificates signs nothing here.</summary>
    [Fact]
    public void Another_name_under_the_same_root_is_not_the_publisher() =>
        Assert.Contains("not by", Assert.Throws<MetadataException>(() => MetadataBlob.Read(File(), TestMetadata.Publisher.Root, "metadata.example", 4, Now)).Message, StringComparison.Ordinal);
}
