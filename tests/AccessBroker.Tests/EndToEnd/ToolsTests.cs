using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.EndToEnd;

/// <summary>OpenSC and yubico-piv-tool, which know nothing of us, accept the simulated card.</summary>
public sealed class ToolsTests : IAsyncLifetime
{
    private const int Reader = 5;
    private static readonly string Card = "tools-" + Guid.NewGuid().ToString("n")[..8];
    private static readonly string Name = Desk.Reader(Reader);

    public async ValueTask InitializeAsync()
    {
        if (!File.Exists(Path.Combine(Place.Directory, "cards/drawer", Card + ".json"))) await Desk.AddBlankAsync(Card);
        await Desk.InsertAsync(Reader, Card);
        await Eventually.TrueAsync(async () => (await Place.RunAsync("opensc-tool", ["-r", Name, "-a"], mayFail: true)).Exit == 0, "pcscd sees the card");
    }

    public async ValueTask DisposeAsync()
    {
        await Desk.RemoveAsync(Reader);
        GC.SuppressFinalize(this);
    }

    private static async Task<string> YubicoAsync(string? input, params string[] arguments)
    {
        var (_, output, error) = await Place.RunAsync("yubico-piv-tool", ["-r", Name, .. arguments], input: input);
        return output + error;
    }

    [Fact]
    public async Task Opensc_names_it_a_piv_card_and_reads_all_of_it()
    {
        Assert.Contains("Personal Identity Verification Card", (await Place.RunAsync("opensc-tool", ["-r", Name, "-n"])).Output, StringComparison.Ordinal);
        var dump = (await Place.RunAsync("pkcs15-tool", ["--reader", Name, "-D"])).Output;
        Assert.Contains("PIN [PIN]", dump, StringComparison.Ordinal);
        Assert.Contains("Card Holder Unique Identifier", dump, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Yubico_piv_tool_shows_generates_changes_and_unblocks()
    {
        Assert.Contains("PIN tries left:\t6", await YubicoAsync(null, "-a", "status"), StringComparison.Ordinal);
        Assert.Contains("BEGIN PUBLIC KEY", await YubicoAsync(null, "-a", "generate", "-s", "9a", "-A", "ECCP256"), StringComparison.Ordinal);
        Assert.Contains("Successfully changed the pin", await YubicoAsync(null, "-a", "change-pin", "-P", "123456", "-N", "654321"), StringComparison.Ordinal);
        // Six wrong PINs block it; the PUK opens it again.
        for (var i = 0; i < 6; i++) await Place.RunAsync("yubico-piv-tool", ["-r", Name, "-a", "verify-pin", "-P", "000000"], mayFail: true);
        Assert.NotEqual(0, (await Place.RunAsync("yubico-piv-tool", ["-r", Name, "-a", "verify-pin", "-P", "654321"], mayFail: true)).Exit);
        Assert.Contains("Successfully unblocked the pin", await YubicoAsync(null, "-a", "unblock-pin", "-P", "12345678", "-N", "123456"), StringComparison.Ordinal);
        Assert.Contains("Successfully verified PIN", await YubicoAsync(null, "-a", "verify-pin", "-P", "123456"), StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "CRD-13")]
    public async Task A_card_of_ours_has_no_factory_puk_and_no_factory_management_key()
    {
        await Desk.RemoveAsync(Reader);
        await Desk.InsertAsync(Reader, "suzuki");
        try
        {
            await Eventually.TrueAsync(async () => (await Place.RunAsync("opensc-tool", ["-r", Name, "-a"], mayFail: true)).Exit == 0, "pcscd sees the card");
            Assert.NotEqual(0, (await Place.RunAsync("yubico-piv-tool", ["-r", Name, "-a", "unblock-pin", "-P", "12345678", "-N", "111111"], mayFail: true)).Exit);
            Assert.NotEqual(0, (await Place.RunAsync("yubico-piv-tool", ["-r", Name, "-a", "generate", "-s", "9a", "-A", "ECCP256"], mayFail: true)).Exit);
            Assert.Equal(0, (await Place.RunAsync("yubico-piv-tool", ["-r", Name, "-a", "verify-pin", "-P", Place.Pin], mayFail: true)).Exit);
        }
        finally
        {
            await Desk.RemoveAsync(Reader);
            await Desk.InsertAsync(Reader, Card);
        }
    }

    [Fact]
    public async Task Pkcs11_tool_signs_with_a_card_of_ours_and_openssl_verifies()
    {
        await Desk.RemoveAsync(Reader);
        await Desk.InsertAsync(Reader, "sato");
        try
        {
            var directory = System.IO.Directory.CreateTempSubdirectory().FullName;
            var (message, signature, certificate, publicKey) = (Path.Combine(directory, "m"), Path.Combine(directory, "s"), Path.Combine(directory, "c"), Path.Combine(directory, "p"));
            await File.WriteAllTextAsync(message, "見本");
            var configuration = Path.Combine(directory, "opensc.conf");
            // OpenSC shows four slots a card; only our reader may take part, or it counts the others' too.
            await File.WriteAllTextAsync(configuration, "app default { reader_driver pcsc { } }\napp opensc-pkcs11 { pkcs11 { slots_per_card = 1; max_virtual_slots = 32; } }\n");
            var environment = new Dictionary<string, string?> { ["OPENSC_CONF"] = configuration };
            var slots = (await Eventually.FindAsync(async () => (await Place.RunAsync("pkcs11-tool", ["--module", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "-L"], environment)).Output is var listed && listed.Contains($"{Name}\n  token label", StringComparison.Ordinal) ? listed : null, "OpenSC lists the card"));
            var slot = System.Text.RegularExpressions.Regex.Match(slots, @"Slot \d+ \((0x[0-9a-f]+)\): " + System.Text.RegularExpressions.Regex.Escape(Name)).Groups[1].Value;
            string[] card = ["--module", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "--slot", slot];
            await Place.RunAsync("pkcs11-tool", [.. card, "--login", "--pin", Place.Pin, "--sign", "-m", "ECDSA-SHA256", "--signature-format", "openssl", "--id", "01", "-i", message, "-o", signature], environment);
            await Place.RunAsync("pkcs11-tool", [.. card, "--read-object", "--type", "cert", "--id", "01", "-o", certificate], environment);
            await Place.RunAsync("openssl", ["x509", "-inform", "DER", "-in", certificate, "-pubkey", "-noout", "-out", publicKey]);
            Assert.Contains("Verified OK", (await Place.RunAsync("openssl", ["dgst", "-sha256", "-verify", publicKey, "-signature", signature, message])).Output, StringComparison.Ordinal);
            // The chain is ours too.
            var pem = Path.Combine(directory, "c.pem");
            await Place.RunAsync("openssl", ["x509", "-inform", "DER", "-in", certificate, "-out", pem]);
            Assert.Contains("OK", (await Place.RunAsync("openssl", ["verify", "-CAfile", $"{Place.Directory}/ca/operator-card-ca.pem", pem])).Output, StringComparison.Ordinal);
        }
        finally
        {
            await Desk.RemoveAsync(Reader);
            await Desk.InsertAsync(Reader, Card);
        }
    }
}
