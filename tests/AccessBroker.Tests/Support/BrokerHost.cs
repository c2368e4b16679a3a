using System.Security.Cryptography.X509Certificates;
using Npgsql;

namespace AccessBroker.Tests.Support;

/// <summary>
/// Broker nodes of its own on a copy of the test city's database; several are behind a real HAProxy. Stops, and drops the copy, at the end of the class.
/// </summary>
public class BrokerHost : IAsyncLifetime
{
    private readonly string _database = "t" + Guid.NewGuid().ToString("n");
    private readonly List<TestTerminal> _terminals = [];
    private readonly Lazy<(Node Node, int Port, int TerminalsPort, int OperationsPort)[]> _nodes;
    private HaProxy? _proxy;

    public BrokerHost() => _nodes = new(() => [.. Enumerable.Range(0, NodeCount).Select(i =>
    {
        var (port, terminals) = NodeCount == 1 ? (Port, TerminalsPort) : (Place.FreePort(), Place.FreePort());
        return (new Node($"node-{i + 1}", () => Environment(i)), port, terminals, Place.FreePort());
    })]);

    /// <summary>How many nodes. Default: one, without a proxy.</summary>
    protected virtual int NodeCount => 1;

    public int Port { get; } = Place.FreePort();
    public int TerminalsPort { get; } = Place.FreePort();
    public int[] AgentPorts { get; } = [Place.FreePort(), Place.FreePort()];
    public string Issuer => $"https://localhost:{Port}";
    public int ProcessId => Node(0).ProcessId;
    public string Log => string.Concat(_nodes.Value.Select(n => n.Node.Log));
    public string DataDirectory => Path.Combine(Place.Directory, "broker", _database);
    public string PolicyDirectory => Path.Combine(DataDirectory, "policies");
    public string DatabaseName => _database;
    internal Task<Dictionary<string, string>> ProxyStatesAsync() => _proxy!.StatesAsync();

    internal Node Node(int index) => _nodes.Value[index].Node;
    /// <summary>Where one node itself listens, past the proxy.</summary>
    public Uri NodeUrl(int index) => new($"https://localhost:{_nodes.Value[index].Port}");
    public Uri OperationsUrl(int index) => new($"http://127.0.0.1:{_nodes.Value[index].OperationsPort}");

    /// <summary>What a class changes before the start: environment variables of the broker.</summary>
    protected virtual IEnumerable<KeyValuePair<string, string>> Settings => [];

    /// <summary>What a class changes for one node alone.</summary>
    protected virtual IEnumerable<KeyValuePair<string, string>> SettingsOf(int index) => [];

    /// <summary>What a class changes in its copy of the policies.</summary>
    protected virtual void ChangePolicies(string directory) { }

    /// <summary>A clock of its own for a node: a file that libfaketime reads. Default: the machine's clock.</summary>
    protected virtual string? ClockOf(int index) => null;

    /// <summary>What a class puts away before its nodes stop.</summary>
    protected virtual Task EndAsync() => Task.CompletedTask;

    /// <summary>What a class puts away when its database is gone.</summary>
    protected virtual Task AfterDropAsync() => Task.CompletedTask;

    /// <summary>What a class arranges in its database before the first node starts.</summary>
    protected virtual Task ArrangeAsync() => Task.CompletedTask;

    public async ValueTask InitializeAsync()
    {
        await using (var admin = await OpenAsync("postgres", "postgres"))
        await using (var create = new NpgsqlCommand($"create database {_database} template city strategy file_copy owner accessbroker_owner", admin)) await create.ExecuteNonQueryAsync();
        Directory.CreateDirectory(DataDirectory);
        await Place.RunAsync("cp", ["-r", Place.App("policies"), PolicyDirectory]);
        ChangePolicies(PolicyDirectory);
        await ArrangeAsync();
        await StartAsync();
        if (NodeCount == 1) return;
        _proxy = new(DataDirectory, Port, TerminalsPort, [.. _nodes.Value.Select(n => (n.Port, n.TerminalsPort))]);
        await _proxy.StartAsync();
    }

    /// <summary>Starts all nodes, again after <see cref="StopAsync"/>, and waits until they answer.</summary>
    public async Task StartAsync()
    {
        for (var i = 0; i < NodeCount; i++) if (!Node(i).Running) Node(i).Start(ClockOf(i));
        for (var i = 0; i < NodeCount; i++) await AnswersAsync(i);
    }

