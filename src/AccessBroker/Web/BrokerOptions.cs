namespace AccessBroker.Web;

/// <summary>Addresses and paths of this node: appsettings, section <c>Broker</c>. Limits are in policies/, never here.</summary>
public sealed class BrokerOptions
{
    /// <summary>The issuer: https, no path, no trailing slash. Every URL we publish starts with it, never with a Host header.</summary>
    public string Issuer { get; set; } = "";
    /// <summary>The network segment of this deployment: my-number, lgwan, internet or juki-net. In every token. <clause>MIC 3(1)①</clause></summary>
    public string Segment { get; set; } = "";
    /// <summary>Name of this node among its peers. Default: the machine's name.</summary>
    public string Node { get; set; } = Environment.MachineName;
    /// <summary>Where browsers and relying parties connect: IP:port.</summary>
    public string Listen { get; set; } = "";
    /// <summary>Where terminals' agents connect with their certificates: IP:port.</summary>
    public string ListenTerminals { get; set; } = "";
    /// <summary>Where monitoring reads <c>/metrics</c> and <c>/health</c> in plain HTTP: IP:port of a loopback or management address; empty (default): nowhere.</summary>
    public string ListenOperations { get; set; } = "";
    /// <summary>Where the file server's nginx asks, IP:port on loopback, plain HTTP; empty: there is no file server.</summary>
    public string ListenFiles { get; set; } = "";
    /// <summary>The file server's origin, https://host[:port], another host than the issuer's.</summary>
    public string FileOrigin { get; set; } = "";
    /// <summary>The directory with its files; nginx reads the same one.</summary>
    public string FileRoot { get; set; } = "";
    /// <summary>Addresses of proxies in front that pass TCP through and send the PROXY protocol, version 1. Default: none.</summary>
    public List<string> TrustedProxies { get; } = [];
    /// <summary>Where traces go: the URL of an OpenTelemetry collector (OTLP over HTTP), e.g. http://127.0.0.1:4318/v1/traces; empty (default): nowhere.</summary>
    public string OtlpTraces { get; set; } = "";
    /// <summary>Server certificate and its chain, PEM.</summary>
    public string TlsCertificate { get; set; } = "";
    /// <summary>Its key, PEM; readable by the broker's OS user only.</summary>
    public string TlsKey { get; set; } = "";
    /// <summary>Origins on which agents listen at each terminal, e.g. http://127.0.0.1:47443.</summary>
    public List<string> AgentOrigins { get; } = [];
    /// <summary>CA certificates, PEM, that relying parties' TLS certificates must chain to when they are told of a logout; empty (default): the system's.</summary>
    public string RelyingPartyCa { get; set; } = "";
    /// <summary>The internal time source, host:port, SNTP; empty (default): the clock is not checked.</summary>
    public string TimeSource { get; set; } = "";
    /// <summary>The root that vouches for FIDO metadata files, PEM, put there by hand; empty (default): none can be imported.</summary>
    public string MetadataRoot { get; set; } = "";
    /// <summary>Common name of the certificate that signs metadata files. Default: the FIDO Alliance's.</summary>
    public string MetadataSigner { get; set; } = "mds.fidoalliance.org";
    /// <summary>The internal mail relay, host:port, SMTP; empty (default): no mail.</summary>
    public string MailRelay { get; set; } = "";
    /// <summary>The sender of notices by mail. Default: accessbroker@localhost.</summary>
    public string MailFrom { get; set; } = "accessbroker@localhost";
    /// <summary>Directory of the policy files.</summary>
    public string PolicyDirectory { get; set; } = "policies";
    /// <summary>Directory for what this node must keep: the history spool.</summary>
    public string DataDirectory { get; set; } = "";
    /// <summary>Directory of the CA certificates that 'keys create' wrote.</summary>
    public string CaDirectory { get; set; } = "";
    /// <summary>PostgreSQL, as the server role.</summary>
    public string Database { get; set; } = "";
    /// <summary>PostgreSQL, as the owner role; for 'migrate' only.</summary>
    public string DatabaseOwner { get; set; } = "";
    /// <summary>Redis, host:port[,password=…]; empty: none.</summary>
    public string Redis { get; set; } = "";

    private static readonly string[] Segments = ["my-number", "lgwan", "internet", "juki-net"];

