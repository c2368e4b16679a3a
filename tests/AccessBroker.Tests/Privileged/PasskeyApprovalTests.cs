using System.IO.Compression;
using System.Net;
using AccessBroker.Approvals;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Approvals signed with a passkey, and the file of signatures that stock tools verify, of both kinds.</summary>
public sealed class PasskeyApprovalTests(PrivilegedCity broker) : IClassFixture<PrivilegedCity>, IAsyncLifetime
{
    private static readonly Guid Model = Guid.Parse("01020304-0506-0708-090a-0b0c0d0e0f10");
    private TestTerminal _mine = null!, _theirs = null!;

    public async ValueTask InitializeAsync()
    {
        (_mine, _theirs) = (await broker.TerminalAsync(), await broker.TerminalAsync("t-02"));
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
        await PasskeySteps.ImportAsync(broker, [(Model, SoftKey.Maker.Root.RawData, ["FIDO_CERTIFIED"])]);
    }

    public async ValueTask DisposeAsync()
    {
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
    }

    /// <summary>The approver's key signs exactly this request; what it signed opens the work, and verifies from the exported file alone.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public async Task A_passkey_approves_and_its_signature_is_judged_like_a_cards()
    {
        using var key = new SoftKey(Model);
        Assert.Equal((HttpStatusCode.OK, ""), await PasskeySteps.EnrolAsync(broker, _theirs, key, card: "boss"));
        using var me = await ConsoleBrowser.SignInAsync(broker, _mine, "admin");
        var request = await PrivilegedCity.AskAsync(me, "repair", 5);
        using (var boss = await ConsoleBrowser.SignInAsync(broker, _theirs, "boss"))
        {
            var asked = await boss.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-1"));
            var approved = await boss.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-1"), ("Confirmed", await boss.ConfirmAsync(asked.To, key)));
            Assert.True(approved.Page.Contains("承認しました", StringComparison.Ordinal), ConsoleBrowser.Notice(approved.Page));
            var directory = await ExportAsync(boss, request);
            await VerifiesAsync(directory);
            await NothingElseVerifiesAsync(directory, "document.json", "signed", "signature", "key.pem", "client.json", "authenticator");
        }
        // A whole signature by another key in its place, another holder, other words: nothing begins.
        using var foreign = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        var row = (await broker.SqlAsync($"select encode(authenticator, 'hex'), encode(client, 'hex'), encode(signature, 'hex') from approvals.signatures where request = {request}"))[0].Split('|');
        var forged = foreign.SignData([.. Convert.FromHexString(row[0]), .. System.Security.Cryptography.SHA256.HashData(Convert.FromHexString(row[1]))], System.Security.Cryptography.HashAlgorithmName.SHA256, System.Security.Cryptography.DSASignatureFormat.Rfc3279DerSequence);
        var stored = (await broker.SqlAsync($"select encode(public_key, 'hex') from approvals.signatures where request = {request}"))[0];
        foreach (var (spoil, mend) in ((string, string)[])
        [
            ($"update approvals.signatures set public_key = '\\x{Convert.ToHexString(foreign.ExportSubjectPublicKeyInfo())}', signature = '\\x{Convert.ToHexString(forged)}' where request = {request}", $"update approvals.signatures set public_key = '\\x{stored}', signature = '\\x{row[2]}' where request = {request}"),
            ($"update approvals.signatures set client = convert_to(replace(convert_from(client, 'utf8'), 'webauthn.get', 'webauthn.create'), 'utf8') where request = {request}", $"update approvals.signatures set client = convert_to(replace(convert_from(client, 'utf8'), 'webauthn.create', 'webauthn.get'), 'utf8') where request = {request}"),
            ("update cards.cards set person = 'p-8002' where kind = 'fido-key'", "update cards.cards set person = 'p-8001' where kind = 'fido-key'"),
            ($"update approvals.requests set reason = reason || 'x' where id = {request}", $"update approvals.requests set reason = left(reason, -1) where id = {request}"),
        ])
        {
            await broker.SqlAsync(spoil);
            Assert.Null((await PrivilegedCity.StartAsync(me, request)).Session);
            Assert.StartsWith("refused privileged.approvals-do-not-hold", await broker.LastEventAsync("privileged.start"), StringComparison.Ordinal);
            await broker.SqlAsync(mend);
        }
        Assert.NotNull((await PrivilegedCity.StartAsync(me, request)).Session);
    }

