using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>A host of its own: the stock sshd with the product's sample, and the agent as a process beside it, with a pool of real accounts.</summary>
internal sealed class SshHost(PrivilegedCity broker, string target, int accounts)
{
    private readonly string _data = Path.Combine(broker.DataDirectory, "target-" + target), _run = $"/run/ab-{broker.DatabaseName[..9]}-{target}";
    private readonly string _prefix = $"ab-{broker.DatabaseName[1..6]}-";
    private Process? _sshd, _agent;

    internal int Port { get; } = Place.FreePort();
    internal string RunDirectory => _run;
    internal string DataDirectory => _data;
    internal string AgentData => Path.Combine(_data, "agent");
    internal string Revoked => Path.Combine(_data, "revoked");
    internal string Config => Path.Combine(_data, "target.json");
    internal int AgentId => _agent!.Id;
    internal string[] Accounts => [.. Enumerable.Range(1, accounts).Select(n => $"{_prefix}{n}")];
    private static string Program => Path.Combine(Place.App("target"), "AccessBroker.TargetAgent.dll");

    internal async Task EnrolAsync()
    {
        Directory.CreateDirectory(_data);
        Directory.CreateDirectory("/run/sshd");
        await Place.RunAsync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", Path.Combine(_data, "host")]);
        await File.WriteAllTextAsync(Config, JsonSerializer.Serialize(new
        {
            broker = $"https://localhost:{broker.PortForTargets}",
            brokerCa = Path.Combine(Place.Directory, "tls/ca.pem"),
            dataDirectory = AgentData,
            ssh = new { accounts = Accounts, host = "127.0.0.1", port = Port, hostKey = Path.Combine(_data, "host.pub"), runDirectory = _run },
        }));
        await Place.RunAsync("dotnet", [Program, "setup", "--config", Config]);
        await Place.RunAsync("dotnet", [Program, "enrol", "--config", Config], input: await CodeAsync(broker, target) + "\n");
        await StartSshdAsync();
    }

    internal static async Task<string> CodeAsync(BrokerHost broker, string target)
    {
        var environment = broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value);
        return (await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "targets", "enrolment-code", target], environment)).Output.Trim();
    }

    private async Task StartSshdAsync()
    {
        var sample = await File.ReadAllTextAsync(Path.Combine(Place.Root, "src/AccessBroker/samples/sshd-target.conf"));
        foreach (var (from, to) in ((string, string)[])[("/var/lib/accessbroker-target/ssh-user-ca.pub", Path.Combine(_data, "agent/ssh-user-ca.pub")), ("/run/accessbroker-target", _run), ("/opt/accessbroker-target", Path.GetDirectoryName(Program)!)])
        {
            Assert.Contains(from, sample, StringComparison.Ordinal);
            sample = sample.Replace(from, to, StringComparison.Ordinal);
        }
        await Place.RunAsync("ssh-keygen", ["-k", "-q", "-f", Revoked]);
        var config = Path.Combine(_data, "sshd_config");
        await File.WriteAllTextAsync(config, $"ListenAddress 127.0.0.1\nPort {Port}\nHostKey {_data}/host\nPidFile none\nLogLevel VERBOSE\nSubsystem sftp /usr/lib/openssh/sftp-server\nRevokedKeys {Revoked}\n" + sample);
        _sshd = Process.Start("/usr/sbin/sshd", ["-D", "-f", config, "-E", Path.Combine(_data, "sshd.log")]);
        await Eventually.TrueAsync(async () =>
        {
            using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
            try { await socket.ConnectAsync(System.Net.IPAddress.Loopback, Port); return true; }
            catch (System.Net.Sockets.SocketException) { return false; }
        }, "sshd listens");
    }

    internal async Task StartAgentAsync()
    {
        var start = new ProcessStartInfo("dotnet", [Program, "run", "--config", Config]) { RedirectStandardError = true };
        Node.SetClock(start, broker.ClockOfTargets);
        _agent = Process.Start(start)!;
        _agent.ErrorDataReceived += (_, line) => { lock (_log) _log.AppendLine(line.Data); };
        _agent.BeginErrorReadLine();
        await AttachedAsync();
    }

    private readonly StringBuilder _log = new();
    internal string Log { get { lock (_log) return _log.ToString(); } }
    internal string SshdLog => File.ReadAllText(Path.Combine(_data, "sshd.log"));

    internal Task AttachedAsync() => Eventually.TrueAsync(async () => !_agent!.HasExited ? await broker.SqlAsync($"select count(*) from privileged.agents where target = '{target}' and revoked_at is null and seen_at > clock_timestamp() - interval '2 seconds'") is ["1"] : throw new InvalidOperationException(Log), $"the agent is attached: {Log}", 20);

    /// <summary>kill -9, or any other signal.</summary>
    internal Task SignalAsync(string signal) => Place.RunAsync("kill", [$"-{signal}", $"{_agent!.Id}"], mayFail: signal == "TERM");

    internal Task EndedAsync() => _agent!.WaitForExitAsync();

    /// <summary>Every process that runs under an account of the pool, with its command.</summary>
    internal List<string> Processes()
    {
        var found = new List<string>();
        var uids = File.ReadLines("/etc/passwd").Where(l => l.StartsWith(_prefix, StringComparison.Ordinal)).Select(l => l.Split(':')[2]).ToHashSet();
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(d => char.IsAsciiDigit(d[^1])))
            try
            {
                var status = File.ReadAllLines(process + "/status");
                if (uids.Contains(status.First(l => l.StartsWith("Uid:", StringComparison.Ordinal)).Split('\t')[1]) && !status.Any(l => l.StartsWith("State:\tZ", StringComparison.Ordinal))) found.Add($"{process[6..]} {File.ReadAllText(process + "/cmdline").Replace('\0', ' ')}");
            }
            catch (IOException) { /* it has just ended */ }
        return found;
    }

    /// <summary>Nothing runs under an account of the pool: a killed process takes a moment to leave after its client has noticed. How long is the benchmark's business.</summary>
    internal Task GoneAsync() => Eventually.TrueAsync(() => Task.FromResult(Processes().Count == 0), "nothing of the pool runs");

    internal async Task StopAsync()
    {
        foreach (var process in new[] { _agent, _sshd }.OfType<Process>().Where(p => !p.HasExited))
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
        await GoneAsync();
        foreach (var account in Accounts) await Place.RunAsync("userdel", [account], mayFail: true);
        foreach (var file in (string[])["/etc/at.deny", "/etc/cron.deny"]) if (File.Exists(file)) await File.WriteAllLinesAsync(file, File.ReadAllLines(file).Except(Accounts));
        if (Directory.Exists(_run)) Directory.Delete(_run, recursive: true);
        // Groups of an agent that will never be back.
        var mount = File.ReadLines("/proc/mounts").Select(l => l.Split(' ')).FirstOrDefault(f => f[2] == "cgroup2")?[1];
        var group = Path.Combine(mount ?? "", $"accessbroker-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(AgentData)))[..8]}");
        if (mount is not null && Directory.Exists(group)) foreach (var inner in Directory.GetDirectories(group, "*", SearchOption.AllDirectories).Append(group).OrderByDescending(d => d.Length))
            try { Directory.Delete(inner); }
            catch (IOException) { /* something of root's is still leaving it */ }
    }
}
