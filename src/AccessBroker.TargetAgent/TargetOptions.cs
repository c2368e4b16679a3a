using System.Text.Json;

namespace AccessBroker.TargetAgent;

/// <summary>Configuration of one target's agent: a JSON file, named by <c>--config</c>.</summary>
internal sealed class TargetOptions
{
    /// <summary>Where the broker listens for agents: https://host:port.</summary>
    public string Broker { get; set; } = "";
    /// <summary>CA certificates, PEM, that the broker's TLS certificate must chain to.</summary>
    public string BrokerCa { get; set; } = "";
    /// <summary>Directory for key, certificate, sessions and recordings not yet handed over; only the agent's OS user can read it.</summary>
    public string DataDirectory { get; set; } = "";
    /// <summary>How often the broker is told who may do what here, 1..3600 s. Default 60 s.</summary>
    public int RightsEverySeconds { get; set; } = 60;
    /// <summary>What stands on this host: one of the two.</summary>
    public SshOptions? Ssh { get; set; }
    /// <inheritdoc cref="Ssh"/>
    public PostgresOptions? Postgres { get; set; }

    /// <summary><c>ssh</c> or <c>postgres</c>, as the policy calls it.</summary>
    internal string Kind => Ssh is not null ? "ssh" : "postgres";

    /// <summary>Reads and checks the file. Throws <see cref="InvalidOperationException"/> with every problem.</summary>
    internal static TargetOptions Read(string file)
    {
        var options = JsonSerializer.Deserialize<TargetOptions>(File.ReadAllText(file), JsonSerializerOptions.Web) ?? throw new InvalidOperationException($"{file} is empty");
        var problems = options.Problems().ToList();
        return problems.Count == 0 ? options : throw new InvalidOperationException($"{file} cannot be used:\n  {string.Join("\n  ", problems)}");
    }

    private IEnumerable<string> Problems()
    {
        if (!Uri.TryCreate(Broker, UriKind.Absolute, out var uri) || uri.Scheme != "https" || uri.GetLeftPart(UriPartial.Authority) != Broker) yield return $"broker must be https://host:port, but is '{Broker}'";
        if (!File.Exists(BrokerCa)) yield return $"brokerCa: no file '{BrokerCa}'";
        if (DataDirectory.Length == 0) yield return "dataDirectory is empty";
        if (RightsEverySeconds is < 1 or > 3600) yield return $"rightsEverySeconds must be 1 to 3600, but is {RightsEverySeconds}";
        if (Ssh is null == Postgres is null) yield return "either ssh or postgres must be given";
        foreach (var problem in Ssh?.Problems() ?? Postgres?.Problems() ?? []) yield return problem;
    }
}

/// <summary>A host with a stock sshd.</summary>
internal sealed class SshOptions
{
    /// <summary>Unprivileged accounts for sessions, one each: as many sessions at once as there are accounts. <c>setup</c> makes them.</summary>
    public string[] Accounts { get; set; } = [];
    /// <summary>Name or address that operators' terminals reach.</summary>
    public string Host { get; set; } = "";
    /// <summary>Port of sshd. Default 22.</summary>
    public int Port { get; set; } = 22;
    /// <summary>The public host key, so that the operator's ssh knows whom it speaks to.</summary>
    public string HostKey { get; set; } = "/etc/ssh/ssh_host_ed25519_key.pub";
    /// <summary>Root-owned directory of principals, socket and homes. sshd's AuthorizedPrincipalsFile is <c>RunDirectory/principals/%u</c>.</summary>
    public string RunDirectory { get; set; } = "/run/accessbroker-target";
    /// <summary>Login shell of sessions.</summary>
    public string Shell { get; set; } = "/bin/bash";
    /// <summary>Where elevation through listed commands is allowed for the time of a session.</summary>
    public string SudoersDirectory { get; set; } = "/etc/sudoers.d";

    internal IEnumerable<string> Problems()
    {
        if (Accounts.Length is 0 or > 500) yield return "ssh.accounts must name 1 to 500 accounts";
        foreach (var account in Accounts.Where(a => a.Length is 0 or > 32 || !a.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-') || !char.IsAsciiLetterLower(a[0]))) yield return $"ssh.accounts: '{account}' is no account name of a-z, 0-9, -";
        if (Host.Length == 0) yield return "ssh.host is empty";
        if (Port is < 1 or > 65535) yield return $"ssh.port must be 1 to 65535, but is {Port}";
    }
}

/// <summary>A PostgreSQL server.</summary>
internal sealed class PostgresOptions
{
    /// <summary>The agent's own narrow login: CREATEROLE, and member of pg_signal_backend. Npgsql connection string.</summary>
    public string Connection { get; set; } = "";
    /// <summary>Name or address that operators' terminals reach.</summary>
    public string Host { get; set; } = "";
    /// <summary>Default 5432.</summary>
    public int Port { get; set; } = 5432;

    /// <summary>The server's log_directory, with <c>log_destination = jsonlog</c>: what is said goes into the recording. Needs <c>grant set on parameter log_statement</c> to the agent's login. Empty: statements are not recorded.</summary>
    public string StatementLog { get; set; } = "";

    internal IEnumerable<string> Problems()
    {
        if (StatementLog.Length > 0 && !Directory.Exists(StatementLog)) yield return $"postgres.statementLog: no directory '{StatementLog}'";
        if (Connection.Length == 0) yield return "postgres.connection is empty";
        if (Host.Length == 0) yield return "postgres.host is empty";
    }
}
