using System.Diagnostics;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>A PostgreSQL server of its own, with passwords over TCP as a city has it, and the agent beside it with its narrow login.</summary>
internal sealed class DatabaseHost(PrivilegedCity broker, string target)
{
    private const string Bin = "/usr/lib/postgresql/15/bin/";
    private readonly string _data = Path.Combine(broker.DataDirectory, "target-" + target), _run = $"/run/ab-{broker.DatabaseName[..9]}-{target}";
    private Process? _server, _agent;

    internal int Port { get; } = Place.FreePort();

    internal async Task StartAsync()
    {
        Directory.CreateDirectory(_data);
        await Place.RunAsync("install", ["-d", "-o", "postgres", "-m", "755", _run]);
        await AsPostgresAsync($"{Bin}initdb -D {_run}/data -E UTF8 --locale=C.UTF-8 -A peer > /dev/null && printf 'local all postgres peer\\nhost all all 127.0.0.1/32 scram-sha-256\\n' > {_run}/data/pg_hba.conf && printf \"listen_addresses = '127.0.0.1'\\nport = {Port}\\nunix_socket_directories = '{_run}'\\nlogging_collector = on\\nlog_destination = jsonlog\\nlog_directory = '{_run}/log'\\nmax_connections = 400\\nfsync = off\\n\" >> {_run}/data/postgresql.conf");
        _server = Process.Start("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", $"{Bin}postgres", "-D", $"{_run}/data"]);
        await Eventually.TrueAsync(async () => (await Place.RunAsync("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", "pg_isready", "-q", "-h", _run, "-p", $"{Port}"], mayFail: true)).Exit == 0, "the database answers", 20);
        await SqlAsync("create database work", "postgres");
        await SqlAsync("create role access_agent login createrole password 'agent-of-the-tests'; grant pg_signal_backend to access_agent; grant set on parameter log_statement to access_agent; create role narrow; create role narrow_pair; create role wide bypassrls; create table open_rows (n integer); insert into open_rows select generate_series(1, 100); grant select, insert on open_rows to narrow; create table closed_rows (n integer); grant create on schema public to narrow; create extension dblink");
        var config = Path.Combine(_data, "target.json");
        await File.WriteAllTextAsync(config, JsonSerializer.Serialize(new
        {
            broker = $"https://localhost:{broker.PortForTargets}",
            brokerCa = Path.Combine(Place.Directory, "tls/ca.pem"),
            dataDirectory = Path.Combine(_data, "agent"),
            rightsEverySeconds = 1,
            postgres = new { connection = $"Host=127.0.0.1;Port={Port};Database=work;Username=access_agent;Password=agent-of-the-tests", host = "127.0.0.1", port = Port, statementLog = $"{_run}/log" },
        }));
        var program = Path.Combine(Place.App("target"), "AccessBroker.TargetAgent.dll");
        await Place.RunAsync("dotnet", [program, "enrol", "--config", config], input: await SshHost.CodeAsync(broker, target) + "\n");
        var start = new ProcessStartInfo("dotnet", [program, "run", "--config", config]) { RedirectStandardError = true };
        Node.SetClock(start, broker.ClockOfTargets);
        _agent = Process.Start(start)!;
        _agent.ErrorDataReceived += (_, line) => { lock (_log) _log.AppendLine(line.Data); };
        _agent.BeginErrorReadLine();
        await Eventually.TrueAsync(async () => await broker.SqlAsync($"select count(*) from privileged.agents where target = '{target}' and revoked_at is null and seen_at is not null") is ["1"], "the agent is attached", 20);
    }

    private readonly System.Text.StringBuilder _log = new();
    internal string Log { get { lock (_log) return _log.ToString(); } }

    private static Task<(int Exit, string Output, string Error)> AsPostgresAsync(string script) => Place.RunAsync("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", "sh", "-c", "cd / && " + script]);

    /// <summary>As the superuser.</summary>
    internal async Task<List<string>> SqlAsync(string sql, string database = "work") =>
        [.. (await Place.RunAsync("setpriv", ["--reuid=postgres", "--regid=postgres", "--init-groups", "env", "-C", "/", "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", _run, "-p", $"{Port}", "-d", database, "-c", sql])).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    /// <summary>Roles and backends of sessions.</summary>
    internal Task<List<string>> LeftAsync() => SqlAsync("select 'role ' || rolname from pg_roles where rolname like 'ab\\_%' union all select 'backend ' || usename from pg_stat_activity where usename like 'ab\\_%'");

    internal async Task StopAsync()
    {
        foreach (var process in new[] { _agent, _server }.OfType<Process>().Where(p => !p.HasExited))
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync();
        }
        if (Directory.Exists(_run)) Directory.Delete(_run, recursive: true);
    }
}
