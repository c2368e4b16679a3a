using System.Net.Http.Json;
using AccessBroker.Primitives;
using AccessBroker.TerminalAgent;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Support;

/// <summary>A terminal of the tests: its agent (the real one, in this process), its reader, and a pinentry that types from a list.</summary>
internal sealed class TestTerminal(BrokerHost broker, string id, int reader) : IAsyncDisposable
{
    private readonly string _directory = Path.Combine(broker.DataDirectory, "terminal-" + id);
    private WebApplication? _agent;

    internal const int IssuingReader = 3;
    internal string Id => id;
    /// <summary>What the slip printer has printed, and what was shown to whoever sits here.</summary>
    internal string Printed => Read("printed");
    internal string Shown => Read("shown");
    private string Read(string name) => File.Exists(Path.Combine(_directory, name)) ? File.ReadAllText(Path.Combine(_directory, name)) : "";
    internal int ReaderIndex => reader;
    internal string Origin => $"http://127.0.0.1:{broker.AgentPorts[reader]}";
    internal AgentOptions Options => new()
    {
        Broker = $"https://localhost:{broker.TerminalsPort}",
        BrokerOrigin = broker.Issuer,
        BrokerCa = Path.Combine(Place.Directory, "tls/ca.pem"),
        Listen = $"127.0.0.1:{broker.AgentPorts[reader]}",
        Reader = Desk.Reader(reader),
        // t-01 is the issuing station of the tests: its second reader is the fourth.
        IssuingReader = reader == 0 ? Desk.Reader(IssuingReader) : "",
        SlipPrinter = Path.Combine(_directory, "printer"),
        Notifier = Path.Combine(_directory, "notifier"),
        Pinentry = Path.Combine(_directory, "pinentry"),
        DataDirectory = Path.Combine(_directory, "data"),
    };

    internal async Task EnrolAsync()
    {
        Directory.CreateDirectory(_directory);
        // The list of what the person types: a PIN, "cancel", or "wait" for someone who never answers. What was asked is kept.
        await File.WriteAllTextAsync(Options.Pinentry, $$"""
            #!/bin/bash
            echo "OK scripted"
            while read -r line; do
              case "$line" in
                SETDESC*|SETERROR*) echo "$line" >> "{{_directory}}/asked" ;;
                GETPIN)
                  typed=$(head -n 1 "{{_directory}}/types"); sed -i 1d "{{_directory}}/types"; echo GETPIN >> "{{_directory}}/asked"
                  case "$typed" in
                    wait) sleep 60 & wait; exit ;;
                    ""|cancel) echo "ERR 83886179 Operation cancelled"; continue ;;
                    *) echo "D $typed" ;;
                  esac ;;
              esac
              echo OK
            done
            """);
        foreach (var (program, file) in (ReadOnlySpan<(string, string)>)[("printer", "printed"), ("notifier", "shown")])
        {
            File.WriteAllText(Path.Combine(_directory, program), $"#!/bin/sh\ncat >> {_directory}/{file}\n");
            File.SetUnixFileMode(Path.Combine(_directory, program), UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        }
        File.SetUnixFileMode(Options.Pinentry, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        Types();
        var code = Secret.New(16);
        await broker.SqlAsync($"insert into terminals.enrolment_codes (code_hash, terminal, expires_at) values ('\\x{Convert.ToHexString(Secret.Hash(code))}', '{id}', now() + interval '1 hour')");
        Assert.StartsWith(id, await TerminalAgent.EnrolTerminal.RunAsync(Options, code, CancellationToken.None), StringComparison.Ordinal);
    }

    internal async Task StartAsync()
    {
        _agent = AgentHost.Build(Options);
        await _agent.StartAsync();
        await AttachedAsync();
    }

    internal bool IsAttached => _agent?.Services.GetRequiredService<BrokerStream>().Terminal is not null;

    internal Task AttachedAsync() => Eventually.TrueAsync(() => Task.FromResult(_agent!.Services.GetRequiredService<BrokerStream>().Terminal is not null), $"{id} is attached");

    internal async Task StopAsync()
    {
        if (_agent is null) return;
        await _agent.StopAsync();
        await _agent.DisposeAsync();
        _agent = null;
    }

    /// <summary>What the person types at the next prompts.</summary>
    internal void Types(params string[] lines)
    {
        File.WriteAllText(Path.Combine(_directory, "types"), string.Concat(lines.Select(l => l + "\n")));
        File.WriteAllText(Path.Combine(_directory, "asked"), "");
    }

    /// <summary>What the prompts showed so far.</summary>
    internal string Asked => Uri.UnescapeDataString(File.ReadAllText(Path.Combine(_directory, "asked")));

    internal async Task InsertAsync(string card)
    {
        await Desk.InsertAsync(reader, card);
        var watch = _agent?.Services.GetRequiredService<CardReader>();
        if (watch is not null) await Eventually.TrueAsync(() => Task.FromResult(watch.CardInside), $"{card} is in the reader");
    }

    internal async Task RemoveAsync()
    {
        await Desk.RemoveAsync(reader);
        var watch = _agent?.Services.GetRequiredService<CardReader>();
        if (watch is not null) await Eventually.TrueAsync(() => Task.FromResult(!watch.CardInside), "the reader is empty");
    }

    internal CardReader Watch => _agent!.Services.GetRequiredService<CardReader>();

    /// <summary>What the page's script does: brings a handle to the agent.</summary>
    internal Task<HttpResponseMessage> RedeemAsync(string handle, string? origin = null, string? host = null) => PostAsync("/sign-in", handle, origin, host);

    /// <summary>Only that this page is at this terminal: for passkeys.</summary>
    internal Task<HttpResponseMessage> SeatAsync(string handle) => PostAsync("/seat", handle, null, null);

    /// <summary>The same for work on a card.</summary>
    internal Task<HttpResponseMessage> WorkAsync(string handle) => PostAsync("/card-work", handle, null, null);

    private async Task<HttpResponseMessage> PostAsync(string path, string handle, string? origin, string? host)
    {
        using var client = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, Origin + path) { Content = JsonContent.Create(new { handle }) };
        request.Headers.Add("Origin", origin ?? broker.Issuer);
        if (host is not null) request.Headers.Host = host;
        return await client.SendAsync(request);
    }

    internal async Task ClearAsync()
    {
        Types();
        await RemoveAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Desk.RemoveAsync(reader);
        await StopAsync();
    }
}
