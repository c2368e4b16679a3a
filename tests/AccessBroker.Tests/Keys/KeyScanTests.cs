using System.Buffers.Text;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AccessBroker.Keys;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Keys;

/// <summary>
/// Looks for secrets in the memory, core dump and logs of a running broker. The HSM's key is known to the test: it is made outside,
/// imported, and given the attributes of a key that was born inside, so that the broker accepts it.
/// </summary>
public sealed class KeyScanTests(KeyScanTests.Host broker) : IClassFixture<KeyScanTests.Host>
{
    public sealed class Host : BrokerHost, IAsyncLifetime
    {
        public byte[] Secret { get; private set; } = [];
        public static string Hsm => Path.Combine(Place.Directory, "known-hsm");

        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Hsm__PinFile", $"{Hsm}/pin"), new("Broker__CaDirectory", $"{Hsm}/certificates"), new("Hsm__Environment__P11_KIT_SERVER_ADDRESS", $"unix:path={Hsm}/run/hsm.sock")];

        protected override void ChangePolicies(string directory) => MakeHsmAsync().GetAwaiter().GetResult();

        /// <summary>A second HSM with the city's labels whose token key we know.</summary>
        private async Task MakeHsmAsync()
        {
            var tool = Path.Combine(Place.Root, "hsm-sim/hsm");
            var group = (await Place.RunAsync("id", ["-gn"])).Output.Trim();
            await Place.RunAsync(tool, ["init", Hsm, "accessbroker-hsm", group]);
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            Secret = key.ExportParameters(true).D!;
            var file = Path.Combine(DataDirectory, "known.pem");
            await File.WriteAllTextAsync(file, key.ExportPkcs8PrivateKeyPem());
            var pin = await File.ReadAllTextAsync($"{Hsm}/pin");
            var softhsm = new Dictionary<string, string?> { ["SOFTHSM2_CONF"] = $"{Hsm}/softhsm2.conf" };
            foreach (var (token, id) in (ReadOnlySpan<(string, string)>)[("signing", "01"), ("ca", "01"), ("ca", "02")]) Import(token, id);
            void Import(string token, string id) => Place.RunAsync("softhsm2-util", ["--import", file, "--token", $"accessbroker-{token}", "--label", $"known-{id}", "--id", id, "--pin", pin], softhsm).GetAwaiter().GetResult();
            // Objects without the pretence: a key that came from outside.
            foreach (var stored in Directory.GetFiles($"{Hsm}/tokens", "*.object", SearchOption.AllDirectories)) PretendBornInside(stored);
            Import("signing", "09");
            await Place.RunAsync("chown", ["-R", "accessbroker-hsm", $"{Hsm}/tokens"]);
            File.Delete(file);
            // Cards of the city are still judged by the city's CA; terminals by this HSM's.
            Directory.CreateDirectory($"{Hsm}/certificates");
            File.Copy($"{Place.Directory}/ca/operator-card-ca.pem", $"{Hsm}/certificates/operator-card-ca.pem");
            var root = new CertificateRequest("CN=Known terminal CA", key, HashAlgorithmName.SHA256);
            root.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
            root.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(root.PublicKey, false));
            using var certificate = root.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(2));
            await File.WriteAllTextAsync($"{Hsm}/certificates/terminal-ca.pem", certificate.ExportCertificatePem());
            await Place.RunAsync(tool, ["start", Hsm]);
            // The secret that cards' keys are derived from is made inside, as in the real ceremony.
            await Place.RunAsync(tool, ["ceremony-open", Hsm]);
            var options = new HsmOptions { PinFile = $"{Hsm}/pin" };
            using (var session = new Pkcs11Session(options.Module, new Dictionary<string, string> { ["P11_KIT_SERVER_ADDRESS"] = $"unix:path={Hsm}/run/ceremony.sock" }))
            {
                session.Open(options.CaToken, options.PinFile, readWrite: true);
                session.GenerateMacKey(options.CardSecretKey, "card-secret");
                session.GenerateSigningKey(options.SshCaKey, "ssh-user-ca");
            }
            await Place.RunAsync(tool, ["ceremony-close", Hsm]);
        }

        /// <summary>SoftHSM's object file: after an 8-byte generation, attributes of 8-byte type, 8-byte kind, and (kind 1) one byte, (2) eight, (3) length and bytes.</summary>
        private static void PretendBornInside(string file)
        {
            var bytes = File.ReadAllBytes(file);
            var wanted = new Dictionary<ulong, byte> { [0x164] = 0xFF, [0x165] = 0xFF, [0x105] = 0, [0x107] = 0, [0x10C] = 0, [0x162] = 0, [0x103] = 0xFF, [0x108] = 0xFF };
            ulong Number(int at) => System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(at));
            for (var at = 8; at + 16 < bytes.Length;)
            {
                var (type, kind) = (Number(at), Number(at + 8));
                if (kind == 1 && wanted.TryGetValue(type, out var value)) bytes[at + 16] = value;
                at += 16 + (kind == 1 ? 1 : kind == 2 ? 8 : 8 + (int)Number(at + 16));
            }
            File.WriteAllBytes(file, bytes);
        }

        async ValueTask IAsyncDisposable.DisposeAsync()
        {
            await Place.RunAsync(Path.Combine(Place.Root, "hsm-sim/hsm"), ["stop", Hsm]);
            await DisposeAsync();
            Directory.Delete(Hsm, recursive: true);
        }
    }

    [Fact, Trait("Requirement", "KEY-01"), Trait("Requirement", "CRD-13")]
    public async Task Neither_the_hsms_key_nor_a_pin_is_in_memory_dump_or_log()
    {
        var terminal = await broker.TerminalAsync();
        using var browser = new TestBrowser(broker);
        // The cards of the city were certified by the city's CA, not by this HSM: the token key is what signs here.
        await terminal.InsertAsync("sato");
        await browser.TokensAsync(terminal);
        for (var i = 0; i < 20; i++) (await browser.TokenAsync(TestBrowser.Parameter((await browser.AuthorizeAsync()).Headers.Location!, "code"))).EnsureSuccessStatusCode();
        var hsmPin = await File.ReadAllTextAsync($"{Host.Hsm}/pin");
        var secrets = Forms("HSM key", broker.Secret).Concat(Forms("card PIN", Encoding.ASCII.GetBytes(Place.Pin), text: true)).Concat(Forms("HSM PIN", Encoding.ASCII.GetBytes(hsmPin), text: true)).ToList();

        // Positive control: a process that holds a known key on purpose is found out by the same scan.
        var planted = RandomNumberGenerator.GetBytes(32);
        using var guilty = Process.Start(new ProcessStartInfo("bash", ["-c", $"key={Convert.ToHexStringLower(planted)}; echo $key; sleep 60; true"]) { RedirectStandardOutput = true })!;
        await guilty.StandardOutput.ReadLineAsync();
        Assert.Equal(["planted hex"], (await ScanAsync(guilty.Id, Forms("planted", planted))).Distinct());
        var log = Path.Combine(broker.DataDirectory, "planted.log");
        await File.WriteAllTextAsync(log, $"token {Base64Url.EncodeToString(planted)} and {Encoding.Latin1.GetString([1, 2])}");
        Assert.Contains("planted base64url", Find(await File.ReadAllBytesAsync(log), Forms("planted", planted)));
        guilty.Kill();

        Assert.Equal([], (await ScanAsync(broker.ProcessId, secrets)).Distinct());
        Assert.Equal([], Find(Encoding.UTF8.GetBytes(broker.Log), secrets));
    }

    [Fact, Trait("Requirement", "KEY-01")]
    public async Task A_key_that_came_from_outside_the_hsm_is_refused()
    {
        var options = new HsmOptions { PinFile = $"{Host.Hsm}/pin", Connections = 1, TokenKeyId = "09" };
        options.Environment["P11_KIT_SERVER_ADDRESS"] = $"unix:path={Host.Hsm}/run/hsm.sock";
        await using var hsm = new Pkcs11Hsm(options, Microsoft.Extensions.Logging.Abstractions.NullLogger<Pkcs11Hsm>.Instance);
        Assert.Contains("AlwaysSensitive must be 1", (await Assert.ThrowsAsync<HsmKeyRefusedException>(() => hsm.CheckAsync(default))).Message, StringComparison.Ordinal);
        // And a broker configured with it does not start.
        var environment = broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value);
        environment["Hsm__TokenKeyId"] = "09";
        var (exit, _, error) = await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "serve"], environment, mayFail: true);
        Assert.NotEqual(0, exit);
        Assert.Contains("AlwaysSensitive", error, StringComparison.Ordinal);
    }

    private static List<(string Name, byte[] Bytes)> Forms(string name, byte[] secret, bool text = false) =>
    [
        (name + " raw", secret), (name + " hex", Encoding.ASCII.GetBytes(Convert.ToHexStringLower(secret))), (name + " HEX", Encoding.ASCII.GetBytes(Convert.ToHexString(secret))),
        (name + " base64", Encoding.ASCII.GetBytes(Convert.ToBase64String(secret).TrimEnd('='))), (name + " base64url", Encoding.ASCII.GetBytes(Base64Url.EncodeToString(secret))),
        .. text ? new[] { (name + " UTF-16", Encoding.Unicode.GetBytes(Encoding.ASCII.GetString(secret))) } : [],
    ];

    /// <summary>Live memory through /proc, and a core dump by gdb.</summary>
    private static async Task<List<string>> ScanAsync(int process, List<(string, byte[])> secrets)
    {
        var found = new List<string>();
        await using (var memory = File.OpenRead($"/proc/{process}/mem"))
        {
            foreach (var line in await File.ReadAllLinesAsync($"/proc/{process}/maps"))
            {
                var (range, rights) = (line.Split(' ')[0].Split('-'), line.Split(' ')[1]);
                if (!rights.StartsWith("rw", StringComparison.Ordinal)) continue;
                var (from, to) = (Convert.ToInt64(range[0], 16), Convert.ToInt64(range[1], 16));
                var chunk = new byte[Math.Min(to - from, 64 << 20)];
                for (var at = from; at < to; at += chunk.Length - 128)
                {
                    try
                    {
                        memory.Position = at;
                        var read = memory.ReadAtLeast(chunk.AsSpan(0, (int)Math.Min(chunk.Length, to - at)), chunk.Length, throwOnEndOfStream: false);
                        found.AddRange(Find(chunk.AsSpan(0, read).ToArray(), secrets));
                    }
                    catch (IOException) { break; }    // a guard page
                    if (to - at <= chunk.Length) break;
                }
            }
        }
        var dump = Path.Combine(Place.Directory, $"core-{process}");
        await Place.RunAsync("gcore", ["-o", dump, $"{process}"]);
        var file = $"{dump}.{process}";
        await using (var core = File.OpenRead(file))
        {
            var chunk = new byte[64 << 20];
            while (true)
            {
                var read = core.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false);
                found.AddRange(Find(chunk.AsSpan(0, read).ToArray(), secrets));
                if (read < chunk.Length) break;
                core.Position -= 128;
            }
        }
        File.Delete(file);
        return found;
    }

    private static List<string> Find(byte[] memory, List<(string Name, byte[] Bytes)> secrets) => [.. secrets.Where(s => memory.AsSpan().IndexOf(s.Bytes) >= 0).Select(s => s.Name)];
}
