using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using Npgsql;

namespace AccessBroker.Tests.Support;

/// <summary>A broker process of its own on a copy of the test city's database. Stops, and drops the copy, at the end of the class.</summary>
public class BrokerHost : IAsyncLifetime
{
    private readonly string _database = "t" + Guid.NewGuid().ToString("n");
    private readonly List<TestTerminal> _terminals = [];
    private Process? _process;

    public int Port { get; } = Place.FreePort();
    public int TerminalsPort { get; } = Place.FreePort();
    public int[] AgentPorts { get; } = [Place.FreePort(), Place.FreePort()];
    public string Issuer => $"https://localhost:{Port}";
    public int ProcessId => _process!.Id;
    public string Log { get; private set; } = "";
    public string DataDirectory => Path.Combine(Place.Directory, "broker", _database);
    public string PolicyDirectory => Path.Combine(DataDirectory, "policies");

    /// <summary>What a class changes before the start: environment variables of the broker.</summary>
    protected virtual IEnumerable<KeyValuePair<string, string>> Settings => [];

    /// <summary>What a class changes in its copy of the policies.</summary>
    protected virtual void ChangePolicies(string directory) { }

    public async ValueTask InitializeAsync()
    {
        await using (var admin = await OpenAsync("postgres", "postgres"))
        await using (var create = new NpgsqlCommand($"create database {_database} template city strategy file_copy owner accessbroker_owner", admin)) await create.ExecuteNonQueryAsync();
        Directory.CreateDirectory(DataDirectory);
        await Place.RunAsync("cp", ["-r", Place.App("policies"), PolicyDirectory]);
        ChangePolicies(PolicyDirectory);
        await StartAsync();
    }

    /// <summary>Starts the process, again after <see cref="StopAsync"/>, and waits until it answers.</summary>
    public async Task StartAsync()
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(Place.App("broker"), "AccessBroker.dll"));
        start.ArgumentList.Add("serve");
        foreach (var (name, value) in Environment()) start.Environment[name] = value;
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => { lock (this) Log += line.Data + "\n"; };
        _process.ErrorDataReceived += (_, line) => { lock (this) Log += line.Data + "\n"; };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        using var client = Client();
        await Eventually.TrueAsync(async () =>
        {
            Assert.False(_process.HasExited, Log);
            try { return (await client.GetAsync(new Uri("/health", UriKind.Relative))).StatusCode != 0; }
            catch (HttpRequestException) { return false; }
        }, "the broker answers: " + Log, 30);
    }

    public Dictionary<string, string> Environment()
    {
        var environment = new Dictionary<string, string>
        {
            ["Broker__Issuer"] = Issuer,
            ["Broker__Listen"] = $"127.0.0.1:{Port}",
            ["Broker__ListenTerminals"] = $"127.0.0.1:{TerminalsPort}",
            ["Broker__AgentOrigins__0"] = $"http://127.0.0.1:{AgentPorts[0]}",
            ["Broker__AgentOrigins__1"] = $"http://127.0.0.1:{AgentPorts[1]}",
            ["Broker__DataDirectory"] = DataDirectory,
            ["Broker__PolicyDirectory"] = PolicyDirectory,
            ["Broker__Database"] = $"Host={Place.Directory}/sql;Database={_database};Username=accessbroker;Maximum Pool Size=40",
            ["Broker__DatabaseOwner"] = $"Host={Place.Directory}/sql;Database={_database};Username=accessbroker_owner;Pooling=false",
        };
        foreach (var (name, value) in Settings) environment[name] = value;
        return environment;
    }

    public async Task StopAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
    }

    public static async Task<NpgsqlConnection> OpenAsync(string database, string user)
    {
        var connection = new NpgsqlConnection($"Host={Place.Directory}/sql;Database={database};Username={user};Pooling=false");
        await connection.OpenAsync();
        return connection;
    }

    /// <summary>The class's database, as the owner: to arrange what the product has no way to do yet, and to look.</summary>
    public Task<NpgsqlConnection> OpenAsync(bool asServer = false) => OpenAsync(_database, asServer ? "accessbroker" : "accessbroker_owner");

    public async Task<List<string>> SqlAsync(string sql, bool asServer = false)
    {
        await using var connection = await OpenAsync(asServer);
        await using var command = new NpgsqlCommand(sql, connection);
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<string>();
        while (await reader.ReadAsync()) rows.Add(string.Join('|', Enumerable.Range(0, reader.FieldCount).Select(i => reader.IsDBNull(i) ? "" : Convert.ToString(reader.GetValue(i), System.Globalization.CultureInfo.InvariantCulture))));
        return rows;
    }

    /// <summary>The newest event of an operation: outcome, reason, person, terminal.</summary>
    public async Task<string?> LastEventAsync(string operation) =>
        (await SqlAsync($"select outcome || ' ' || reason || ' ' || coalesce(person, '-') || ' ' || coalesce(terminal, '-') from history.events where operation = '{operation}' order by id desc limit 1")).FirstOrDefault();

    public Task<string> EventAsync(string operation, string expected) =>
        Eventually.FindAsync(async () => await LastEventAsync(operation) is { } last && last == expected ? last : null, $"{operation}: {expected}");

    /// <summary>A client that trusts the tests' CA. <paramref name="from"/>: the address it comes from.</summary>
    public HttpClient Client(string from = "127.0.0.1", System.Net.CookieContainer? cookies = null) => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseCookies = cookies is not null,
        CookieContainer = cookies ?? new(),
        SslOptions = { CertificateChainPolicy = Trust(), TargetHost = "localhost" },
        ConnectCallback = async (context, ct) =>
        {
            var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp) { NoDelay = true };
            socket.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Parse(from), 0));
            await socket.ConnectAsync(System.Net.IPAddress.Loopback, context.DnsEndPoint.Port, ct);
            return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
        },
    })
    { BaseAddress = new Uri(Issuer), Timeout = TimeSpan.FromSeconds(40) };

    private static X509ChainPolicy Trust()
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(Path.Combine(Place.Directory, "tls/ca.pem"));
        return policy;
    }

    /// <summary>An enrolled terminal with its agent, attached. t-01 has reader 0, t-02 reader 1.</summary>
    internal async Task<TestTerminal> TerminalAsync(string id = "t-01")
    {
        if (_terminals.FirstOrDefault(t => t.Id == id) is { } known) return known;
        var terminal = new TestTerminal(this, id, id == "t-01" ? 0 : 1);
        _terminals.Add(terminal);
        await terminal.EnrolAsync();
        await terminal.StartAsync();
        return terminal;
    }

    /// <summary>Readers empty, counters and sessions gone: the next test starts from nothing.</summary>
    internal async Task ClearAsync()
    {
        foreach (var terminal in _terminals) await terminal.ClearAsync();
        await SqlAsync("truncate lockout.counters; update sessions.sessions set ended_at = now(), end_reason = 'test' where ended_at is null; update cards.cards set tries_left = null, state = case when person = 'p-1003' then 'lost' else 'handed-over' end; update terminals.terminals set state = 'in-use'");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var terminal in _terminals) await terminal.DisposeAsync();
        if (_process is { HasExited: false }) await StopAsync();
        await using var admin = await OpenAsync("postgres", "postgres");
        await using var drop = new NpgsqlCommand($"drop database if exists {_database} with (force)", admin);
        await drop.ExecuteNonQueryAsync();
        Directory.Delete(DataDirectory, recursive: true);
        GC.SuppressFinalize(this);
    }
}