    /// <summary>Waits until a node answers for itself.</summary>
    public async Task AnswersAsync(int index)
    {
        using var client = Client();
        var crashes = 0;
        await Eventually.TrueAsync(async () =>
        {
            // libfaketime sometimes crashes a process while it starts (SIGSEGV before its first line); with the machine's clock nothing is forgiven.
            if (!Node(index).Running && Node(index).ExitCode == 139 && Node(index).Log.Trim().Length == 0 && ClockOf(index) is { } clock && crashes++ < 3)
            {
                Node(index).Start(clock);
                return false;
            }
            if (!Node(index).Running) Assert.Fail(await Node(index).LastWordsAsync());
            try { return (await client.GetAsync(new Uri(NodeUrl(index), "/health"))).StatusCode != 0; }
            catch (HttpRequestException) { return false; }
        }, "the broker answers: " + Node(index).Log, 30);
    }

    /// <summary>Kills all nodes.</summary>
    public async Task StopAsync() { for (var i = 0; i < NodeCount; i++) if (Node(i).Running) await Node(i).KillAsync(); }

    public Dictionary<string, string> Environment() => Environment(0);

    private Dictionary<string, string> Environment(int index)
    {
        var (_, port, terminals, operations) = _nodes.Value[index];
        var data = NodeCount == 1 ? DataDirectory : Path.Combine(DataDirectory, $"node-{index + 1}");
        Directory.CreateDirectory(data);
        var environment = new Dictionary<string, string>
        {
            ["Broker__Issuer"] = Issuer,
            ["Broker__Node"] = $"node-{index + 1}",
            ["Broker__Listen"] = $"127.0.0.1:{port}",
            ["Broker__ListenTerminals"] = $"127.0.0.1:{terminals}",
            ["Broker__ListenOperations"] = $"127.0.0.1:{operations}",
            ["Broker__TrustedProxies__0"] = HaProxy.Address,
            ["Broker__AgentOrigins__0"] = $"http://127.0.0.1:{AgentPorts[0]}",
            ["Broker__AgentOrigins__1"] = $"http://127.0.0.1:{AgentPorts[1]}",
            ["Broker__DataDirectory"] = data,
            ["Broker__PolicyDirectory"] = PolicyDirectory,
            ["Broker__Database"] = $"Host={Place.Directory}/sql;Database={_database};Username=accessbroker;Maximum Pool Size=40",
            ["Broker__DatabaseOwner"] = $"Host={Place.Directory}/sql;Database={_database};Username=accessbroker_owner;Pooling=false",
        };
        foreach (var (name, value) in Settings.Concat(SettingsOf(index))) environment[name] = value;
        return environment;
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

    /// <summary>A client that trusts the tests' CA. <paramref name="from"/>: the address it comes from. <paramref name="window"/>: bytes its sockets receive ahead; 0: the system's.</summary>
    public HttpClient Client(string from = "127.0.0.1", System.Net.CookieContainer? cookies = null, int window = 0, int connections = int.MaxValue) => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        MaxConnectionsPerServer = connections,
        UseCookies = cookies is not null,
        CookieContainer = cookies ?? new(),
        SslOptions = { CertificateChainPolicy = Trust(), TargetHost = "localhost" },
        ConnectCallback = async (context, ct) =>
        {
            var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp) { NoDelay = true };
            if (window > 0)
            {
                socket.ReceiveBufferSize = window;
                // Segments as on Ethernet: with the loopback's of 64 KiB a small window waits for timers of TCP (40 and 200 ms) that no network of a city has.
                socket.SetRawSocketOption(TcpLevel, TcpMaxSegment, BitConverter.GetBytes(1448));
            }
            socket.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Parse(from), 0));
            await socket.ConnectAsync(System.Net.IPAddress.Loopback, context.DnsEndPoint.Port, ct);
            return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
        },
    })
    { BaseAddress = new Uri(Issuer), Timeout = TimeSpan.FromSeconds(40) };

    private const int TcpLevel = 6, TcpMaxSegment = 2;

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
        await SqlAsync("truncate lockout.counters; update sessions.sessions set ended_at = now(), end_reason = 'test' where ended_at is null; update cards.cards set tries_left = null, state = case when person = 'p-1003' then 'lost' else 'handed-over' end where state <> 'destroyed'; update terminals.terminals set state = 'in-use'");
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        foreach (var terminal in _terminals) await terminal.DisposeAsync();
        if (_proxy is not null) await _proxy.DisposeAsync();
        await StopAsync();
        await using var admin = await OpenAsync("postgres", "postgres");
        await using var drop = new NpgsqlCommand($"drop database if exists {_database} with (force)", admin);
        await drop.ExecuteNonQueryAsync();
        await AfterDropAsync();
        Directory.Delete(DataDirectory, recursive: true);
        GC.SuppressFinalize(this);
    }
}
