using System.Text.Json;
using AccessBroker.TerminalAgent;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

const string usage = """
    AccessBroker.TerminalAgent run --config FILE             the agent of this terminal
    AccessBroker.TerminalAgent enrol --config FILE < CODE    gets this terminal's certificate, once
    AccessBroker.TerminalAgent card generate READER          makes the keys of a blank card, prints their public halves (JSON)
    AccessBroker.TerminalAgent card load READER < PIN JSON   writes the certificates and the first PIN (first line: the PIN)
    AccessBroker.TerminalAgent sign-stop READER SCOPE [VALUE] < PIN REASON    an emergency stop of privileged work, signed with the card, when nobody can sign in (two lines: PIN, reason);
                                                                              SCOPE: everyone, or person, target, work with its id. Bring it with 'access stop' or to a target's agent
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
        case ["sign-stop", _, "everyone"]:
        case ["sign-stop", _, "person" or "target" or "work", _]:
            var digits = (await Console.In.ReadLineAsync())?.Trim() ?? "";
            var reason = (await Console.In.ReadLineAsync())?.Trim() ?? "";
            if (digits.Length is < 6 or > 8 || reason.Length is < 2 or > 400) throw new InvalidOperationException("1行目に暗証番号(6〜8桁)、2行目に理由を入れてください。");
            await Console.Out.WriteLineAsync(SignStop.Run(args[1], args[2], args.ElementAtOrDefault(3) ?? "", reason, digits, TimeProvider.System));
            return 0;
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
