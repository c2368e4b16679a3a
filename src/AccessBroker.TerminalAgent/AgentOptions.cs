namespace AccessBroker.TerminalAgent;

/// <summary>Configuration of one agent: a JSON file, named by <c>--config</c>.</summary>
internal sealed class AgentOptions
{
    /// <summary>Where the broker listens for terminals: https://host:port.</summary>
    public string Broker { get; set; } = "";
    /// <summary>The origin of the broker's pages: the only one that may call the loopback endpoint.</summary>
    public string BrokerOrigin { get; set; } = "";
    /// <summary>CA certificates, PEM, that the broker's TLS certificate must chain to.</summary>
    public string BrokerCa { get; set; } = "";
    /// <summary>Where pages of this terminal reach the agent: 127.0.0.1:port.</summary>
    public string Listen { get; set; } = "127.0.0.1:47443";
    /// <summary>Name of the card reader as PC/SC lists it; empty: the only reader there is.</summary>
    public string Reader { get; set; } = "";
    /// <summary>Name of the reader for cards that are being issued, at an issuing station; empty: this terminal issues none.</summary>
    public string IssuingReader { get; set; } = "";
    /// <summary>A program that prints its standard input to a sealed slip, for first PINs of people who are not there; empty: none.</summary>
    public string SlipPrinter { get; set; } = "";
    /// <summary>A program that shows its standard input to whoever sits here, for notices; empty: notices stay in the console.</summary>
    public string Notifier { get; set; } = "";
    /// <summary>A pinentry program (Linux).</summary>
    public string Pinentry { get; set; } = "/usr/bin/pinentry";
    /// <summary>Directory for key and certificate; only the agent's OS user can read it.</summary>
    public string DataDirectory { get; set; } = "";
    /// <summary>OS user whose browser may call; empty: any. Checked where the platform can tell.</summary>
    public string OperatorUser { get; set; } = "";

    internal IEnumerable<string> Problems()
    {
        foreach (var (name, value) in (ReadOnlySpan<(string, string)>)[(nameof(Broker), Broker), (nameof(BrokerOrigin), BrokerOrigin)])
            if (!Uri.TryCreate(value, UriKind.Absolute, out var uri) || uri.Scheme != "https" || uri.GetLeftPart(UriPartial.Authority) != value) return [$"{name} must be https://host:port, but is '{value}'"];
        List<string> problems = [];
        if (!File.Exists(BrokerCa)) problems.Add($"BrokerCa: no file '{BrokerCa}'");
        if (!System.Net.IPEndPoint.TryParse(Listen, out var listen) || !System.Net.IPAddress.IsLoopback(listen.Address)) problems.Add($"Listen must be a loopback address and port, but is '{Listen}'");
        if (DataDirectory.Length == 0) problems.Add("DataDirectory is empty");
        if (OperatorUser.Length > 0 && Platform.LoopbackCaller.IdOf(OperatorUser) is null) problems.Add($"OperatorUser: no user '{OperatorUser}'");
        return problems;
    }
}
