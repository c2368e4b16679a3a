using System.Diagnostics;
using System.Net.Http.Json;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AccessBroker.Helper;

const string usage = """
    access ssh [ARGUMENTS OF ssh]      a shell, or a command, in the privileged session whose connection code is typed
    access psql [ARGUMENTS OF psql]    the same for a database

    access stop < ORDER                brings an emergency stop, signed with a card ('AccessBroker.TerminalAgent sign-stop'), to all targets

    The broker and its CA are read from /etc/accessbroker/access.json, or from the file that ACCESSBROKER_CONFIG names: {"broker": "https://…", "ca": "/…/ca.pem"}.
    """;
if (args is not (["ssh" or "psql", ..] or ["stop"]) or [_, "--help" or "-h", ..])
{
    Console.Error.WriteLine(usage);
    return 2;
}
try
{
    var place = JsonSerializer.Deserialize<Place>(File.ReadAllText(Environment.GetEnvironmentVariable("ACCESSBROKER_CONFIG") ?? "/etc/accessbroker/access.json"), JsonSerializerOptions.Web)!;
    if (args is ["stop"]) return await Connect.StopAsync(place, Console.In.ReadToEnd());
    var (program, rest) = (args[0], args[1..]);
    Console.Error.Write("接続コード: ");
    var code = (Console.In.ReadLine() ?? "").Trim();
    using var own = new OwnDirectory();
    return program == "ssh" ? await Connect.SshAsync(place, own, code, rest) : await Connect.PsqlAsync(place, own, code, rest);
}
catch (Exception e) when (e is InvalidOperationException or IOException or JsonException or HttpRequestException or UnauthorizedAccessException or TaskCanceledException)
{
    Console.Error.WriteLine($"access: {e.Message}");
    return 1;
}

namespace AccessBroker.Helper
{
    /// <summary>Where the broker is.</summary>
    internal sealed record Place(string Broker, string Ca);

    /// <summary>A directory that only this user can read, gone when the work is over.</summary>
    internal sealed class OwnDirectory : IDisposable
    {
        internal string Path { get; } = Directory.CreateTempSubdirectory("access-").FullName;
        internal string File(string name) => System.IO.Path.Combine(Path, name);
        public void Dispose() => Directory.Delete(Path, recursive: true);
    }

    /// <summary>Brings the code and a fresh key, or the verifier of a fresh password, to the broker, and runs the stock client.</summary>
    internal static class Connect
    {
        /// <summary>ssh with a new key and its certificate; the host's key is the one the broker names.</summary>
        internal static async Task<int> SshAsync(Place place, OwnDirectory own, string code, string[] rest)
        {
            Run("ssh-keygen", ["-q", "-t", "ecdsa", "-b", "256", "-N", "", "-C", "access", "-f", own.File("key")]);
            var answer = await AskAsync(place, new { code, publicKey = File.ReadAllText(own.File("key.pub")).Trim() });
            var (host, port, account) = (answer.GetProperty("place").GetProperty("host").GetString()!, answer.GetProperty("place").GetProperty("port").GetInt32(), answer.GetProperty("place").GetProperty("account").GetString()!);
            // ssh takes options after the host as well: what is no host name goes nowhere.
            if (!char.IsAsciiLetterOrDigit(host[0]) || !account.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')) throw new InvalidOperationException("the broker names no host");
            File.WriteAllText(own.File("key-cert.pub"), answer.GetProperty("certificate").GetString() + "\n");
            File.WriteAllText(own.File("known"), $"[{host}]:{port} {answer.GetProperty("place").GetProperty("hostKey").GetString()}\n{host} {answer.GetProperty("place").GetProperty("hostKey").GetString()}\n");
            return Run("ssh", ["-F", "none", "-i", own.File("key"), "-o", $"CertificateFile={own.File("key-cert.pub")}", "-o", "IdentitiesOnly=yes", "-o", $"UserKnownHostsFile={own.File("known")}", "-o", "StrictHostKeyChecking=yes", "-o", "ForwardAgent=no", "-p", $"{port}", "-l", account, host, .. rest], mayFail: true);
        }

        /// <summary>psql with a password that nobody else knows: the broker gets its SCRAM verifier only.</summary>
        internal static async Task<int> PsqlAsync(Place place, OwnDirectory own, string code, string[] rest)
        {
            var password = Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(24));
            var admitted = await AskAsync(place, new { code, verifier = Scram.Verifier(password) });
            var answer = admitted.GetProperty("place");
            var file = own.File("pgpass");
            File.WriteAllText(file, $"*:*:*:*:{password}\n");
            if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            return Run("psql", [.. rest, $"host={answer.GetProperty("host").GetString()} port={answer.GetProperty("port").GetInt32()} user={admitted.GetProperty("account").GetString()} dbname={answer.GetProperty("database").GetString()} passfile={file}"], mayFail: true);
        }

        /// <summary>Which targets it was brought to: who is missing did not get it, and it is carried there by hand.</summary>
        internal static async Task<int> StopAsync(Place place, string order)
        {
            var told = (await AskAsync(place, JsonSerializer.Deserialize<JsonElement>(order), "/privileged/stop-orders")).GetProperty("targets").EnumerateArray().Select(t => t.GetString()).ToList();
            Console.WriteLine(told.Count > 0 ? $"停止の指示を送りました: {string.Join(' ', told)}(止まったことは、対象の機器か特権作業の画面で確かめてください)" : "停止の指示は、どの対象にも届きませんでした。対象の機器で 'AccessBroker.TargetAgent stop' を使ってください。");
            return told.Count > 0 ? 0 : 1;
        }

        private static async Task<JsonElement> AskAsync(Place place, object question, string path = "/privileged/connect")
        {
            using var handler = new SocketsHttpHandler();
            var trust = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            trust.CustomTrustStore.ImportFromPemFile(place.Ca);
            handler.SslOptions.CertificateChainPolicy = trust;
            using var client = new HttpMessageInvoker(handler);
            using var request = new HttpRequestMessage(HttpMethod.Post, place.Broker + path) { Content = JsonContent.Create(question) };
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(15));
            using var response = await client.SendAsync(request, limit.Token);
            var answer = await response.Content.ReadFromJsonAsync<JsonElement>(limit.Token);
            return response.IsSuccessStatusCode ? answer : throw new InvalidOperationException(answer.TryGetProperty("detail", out var detail) ? detail.GetString() : $"{(int)response.StatusCode}");
        }

        private static int Run(string program, string[] arguments, bool mayFail = false)
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments))!;
            process.WaitForExit();
            return process.ExitCode == 0 || mayFail ? process.ExitCode : throw new InvalidOperationException($"{program} ended with {process.ExitCode}");
        }
    }
}
