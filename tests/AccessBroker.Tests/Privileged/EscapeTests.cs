using System.Diagnostics;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Ways out of a session, each tried on the real host; and the same host with its agent gone.</summary>
public sealed class EscapeTests(EscapeTests.City broker) : IClassFixture<EscapeTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity;

    private TestTerminal _terminal = null!;
    private SshHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        _host = await broker.HostAsync();
        await broker.ClearPrivilegedAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    /// <summary>A key of one's own with its certificate, for every trick that ssh knows.</summary>
    private static async Task<(string Directory, string Account)> KeyAsync(ConsoleBrowser me, string session)
    {
        var directory = Directory.CreateTempSubdirectory("ab-key-").FullName;
        await Place.RunAsync("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-f", $"{directory}/key"]);
        using var response = await me.Http.PostAsJsonAsync("/privileged/connect", new { code = await PrivilegedCity.CodeAsync(me, session), publicKey = (await File.ReadAllTextAsync($"{directory}/key.pub")).Trim() });
        var answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.True(response.IsSuccessStatusCode, answer.ToString());
        await File.WriteAllTextAsync($"{directory}/key-cert.pub", answer.GetProperty("certificate").GetString() + "\n");
        return (directory, answer.GetProperty("place").GetProperty("account").GetString()!);
    }

    private string[] Ssh((string Directory, string Account) key, params string[] rest) => ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", $"{key.Directory}/key", "-o", $"CertificateFile={key.Directory}/key-cert.pub", "-p", $"{_host.Port}", .. rest, $"{key.Account}@127.0.0.1"];

    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-09")]
    public async Task Nothing_gets_out_of_a_session()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me);
        var key = await KeyAsync(me, session);
        var running = new List<Process>();
        Process Start(params string[] arguments) { var process = Process.Start(new ProcessStartInfo("ssh", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true })!; running.Add(process); return process; }
        // Daemons of every make, from one connection that closes at once.
        var daemons = await Place.RunAsync("ssh", [.. Ssh(key), """
            (setsid sleep 1001 > /dev/null 2>&1 < /dev/null &) ; (sh -c '(sleep 1002 > /dev/null 2>&1 < /dev/null &) &') ; nohup sleep 1003 > /dev/null 2>&1 < /dev/null & disown
            tmux new-session -d 'sleep 1004' ; (trap '' HUP TERM INT QUIT; exec sleep 1005) > /dev/null 2>&1 < /dev/null &
            sudo -n /bin/sleep 300 > /dev/null 2>&1 < /dev/null & (setsid sudo -n /bin/sleep 300 > /dev/null 2>&1 < /dev/null &)
            for i in 1 2 3 4 5 6 7 8 9; do (while :; do sleep 0.01; done > /dev/null 2>&1 < /dev/null &) ; done
            echo x > /tmp/left-by-session; echo x > /dev/shm/left-by-session
            echo 'sleep 1006' | at now + 1 minute 2>&1; echo '* * * * * sleep 1007' | crontab - 2>&1; sudo -n /bin/sh -c id 2>&1; sudo -n -l 2>&1 | tail -2; id
            """]);
        Assert.Contains("You do not have permission to use at", daemons.Output, StringComparison.Ordinal);
        Assert.Contains("not allowed to use this program", daemons.Output, StringComparison.Ordinal);
        Assert.Contains("a password is required", daemons.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("uid=0", daemons.Output, StringComparison.Ordinal);
        // Connections of every make.
        Start([.. Ssh(key, "-M", "-S", $"{key.Directory}/master", "-N")]);
        Start([.. Ssh(key, "-N")]);
        Start([.. Ssh(key, "-s"), "sftp"]);
        Start([.. Ssh(key, "-tt"), "sleep 1010"]);
        await Eventually.TrueAsync(() => Task.FromResult(File.Exists($"{key.Directory}/master")), "the master listens");
        Start(["-S", $"{key.Directory}/master", "-F", "none", "x", "sleep 1011"]);
        await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Any(p => p.Contains("1011", StringComparison.Ordinal)) && _host.Processes().Any(p => p.Contains("1010", StringComparison.Ordinal))), "all run");
        Assert.True(running.TrueForAll(r => !r.HasExited), string.Join(' ', running.Where(r => r.HasExited).Select(r => r.StandardError.ReadToEnd())));
        // Forwarding is refused: the agent's socket and a port of the host.
        var forwarding = await Place.RunAsync("ssh", [.. Ssh(key, "-A", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22"), "echo agent=$SSH_AUTH_SOCK"], mayFail: true);
        Assert.NotEqual(0, forwarding.Exit);
        var roots = () => Directory.EnumerateDirectories("/proc").Where(d => char.IsAsciiDigit(d[^1])).Select(d => { try { return File.ReadAllText(d + "/cmdline").Replace('\0', ' '); } catch (IOException) { return ""; } }).Count(c => c.StartsWith("/bin/sleep 300", StringComparison.Ordinal) || c.Contains("sudo -n /bin/sleep", StringComparison.Ordinal));
        Assert.True(roots() >= 2);
        var began = Stopwatch.StartNew();
        await me.PostAsync($"/privileged/{session}?handler=end");
        await Task.Delay(Math.Max(0, 500 - (int)began.ElapsedMilliseconds));
        await _host.GoneAsync();
        Assert.Equal(0, roots());
        foreach (var client in running) { Assert.True(client.WaitForExit(1000)); client.Dispose(); }
        await broker.StateAsync(session, "ended");
        Assert.Equal(["0"], await broker.SqlAsync($"select left_over from privileged.sessions where id = '{session}'"));
        foreach (var file in (string[])["/tmp/left-by-session", "/dev/shm/left-by-session"]) Assert.False(File.Exists(file), file);
        Assert.Contains("/tmp/left-by-session", (await broker.SqlAsync($"select array_to_string(found, ',') from privileged.sessions where id = '{session}'"))[0], StringComparison.Ordinal);
        // The certificate is still within its minute; its principal is gone.
        Assert.Equal(255, (await Place.RunAsync("ssh", [.. Ssh(key), "true"], mayFail: true)).Exit);
        Directory.Delete(key.Directory, recursive: true);
    }

    [Fact, Trait("Requirement", "PRV-02")]
    public async Task An_agent_that_dies_takes_its_sessions_along_and_says_so_when_it_is_back()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me);
        var key = await KeyAsync(me, session);
        using var shell = Process.Start(new ProcessStartInfo("ssh", [.. Ssh(key), "setsid nohup sleep 800 & sleep 801"]) { RedirectStandardInput = true })!;
        await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Any(p => p.Contains("801", StringComparison.Ordinal))), "it runs");
        await _host.SignalAsync("KILL");
        await _host.GoneAsync();
        await _host.EndedAsync();
        await _host.StartAgentAsync();
        await broker.StateAsync(session, "ended", 20);
        Assert.Equal(["privileged.agent-restarted"], await broker.SqlAsync($"select end_reason from privileged.sessions where id = '{session}'"));
        // And it serves again.
        Assert.Equal(0, (await broker.AccessAsync("ssh", await PrivilegedCity.CodeAsync(me, await broker.OpenAsync(me)), "true")).Exit);
        Directory.Delete(key.Directory, recursive: true);
    }

    [Fact, Trait("Requirement", "MUT-03")]
    public async Task An_agent_whose_certificate_is_revoked_gets_nothing()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me);
        var environment = broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value);
        await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "targets", "revoke", "app"], environment);
        await Eventually.TrueAsync(() => Task.FromResult(_host.Log.Contains("status code \\u0027403", StringComparison.Ordinal)), "it is cut off and refused", 15);
        var request = await PrivilegedCity.AskAsync(me);
        await broker.ApproveAsync(request);
        var (second, _) = await PrivilegedCity.StartAsync(me, request);
        await Task.Delay(1500);
        Assert.Equal(["opening"], await broker.SqlAsync($"select state from privileged.sessions where id = '{second}'"));
        // Certified again, the host is one's own again, and what was running ends as it should.
        await Place.RunAsync("dotnet", [Path.Combine(Place.App("target"), "AccessBroker.TargetAgent.dll"), "enrol", "--config", _host.Config], input: await SshHost.CodeAsync(broker, "app") + "\n");
        await _host.AttachedAsync();
        await broker.StateAsync(second!, "open");
        await _terminal.RemoveAsync();
        await broker.StateAsync(session, "ended");
        await broker.StateAsync(second!, "ended");
    }

    /// <summary>Whatever order approvals come in, by whomever: never below k different people, never the requester.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public void Random_approvals_never_grant_below_k()
    {
        var (rounds, random) = (Environment.GetEnvironmentVariable("ACCESSBROKER_LONG") == "1" ? 1_000_000 : 10_000, new Random(7));
        for (var round = 0; round < rounds; round++)
        {
            var (needed, requester) = (random.Next(1, 4), $"p-{random.Next(5)}");
            var approvers = new List<string>();
            for (var vote = random.Next(6); vote > 0; vote--)
            {
                var person = $"p-{random.Next(5)}";
                // What the desk lets through: the rules of separation, each on the person.
                if (SeparationRule.Violations(Act.Approve, person, false, new(requester, approvers, null)).Count == 0) approvers.Add(person);
            }
            var granted = ApprovalSignatures.IsComplete(needed, requester, approvers);
            Assert.Equal(approvers.Where(a => a != requester).Distinct().Count() >= needed, granted);
            // Even if a row was smuggled past the desk.
            Assert.False(ApprovalSignatures.IsComplete(needed, requester, [.. approvers, requester]));
            if (approvers.Count > 0) Assert.False(ApprovalSignatures.IsComplete(needed, requester, [.. approvers, approvers[0]]));
        }
    }
}