    /// <summary>Every value that cannot be right, in words.</summary>
    internal IEnumerable<string> Problems()
    {
        if (!Uri.TryCreate(Issuer, UriKind.Absolute, out var issuer) || issuer.Scheme != "https" || issuer.AbsolutePath != "/" || Issuer.EndsWith('/') || issuer.Query.Length > 0)
            yield return $"Broker:Issuer must be https://host[:port] without a path, but is '{Issuer}'";
        if (!Segments.Contains(Segment)) yield return $"Broker:Segment must be one of {string.Join(", ", Segments)}, but is '{Segment}'";
        if (!System.Net.IPEndPoint.TryParse(Listen, out _)) yield return $"Broker:Listen must be IP:port, but is '{Listen}'";
        if (!System.Net.IPEndPoint.TryParse(ListenTerminals, out _)) yield return $"Broker:ListenTerminals must be IP:port, but is '{ListenTerminals}'";
        if (ListenOperations.Length > 0 && !System.Net.IPEndPoint.TryParse(ListenOperations, out _)) yield return $"Broker:ListenOperations must be IP:port or empty, but is '{ListenOperations}'";
        if (ListenFiles.Length > 0)
        {
            // Whoever speaks there is believed on terminals' addresses: only the nginx beside us may.
            if (!System.Net.IPEndPoint.TryParse(ListenFiles, out var files) || !System.Net.IPAddress.IsLoopback(files.Address)) yield return $"Broker:ListenFiles must be IP:port on loopback or empty, but is '{ListenFiles}'";
            if (!Uri.TryCreate(FileOrigin, UriKind.Absolute, out var own) || own.Scheme != "https" || FileOrigin.EndsWith('/') || own.AbsolutePath != "/" || (issuer is not null && own.Host == issuer.Host)) yield return $"Broker:FileOrigin must be https://host[:port] of another host than the issuer's, but is '{FileOrigin}'";
            // Requests are told apart by the port they come to.
            if (files is not null && new[] { Listen, ListenTerminals, ListenOperations }.Any(l => System.Net.IPEndPoint.TryParse(l, out var other) && other.Port == files.Port)) yield return $"Broker:ListenFiles needs a port of its own, but is '{ListenFiles}'";
            if (!Directory.Exists(FileRoot)) yield return $"Broker:FileRoot: no directory '{FileRoot}'";
        }
        foreach (var proxy in TrustedProxies.Where(p => !System.Net.IPAddress.TryParse(p, out _))) yield return $"Broker:TrustedProxies must be IP addresses, but one is '{proxy}'";
        if (OtlpTraces.Length > 0 && (!Uri.TryCreate(OtlpTraces, UriKind.Absolute, out var collector) || collector.Scheme is not ("http" or "https"))) yield return $"Broker:OtlpTraces must be a URL or empty, but is '{OtlpTraces}'";
        if (!File.Exists(TlsCertificate)) yield return $"Broker:TlsCertificate: no file '{TlsCertificate}'";
        if (!File.Exists(TlsKey)) yield return $"Broker:TlsKey: no file '{TlsKey}'";
        if (!Directory.Exists(PolicyDirectory)) yield return $"Broker:PolicyDirectory: no directory '{PolicyDirectory}'";
        if (!Directory.Exists(DataDirectory)) yield return $"Broker:DataDirectory: no directory '{DataDirectory}'";
        if (!Directory.Exists(CaDirectory)) yield return $"Broker:CaDirectory: no directory '{CaDirectory}'";
        if (RelyingPartyCa.Length > 0 && !File.Exists(RelyingPartyCa)) yield return $"Broker:RelyingPartyCa: no file '{RelyingPartyCa}'";
        if (TimeSource.Length > 0 && (TimeSource.Split(':') is not [{ Length: > 0 }, var ntp] || !ushort.TryParse(ntp, out _))) yield return $"Broker:TimeSource must be host:port, but is '{TimeSource}'";
        if (MetadataRoot.Length > 0 && !File.Exists(MetadataRoot)) yield return $"Broker:MetadataRoot: no file '{MetadataRoot}'";
        if (MailRelay.Length > 0 && (MailRelay.Split(':') is not [{ Length: > 0 }, var port] || !ushort.TryParse(port, out _))) yield return $"Broker:MailRelay must be host:port, but is '{MailRelay}'";
        if (Database.Length == 0) yield return "Broker:Database is empty";
        foreach (var origin in AgentOrigins.Where(o => !Uri.TryCreate(o, UriKind.Absolute, out var u) || !u.IsLoopback || u.GetLeftPart(UriPartial.Authority) != o))
            yield return $"Broker:AgentOrigins must be loopback origins such as http://127.0.0.1:47443, but one is '{origin}'";
    }
}
