using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using AccessBroker.TargetAgent;
using AccessBroker.TargetAgent.Ssh;

[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]

const string usage = """
    AccessBroker.TargetAgent run --config FILE             the agent of this target, as root (sshd) or as its own user (PostgreSQL)
    AccessBroker.TargetAgent enrol --config FILE < CODE    gets this target's certificate, once
    AccessBroker.TargetAgent setup --config FILE           sshd: makes the pool of accounts, keeps at and cron from them
    AccessBroker.TargetAgent stop --config FILE < ORDER    brings an emergency stop, signed with a card, to the running agent
    """;
try
{
    switch (args)
    {
        // What sshd's configuration of an earlier version calls.
        case ["shell", var socket]:
            using (var door = System.Diagnostics.Process.Start("perl", [Path.Combine(AppContext.BaseDirectory, "door.pl"), socket]))
            {
                await door.WaitForExitAsync();
                return door.ExitCode;
            }
        case ["run", "--config", var file]:
            using (var stopping = new CancellationTokenSource())
            using (var agent = new Agent(file, TargetOptions.Read(file), TimeProvider.System))
            using (PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => { context.Cancel = true; stopping.Cancel(); }))
            using (PosixSignalRegistration.Create(PosixSignal.SIGINT, context => { context.Cancel = true; stopping.Cancel(); })) await agent.RunAsync(stopping.Token);
            return 0;
        case ["guard", "--config", var file]:
            using (PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => context.Cancel = true)) return await AccessBroker.TargetAgent.Postgres.PostgresGuard.RunAsync(TargetOptions.Read(file).Postgres!);
        // Codes come by standard input: arguments are everybody's to read.
        case ["enrol", "--config", var file]:
            await Console.Out.WriteLineAsync(await EnrolTarget.RunAsync(TargetOptions.Read(file), (await Console.In.ReadLineAsync())?.Trim() ?? "", CancellationToken.None));
            return 0;
        case ["stop", "--config", var file]:
            var answer = await OrderBox.BringAsync(Agent.Orders(TargetOptions.Read(file)), await Console.In.ReadToEndAsync());
            await Console.Out.WriteLineAsync(answer);
            return answer.StartsWith("ended ", StringComparison.Ordinal) ? 0 : 1;
        case ["setup", "--config", var file]:
            await Accounts.SetUpAsync(TargetOptions.Read(file).Ssh ?? throw new InvalidOperationException("only a host with sshd has accounts"));
            return 0;
        default:
            await Console.Error.WriteLineAsync(usage);
            return 2;
    }
}
catch (Exception e) when (e is InvalidOperationException or IOException or JsonException or HttpRequestException or SocketException or UnauthorizedAccessException)
{
    await Console.Error.WriteLineAsync($"AccessBroker.TargetAgent: {e.Message}");
    return 1;
}
