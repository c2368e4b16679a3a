using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>A city with hosts for privileged work: sshd and a PostgreSQL, each with its agent, started when first asked for.</summary>
public class PrivilegedCity : BrokerHost
{
    private SshHost? _host;
    private DatabaseHost? _database;
    internal SshHost Host => _host ??= new(this, "app", Accounts);
    protected virtual int Accounts => 6;
    /// <summary>Where the targets' agents reach the broker.</summary>
    internal virtual int PortForTargets => TerminalsPort;
    /// <summary>A clock of their own for the targets' agents, as for a node. Default: the machine's.</summary>
    internal virtual string? ClockOfTargets => null;

    internal const string Policy = """
        request-valid: 7d
        start-within: 8h
        establish: 60s
        warnings: [15m, 5m, 1m]
        emergency: { longest: 30m, per-day: 2, report-within: 24h }
        targets:
          app: { name: 試験サーバー, kind: ssh }
          db: { name: 試験データベース, kind: postgres }
          documents: { name: 文書サーバー, kind: files }
        work:
          maintain: { name: 試験サーバーの保守, target: app, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: true, instruction: false, commands: [/usr/bin/id -u, /bin/sleep 300] }
          careful: { name: 二人で承認する保守, target: app, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 2, longest: 30m, idle: 15m, hours: "", emergency: false, instruction: true }
          look: { name: データベースの照会, target: db, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: false, database: work, database-roles: [narrow] }
          repair: { name: 文書の修復, target: documents, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: false, path: /公開, actions: [read] }
          urgent: { name: 緊急の修復, target: documents, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: true, instruction: false, path: /公開, actions: [read, write] }

        """;

    protected override void ChangePolicies(string directory) => File.WriteAllText(Path.Combine(directory, "privileged.yaml"), Policy);

    internal async Task<SshHost> HostAsync()
    {
        if (_host is not null) return _host;
        await Host.EnrolAsync();
        await Host.StartAgentAsync();
        return Host;
    }

    internal async Task<DatabaseHost> DatabaseAsync()
    {
        if (_database is not null) return _database;
        _database = new(this, "db");
        await _database.StartAsync();
        return _database;
    }

    protected override async Task EndAsync()
    {
        if (_host is not null) await _host.StopAsync();
        if (_database is not null) await _database.StopAsync();
    }

    /// <summary>Asks, as whoever is signed in; the request's number.</summary>
    internal static Task<long> AskAsync(ConsoleBrowser me, string work = "maintain", int minutes = 30, params (string, string)[] more) => me.AskAsync("privileged.session", "障害の調査", [("work", work), ("minutes", $"{minutes}"), ("plan", "記録を調べて再起動する"), .. more]);

    /// <summary>Somebody else approves at the second terminal, with their card.</summary>
    internal async Task ApproveAsync(long request, string card = "boss", string step = "approve-1")
    {
        using var approver = await ConsoleBrowser.SignInAsync(this, await TerminalAsync("t-02"), card);
        var approved = await approver.ApproveConfirmedAsync(request, step);
        Assert.True(approved.Status == HttpStatusCode.OK && approved.Page.Contains("承認しました", StringComparison.Ordinal), $"{approved.Status} {ConsoleBrowser.Notice(approved.Page)}");
    }

    /// <summary>Begins an approved request: card and PIN for exactly this. The session's id, or what refused it.</summary>
    internal static async Task<(string? Session, string Page)> StartAsync(ConsoleBrowser me, long request)
    {
        var asked = await me.PostAsync($"/privileged/start/{request}");
        if (asked.To is null || !asked.To.StartsWith("/sign-in/", StringComparison.Ordinal)) return (null, asked.Page);
        var started = await me.PostAsync($"/privileged/start/{request}", ("Confirmed", await me.ConfirmAsync(asked.To)));
        return started.To is { } to && to.StartsWith("/privileged/ps", StringComparison.Ordinal) ? (to["/privileged/".Length..], started.Page) : (null, started.Page);
    }

    /// <summary>Everything up to the open session.</summary>
    internal async Task<string> OpenAsync(ConsoleBrowser me, string work = "maintain")
    {
        var request = await AskAsync(me, work);
        await ApproveAsync(request);
        var (session, page) = await StartAsync(me, request);
        Assert.True(session is not null, ConsoleBrowser.Notice(page));
        await StateAsync(session!, "open");
        return session!;
    }

    internal Task StateAsync(string session, string state, double seconds = 10) => Eventually.TrueAsync(async () => await SqlAsync($"select state from privileged.sessions where id = '{session}'") is [var now] && now == state, $"{session} is {state}: {_host?.Log}", seconds);

    internal static async Task<string> CodeAsync(ConsoleBrowser me, string session)
    {
        var page = (await me.PostAsync($"/privileged/{session}?handler=code")).Page;
        var code = Regex.Match(page, "id=\"code\">([^<]+)<").Groups[1].Value;
        Assert.True(code.Length > 10, ConsoleBrowser.Notice(page));
        return code;
    }

    /// <summary>The operator's helper with the code typed, as a process.</summary>
    internal Process Access(string program, string code, params string[] arguments) => AccessWith(null, program, code, arguments);

    /// <param name="postgresOptions">What the operator's own libpq sends with the login; null: nothing.</param>
    internal Process AccessWith(string? postgresOptions, string program, string code, params string[] arguments)
    {
        var config = Path.Combine(DataDirectory, "access.json");
        // Once: a helper of before may be reading it.
        if (!File.Exists(config)) File.WriteAllText(config, JsonSerializer.Serialize(new { broker = Issuer, ca = Path.Combine(Place.Directory, "tls/ca.pem") }));
        var process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(Place.App("access"), "access.dll"), program, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, Environment = { ["ACCESSBROKER_CONFIG"] = config, ["PGOPTIONS"] = postgresOptions } })!;
        process.StandardInput.WriteLine(code);
        process.StandardInput.Flush();
        return process;
    }

    /// <summary>Runs the helper to its end.</summary>
    internal async Task<(int Exit, string Output, string Error)> AccessAsync(string program, string code, params string[] arguments)
    {
        using var process = Access(program, code, arguments);
        process.StandardInput.Close();
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output, await error);
    }

    /// <summary>As no privileged session was ever there.</summary>
    internal async Task ClearPrivilegedAsync()
    {
        await ClearAsync();
        await Eventually.TrueAsync(async () => await SqlAsync("select count(*) from privileged.sessions where ended_at is null and kind in ('ssh', 'postgres')") is ["0"], "no session runs", 15);
        await SqlAsync("update privileged.stops set lifted_at = now(), lifted_by = 'test' where lifted_at is null; update privileged.sessions set reviewed_at = now(), reviewed_by = 'test', result = coalesce(result, 'x'), started_at = started_at - interval '2 days' where ended_at is not null");
    }
}
