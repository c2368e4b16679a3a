using System.Text.Json;
using AccessBroker.TerminalAgent;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

const string usage = """
    AccessBroker.TerminalAgent run --config FILE             the agent of this terminal
    AccessBroker.TerminalAgent enrol --config FILE < CODE    gets this terminal's certificate, once
    AccessBroker.TerminalAgent card generate READER          makes the keys of a blank card, prints their public halves (JSON)
    AccessBroker.TerminalAgent card load READER < PIN JSON   writes the certificates and the first PIN (first line: the PIN)
    """;
try
{
    switch (args)
    {
        case ["run", "--config", var file]:
            await AgentHost.Build(AgentHost.Read(file)).RunAsync();
            return 0;
        // Codes and PINs come by standard input: arguments are everybody's to read.
        case ["enrol", "--config", var file]:
            var code = (await Console.In.ReadLineAsync())?.Trim() ?? "";
            await Console.Out.WriteLineAsync(await EnrolTerminal.RunAsync(AgentHost.Read(file), code, CancellationToken.None));
            return 0;
        case ["card", "generate", var reader]:
            await Console.Out.WriteLineAsync(JsonSerializer.Serialize(PrepareCard.WithCard(reader, PrepareCard.Generate), JsonSerializerOptions.Web));
            return 0;
        case ["card", "load", var reader]:
            var pin = (await Console.In.ReadLineAsync())?.Trim() ?? "";
            var certificates = JsonSerializer.Deserialize<PrepareCard.Certificates>(await Console.In.ReadToEndAsync(), JsonSerializerOptions.Web)!;
            return PrepareCard.WithCard(reader, card => { PrepareCard.Load(card, certificates, pin); return 0; });
        default:
            await Console.Error.WriteLineAsync(usage);
            return 2;
    }
}
catch (Exception e) when (e is InvalidOperationException or IOException or JsonException or CardException or PcscException or HttpRequestException or DllNotFoundException)
{
    await Console.Error.WriteLineAsync($"AccessBroker.TerminalAgent: {e.Message}");
    return 1;
}
