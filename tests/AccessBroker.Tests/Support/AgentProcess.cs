using System.Diagnostics;
using System.Text.Json;
using AccessBroker.TerminalAgent;

namespace AccessBroker.Tests.Support;

/// <summary>The agent of an enrolled terminal as a process of its own, to be stopped, killed and started again.</summary>
internal sealed class AgentProcess : IAsyncDisposable
{
    private readonly string _file;
    private readonly string _origin;
    private Process? _process;

    private AgentProcess(AgentOptions options, string origin)
    {
        (_file, _origin) = (Path.Combine(options.DataDirectory, "..", "agent.json"), origin);
        File.WriteAllText(_file, JsonSerializer.Serialize(options));
    }

    internal int ProcessId => _process!.Id;

    internal static async Task<AgentProcess> StartNewAsync(TestTerminal terminal)
    {
        var agent = new AgentProcess(terminal.Options, terminal.Origin);
        await agent.StartAsync(terminal);
        return agent;
    }

    internal async Task StartAsync(TestTerminal terminal)
    {
        _process = Process.Start(new ProcessStartInfo("dotnet", [Path.Combine(Place.App("agent"), "AccessBroker.TerminalAgent.dll"), "run", "--config", _file]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        using var http = new HttpClient { DefaultRequestHeaders = { { "Origin", terminal.Options.BrokerOrigin } } };
        await Eventually.TrueAsync(async () =>
        {
            try { return JsonElement.Parse(await http.GetStringAsync(new Uri(_origin + "/terminal"))).GetProperty("attached").GetBoolean(); }
            catch (HttpRequestException) { return false; }
        }, "the agent is attached", 20);
    }

    internal Task SignalAsync(string signal) => Place.RunAsync("kill", [$"-{signal}", $"{ProcessId}"]);

    public async ValueTask DisposeAsync()
    {
        if (_process is null or { HasExited: true }) return;
        _process.Kill();
        await _process.WaitForExitAsync();
    }
}
