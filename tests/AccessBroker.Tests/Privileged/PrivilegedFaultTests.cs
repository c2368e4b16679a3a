using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>
/// Work under way on a host, a database and files at once, and then something fails: nobody new gets in, everything ends on time, and the history tells it.
/// </summary>
public sealed class PrivilegedFaultTests(PrivilegedFaultTests.City broker) : IClassFixture<PrivilegedFaultTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedFilesCity
    {
        private Relay? _wire;
        /// <summary>Between the targets and the broker.</summary>
        internal Relay Wire => _wire ??= new(TerminalsPort);
        internal override int PortForTargets => Wire.Port;
        internal string BrokersClock => Path.Combine(DataDirectory, "broker.clock");
        internal override string ClockOfTargets => Path.Combine(DataDirectory, "targets.clock");
        protected override string ClockOf(int index) => BrokersClock;

        protected override async Task ArrangeAsync()
        {
            foreach (var clock in (string[])[BrokersClock, ClockOfTargets]) await File.WriteAllTextAsync(clock, "+0");
            Wire.Start();
            await base.ArrangeAsync();
        }

        protected override async Task EndAsync()
        {
            await base.EndAsync();
            Wire.Dispose();
        }
    }

    /// <summary>What fails; whether a connection could be made meanwhile; whether the file server goes on until the limit.</summary>
    private sealed record Fault(string Name, Func<Task> Strike, Func<Task> Mend, bool Admits = false, bool FilesGoOn = false)
    {
        /// <summary>The only node does not work with a wrong clock: cards may count as gone meanwhile, and what hangs on them ends early.</summary>
        internal bool MayEndEarly => Name.StartsWith("clock of the broker", StringComparison.Ordinal);
    }

    private TestTerminal _terminal = null!;
    private SshHost _host = null!;
    private DatabaseHost _database = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        (_host, _database) = (await broker.HostAsync(), await broker.DatabaseAsync());
        // Whatever the fault before left.
        await WellAsync();
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private Fault[] Faults => [
        new("broker killed", () => broker.Node(0).KillAsync(), broker.StartAsync),
        new("database killed", () => Place.PartAsync("kill", "postgres"), () => Place.PartAsync("start", "postgres")),
        new("HSM gone", () => Place.HsmAsync("stop"), () => Place.HsmAsync("start"), FilesGoOn: true),
        new("network cut", () => { broker.Wire.Cut(); return Task.CompletedTask; }, () => { broker.Wire.Start(); return Task.CompletedTask; }, Admits: true, FilesGoOn: true),
        new("clock of the targets +1h", () => File.WriteAllTextAsync(broker.ClockOfTargets, "+1h"), () => File.WriteAllTextAsync(broker.ClockOfTargets, "+0"), Admits: true, FilesGoOn: true),
        new("clock of the targets -1h", () => File.WriteAllTextAsync(broker.ClockOfTargets, "-1h"), () => File.WriteAllTextAsync(broker.ClockOfTargets, "+0"), Admits: true, FilesGoOn: true),
        new("clock of the broker +10m", () => File.WriteAllTextAsync(broker.BrokersClock, "+10m"), () => File.WriteAllTextAsync(broker.BrokersClock, "+0")),
        new("clock of the broker -10m", () => File.WriteAllTextAsync(broker.BrokersClock, "-10m"), () => File.WriteAllTextAsync(broker.BrokersClock, "+0")),
    ];

    [Theory, Trait("Requirement", "PRV-02"), InlineData(0), InlineData(1), InlineData(2), InlineData(3), InlineData(4), InlineData(5), InlineData(6), InlineData(7)]
    public async Task Everything_ends_on_time_whatever_fails(int which)
    {
        var fault = Faults[which];
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        await broker.EnterFilesAsync(me);
        var (shell, query, repair) = (await BeginAsync("maintain", "app", "ssh"), await BeginAsync("look", "db", "postgres"), await BeginAsync("repair", "documents", "files"));
        var late = await CodeAsync(shell);
        using var ssh = broker.Access("ssh", await CodeAsync(shell), "nohup sleep 700 & sleep 701");
        using var psql = broker.Access("psql", await CodeAsync(query), "-qAt", "-c", "select pg_sleep(702)");
        await Eventually.TrueAsync(async () => _host.Processes().Exists(p => p.Contains("701", StringComparison.Ordinal)) && (await _database.LeftAsync()).Exists(l => l.StartsWith("backend", StringComparison.Ordinal)), $"both run {_host.Log} {_database.Log}", 20);
        using var http = broker.Client(cookies: me.Cookies, window: 64 * 1024);
        await Eventually.TrueAsync(async () => { using var asked = await http.GetAsync(broker.FileUrl("公開/お知らせ.txt")); return asked.StatusCode == HttpStatusCode.OK; }, "the file may be read");
        var download = FileSessionTests.ReadAsync(await http.GetAsync(broker.FileUrl("公開/大きい.bin"), HttpCompletionOption.ResponseHeadersRead));
        var since = Stopwatch.StartNew();
        await broker.SqlAsync("with t as (select now() + interval '4 seconds' as at), g as (update file_permissions.grants set valid_until = t.at from t where ended_at is null) update privileged.sessions set ends_at = t.at from t where ended_at is null");
        await Task.Delay(1500);    // The targets have been told.
        Assert.False(download.IsCompleted || ssh.HasExited || psql.HasExited, $"{fault.Name}: it ended before its time");
        await fault.Strike();
        try
        {
            if (fault.Name == "network cut") await NothingNewOpensAsync();
            if (fault.MayEndEarly) await Eventually.TrueAsync(async () => { using var asked = await http.GetAsync(new Uri("/health", UriKind.Relative)); return !asked.IsSuccessStatusCode; }, "the broker knows that its clock is off");
            Assert.True(await ConnectsAsync(me, late) == fault.Admits, $"{fault.Name}: {(fault.Admits ? "a new connection of open work is refused" : "somebody new gets in")}");
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            await Task.WhenAll(ssh.WaitForExitAsync(limit.Token), psql.WaitForExitAsync(limit.Token));
            Assert.True(since.Elapsed.TotalSeconds < 9, $"{fault.Name}: it ended {since.Elapsed.TotalSeconds:0.0} s after a limit of 4 s was set");
            Assert.True(fault.MayEndEarly || since.Elapsed.TotalSeconds > 3.5, $"{fault.Name}: it ended before its time");
            Assert.IsAssignableFrom<IOException>(await download.WaitAsync(limit.Token));
            if (fault.FilesGoOn) Assert.True(since.Elapsed.TotalSeconds > 3.5, $"{fault.Name}: the download ended before its time");
            await _host.GoneAsync();
            await Eventually.TrueAsync(async () => (await _database.LeftAsync()).Count == 0, $"{fault.Name}: nothing is left in the database");
        }
        finally { await fault.Mend(); }    // Whatever went wrong here, the tests after this one have their parts.
        string[] all = [shell, query, repair];
        await Eventually.TrueAsync(async () =>
        {
            try { return (await broker.SqlAsync($"select id from privileged.sessions where state = 'ended' and left_over = 0 and id in ('{string.Join("', '", all)}')")).Count == 3; }
            catch (Npgsql.NpgsqlException) { return false; }
        }, $"{fault.Name}: the ends are on record", 60);
        Assert.All(await broker.SqlAsync($"select end_reason from privileged.sessions where id in ('{shell}', '{query}')"), reason => Assert.True(reason == "privileged.limit" || (fault.MayEndEarly && reason == "privileged.session-over"), reason));
        foreach (var session in all) Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from history.events where operation = 'privileged.end' and details->>'privileged' = '{session}'"));
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from history.events where operation = 'files.end-grant' and details->>'privileged' = '{repair}'"));
        await WellAsync();
    }

    /// <summary>One node and no Redis: an emergency begins, connects, and ends with the card as ever.</summary>
    [Fact, Trait("Requirement", "PRV-13"), Trait("Requirement", "PRV-02")]
    public async Task An_emergency_needs_no_Redis()
    {
        await Place.PartAsync("kill", "redis");
        try
        {
            using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
            var form = new (string, string)[] { ("Work", "maintain"), ("Reason", "住民票の発行が止まっており待てない") };
            var asked = await me.PostAsync("/privileged/emergency", form);
            var begun = await me.PostAsync("/privileged/emergency", [.. form, ("Confirmed", await me.ConfirmAsync(asked.To))]);
            Assert.StartsWith("/privileged/ps", begun.To, StringComparison.Ordinal);
            var session = begun.To!["/privileged/".Length..];
            await broker.StateAsync(session, "open");
            using var ssh = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "sleep 703");
            await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Exists(p => p.Contains("703", StringComparison.Ordinal))), $"it runs {_host.Log}", 20);
            await _terminal.RemoveAsync();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            await ssh.WaitForExitAsync(limit.Token);
            await broker.StateAsync(session, "ended");
            Assert.Equal(["privileged.session-over|0"], await broker.SqlAsync($"select end_reason, left_over from privileged.sessions where id = '{session}'"));
        }
        finally { await Place.PartAsync("start", "redis"); }
    }

    /// <summary>A target that comes back with work the database does not know, or knows as over (an older copy was restored): it ends at once.</summary>
    [Theory, Trait("Requirement", "PRV-02"), InlineData("update privileged.sessions set state = 'ended', ended_at = now() where id = '{0}'"), InlineData("delete from privileged.connect_codes where session = '{0}'; delete from privileged.chunks where session = '{0}'; delete from privileged.sessions where id = '{0}'")]
    public async Task Work_that_is_not_on_record_ends_when_its_target_comes_back(string lost)
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var shell = await BeginAsync("maintain", "app", "ssh");
        using var ssh = broker.Access("ssh", await CodeAsync(shell), "sleep 704");
        await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Exists(p => p.Contains("704", StringComparison.Ordinal))), $"it runs {_host.Log}", 20);
        broker.Wire.Cut();
        await broker.SqlAsync("delete from privileged.certificates; " + string.Format(System.Globalization.CultureInfo.InvariantCulture, lost, shell));
        Assert.False(ssh.HasExited);
        broker.Wire.Start();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(15));
        await ssh.WaitForExitAsync(limit.Token);
        await _host.GoneAsync();
        Assert.NotEmpty(await broker.SqlAsync($"select 1 from history.events where operation = 'privileged.order-end' and reason = 'privileged.no-such-session' and details->>'privileged' = '{shell}'"));
    }

    private async Task WellAsync()
    {
        await Eventually.TrueAsync(async () => { using var client = broker.Client(); return (await client.GetAsync(new Uri("/health", UriKind.Relative))).IsSuccessStatusCode; }, "the broker is well", 30);
        await _terminal.AttachedAsync();
        await _host.AttachedAsync();
    }

    /// <summary>A session as a start leaves it.</summary>
    private async Task<string> BeginAsync(string work, string target, string kind)
    {
        var id = $"ps{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(10))}";
        await broker.SqlAsync($"""
            insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state)
            select '{id}', '{work}', '{target}', '{kind}', s.person, s.card, s.terminal, s.id, s.address, 'x', '', '{'{'}{'}'}', now(), now() + interval '1 hour', '{(kind == "files" ? "open" : "opening")}' from sessions.sessions s where s.person = 'p-9001' and s.ended_at is null;
            insert into file_permissions.grants (resource, subject, actions, valid_from, valid_until, reason, requested_by, approved_by, holder) select '/公開', 'person:p-9001', array['read'], now(), now() + interval '1 hour', 'x', 'x', 'x', '{id}' where '{kind}' = 'files'
            """);
        await broker.StateAsync(id, "open");
        return id;
    }

    /// <summary>What is begun while no target can be reached waits, and is open nowhere.</summary>
    private async Task NothingNewOpensAsync()
    {
        await broker.SqlAsync("insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state) select 'ps00000000000000000000', 'maintain', 'app', 'ssh', s.person, s.card, s.terminal, s.id, s.address, 'x', '', '{}', now(), now() + interval '1 hour', 'opening' from sessions.sessions s where s.person = 'p-9001' and s.ended_at is null");
        await Task.Delay(500);
        Assert.Equal(["opening|"], await broker.SqlAsync("select state, place from privileged.sessions where id = 'ps00000000000000000000'"));
        await broker.SqlAsync("delete from privileged.sessions where id = 'ps00000000000000000000'");
    }

    private async Task<string> CodeAsync(string session)
    {
        var code = Secret.New(16);
        await broker.SqlAsync($"insert into privileged.connect_codes (code_hash, session, expires_at) values ('\\x{Convert.ToHexString(Secret.Hash(code))}', '{session}', clock_timestamp() + interval '2 minutes')");
        return code;
    }

    private static async Task<bool> ConnectsAsync(ConsoleBrowser me, string code)
    {
        var directory = Directory.CreateTempSubdirectory("ab-key-");
        try
        {
            await Place.RunAsync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", $"{directory}/key"]);
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(8));
            using var response = await me.Http.PostAsJsonAsync("/privileged/connect", new { code, publicKey = (await File.ReadAllTextAsync($"{directory}/key.pub")).Trim() }, limit.Token);
            return response.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException) { return false; }
        finally { directory.Delete(recursive: true); }
    }
}