    [Fact, Trait("Requirement", "PRV-10")]
    public async Task The_file_of_signatures_verifies_and_a_changed_one_does_not()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _mine, "admin");
        var request = await PrivilegedCity.AskAsync(me, "repair", 5);
        await broker.ApproveAsync(request);
        var directory = await ExportAsync(me, request);
        await VerifiesAsync(directory);
        await NothingElseVerifiesAsync(directory, "document.json", "signed", "signature", "certificate.pem");
        // Another CA vouches for nothing.
        Assert.NotEqual(0, (await Place.RunAsync("sh", [$"{directory}/verify.sh", $"{Place.Directory}/tls/ca.pem"], mayFail: true)).Exit);
        // Nobody else takes it, and nothing is there to take before an approval.
        using (var operator_ = await ConsoleBrowser.SignInAsync(broker, _theirs, "sato")) Assert.Equal(HttpStatusCode.Forbidden, (await operator_.GetAsync($"/requests/{request}?handler=signatures")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await me.GetAsync($"/requests/{await PrivilegedCity.AskAsync(me, "repair", 6)}?handler=signatures")).Status);
        Assert.StartsWith("done", await broker.LastEventAsync("registers.export"), StringComparison.Ordinal);
    }

    /// <summary>Who approved it and who began it, each by what they signed, in one file; and of an emergency who began it.</summary>
    [Fact, Trait("Requirement", "PRV-10"), Trait("Requirement", "PRV-13")]
    public async Task The_file_of_a_session_tells_who_began_it()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _mine, "admin");
        var request = await PrivilegedCity.AskAsync(me, "repair", 5);
        await broker.ApproveAsync(request);
        var session = (await PrivilegedCity.StartAsync(me, request)).Session!;
        Assert.Contains("署名を書き出す", (await me.GetAsync($"/privileged/{session}")).Page, StringComparison.Ordinal);
        var verified = await VerifyAsync(await UnpackAsync(me, $"/privileged/{session}"));
        Assert.Equal(0, verified.Exit);
        foreach (var told in (string[])["approve-1: OK", "start: OK", "\"act\":\"start\"", "\"act\":\"approve\""]) Assert.Contains(told, verified.Output, StringComparison.Ordinal);
        using (var operator_ = await ConsoleBrowser.SignInAsync(broker, _theirs, "sato")) Assert.Equal(HttpStatusCode.NotFound, (await operator_.GetAsync($"/privileged/{session}?handler=signatures")).Status);
        (string, string)[] form = [("Work", "urgent"), ("Reason", "住民票の発行が止まっており待てない")];
        var begun = await me.PostAsync("/privileged/emergency", [.. form, ("Confirmed", await me.ConfirmAsync((await me.PostAsync("/privileged/emergency", form)).To))]);
        verified = await VerifyAsync(await UnpackAsync(me, begun.To!));
        Assert.Equal(0, verified.Exit);
        Assert.Contains("start: OK", verified.Output, StringComparison.Ordinal);
        Assert.Contains("\"reason\":\"住民票の発行が止まっており待てない\"", verified.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("approve", verified.Output, StringComparison.Ordinal);
    }

    /// <summary>A stored answer is judged by itself: without verification of the user, or for another purpose, it is none.</summary>
    [Fact]
    public void What_a_key_signed_for_something_else_is_no_approval()
    {
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP384);
        var hash = new string('a', 64);
        OperationSignature.OfPasskey Make(byte flags = 5, string type = "webauthn.get", string purpose = "accessbroker:approval:v1", string? about = null, byte[]? challenge = null)
        {
            var content = SignedFields.Encode(purpose, "n", "t", "x", about ?? hash);
            var client = System.Text.Encoding.UTF8.GetBytes($$"""{"type":"{{type}}","challenge":"{{System.Buffers.Text.Base64Url.EncodeToString(System.Security.Cryptography.SHA256.HashData(challenge ?? content))}}","origin":"https://x"}""");
            byte[] authenticator = [.. new byte[32], flags, 0, 0, 0, 1];
            return new(CardId.Parse(new string('0', 32)), key.ExportSubjectPublicKeyInfo(), authenticator, client, content, key.SignData([.. authenticator, .. System.Security.Cryptography.SHA256.HashData(client)], System.Security.Cryptography.HashAlgorithmName.SHA384, System.Security.Cryptography.DSASignatureFormat.Rfc3279DerSequence));
        }
        Assert.True(Make().Holds(hash));
        Assert.False(Make(flags: 1).Holds(hash));
        Assert.False(Make(flags: 4).Holds(hash));
        Assert.False(Make(type: "webauthn.create").Holds(hash));
        Assert.False(Make(purpose: "accessbroker:sign-in:v1").Holds(hash));
        Assert.False(Make(about: new string('b', 64)).Holds(hash));
        Assert.False(Make(challenge: [1]).Holds(hash));
        Assert.False((Make() with { Signature = [1, 2] }).Holds(hash));
        Assert.False((Make() with { Client = "{}"u8.ToArray() }).Holds(hash));
        Assert.False((Make() with { Client = "x"u8.ToArray() }).Holds(hash));
        Assert.False((Make() with { Authenticator = [] }).Holds(hash));
    }

    /// <summary>Downloads and unpacks; the place.</summary>
    private async Task<string> ExportAsync(ConsoleBrowser me, long request)
    {
        Assert.Contains("署名を書き出す", (await me.GetAsync($"/requests/{request}")).Page, StringComparison.Ordinal);
        return await UnpackAsync(me, $"/requests/{request}");
    }

    private async Task<string> UnpackAsync(ConsoleBrowser me, string page)
    {
        var directory = Path.Combine(broker.DataDirectory, $"signatures{page.Replace('/', '-')}");
        using var zip = new ZipArchive(new MemoryStream(await me.Http.GetByteArrayAsync(new Uri($"{page}?handler=signatures", UriKind.Relative))));
        await zip.ExtractToDirectoryAsync(directory);
        return directory;
    }

    private static Task<(int Exit, string Output, string Error)> VerifyAsync(string directory) => Place.RunAsync("sh", [$"{directory}/verify.sh", $"{Place.Directory}/ca/operator-card-ca.pem"], mayFail: true);

    /// <summary>Each part changed in one bit in its middle, or missing.</summary>
    private static async Task NothingElseVerifiesAsync(string directory, params string[] parts)
    {
        foreach (var part in parts)
        {
            var file = $"{directory}/approve-1/{part}";
            var bytes = await File.ReadAllBytesAsync(file);
            await File.WriteAllBytesAsync(file, [.. bytes[..(bytes.Length / 2)], (byte)(bytes[bytes.Length / 2] ^ 1), .. bytes[(bytes.Length / 2 + 1)..]]);
            Assert.True((await VerifyAsync(directory)).Exit != 0, $"{part} was changed");
            File.Delete(file);
            Assert.True((await VerifyAsync(directory)).Exit != 0, $"{part} is missing");
            await File.WriteAllBytesAsync(file, bytes);
        }
        await VerifiesAsync(directory);
    }

    private static async Task VerifiesAsync(string directory)
    {
        var (exit, output, error) = await VerifyAsync(directory);
        Assert.True(exit == 0 && output.Contains("approve-1: OK", StringComparison.Ordinal), $"{output} {error}");
    }
}
