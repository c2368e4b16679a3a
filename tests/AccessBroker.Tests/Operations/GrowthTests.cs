using System.Globalization;
using System.Text.RegularExpressions;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Operations;

/// <summary>Sign-ins in a row at one terminal, with the real reader and the agent's own process: nothing grows.</summary>
public sealed class GrowthTests(TwoNodes broker, ITestOutputHelper output) : IClassFixture<TwoNodes>
{
    private static readonly int WarmUp = Counts.Of(40, 200), SignIns = Counts.Of(120, 1_000);

    private sealed record Size(double BrokerMemory, int BrokerHandles, double AgentMemory, int AgentHandles, int PcscContexts, int HsmSessions, int HsmHandles);

    private static int Handles(int process) => Directory.GetFiles($"/proc/{process}/fd").Length;

    /// <summary>Resident, in MiB.</summary>
    private static double Memory(int process) => double.Parse(Regex.Match(File.ReadAllText($"/proc/{process}/status"), "VmRSS:\\s+(\\d+)").Groups[1].Value, CultureInfo.InvariantCulture) / 1024;

    private async Task<Size> MeasureAsync(AgentProcess agent)
    {
        var pcscd = int.Parse(await File.ReadAllTextAsync(Path.Combine(Place.Directory, "cards/pcscd.pid")), CultureInfo.InvariantCulture);
        var status = (await Place.RunAsync(Path.Combine(Place.Root, "hsm-sim/hsm"), ["status", Path.Combine(Place.Directory, "hsm")])).Output;
        var hsm = int.Parse(await File.ReadAllTextAsync(Path.Combine(Place.Directory, "hsm/hsm.pid")), CultureInfo.InvariantCulture);
        return new(Memory(broker.Node(0).ProcessId) + Memory(broker.Node(1).ProcessId), Handles(broker.Node(0).ProcessId) + Handles(broker.Node(1).ProcessId), Memory(agent.ProcessId), Handles(agent.ProcessId), Handles(pcscd),
            int.Parse(Regex.Match(status, "hsm running \\((\\d+) connections").Groups[1].Value, CultureInfo.InvariantCulture), Handles(hsm));
    }

    [Fact]
    public async Task Sign_ins_in_a_row_leave_nothing_behind()
    {
        var terminal = new TestTerminal(broker, "t-01", 0);
        await terminal.EnrolAsync();
        await using var agent = await AgentProcess.StartNewAsync(terminal);
        async Task SignInAsync()
        {
            await Desk.InsertAsync(0, "sato");
            using var browser = new TestBrowser(broker);
            await Eventually.TrueAsync(async () =>
            {
                terminal.Types(Place.Pin);
                var (transaction, answer) = await browser.TryAsync(terminal);
                if (!answer.IsSuccessStatusCode) return false;
                using var complete = await browser.CompleteAsync(transaction, System.Text.Json.JsonElement.Parse(await answer.Content.ReadAsStringAsync()).GetProperty("code").GetString()!);
                if (!complete.IsSuccessStatusCode) return false;
                using var authorize = await browser.AuthorizeAsync();
                using var token = await browser.TokenAsync(TestBrowser.Parameter(authorize.Headers.Location!, "code"));
                return token.IsSuccessStatusCode;
            }, "a sign-in", 20);
            await Desk.RemoveAsync(0);
        }
        for (var i = 0; i < WarmUp; i++) await SignInAsync();
        var before = await MeasureAsync(agent);
        for (var i = 0; i < SignIns; i++) await SignInAsync();
        // The last connections of the last browser close by themselves.
        await Task.Delay(2000);
        var after = await MeasureAsync(agent);
        output.WriteLine($"{SignIns} sign-ins: {before} -> {after}");
        Assert.InRange(after.BrokerHandles, 0, before.BrokerHandles + 12);
        Assert.InRange(after.AgentHandles, 0, before.AgentHandles + 6);
        Assert.InRange(after.PcscContexts, 0, before.PcscContexts + 2);
        Assert.InRange(after.HsmSessions, 1, before.HsmSessions);
        Assert.InRange(after.HsmHandles, 0, before.HsmHandles + 2);
        // With --long a leak of 40 KiB per sign-in would show; without it the heaps have not found their size yet.
        Assert.InRange(after.BrokerMemory, 0, before.BrokerMemory + Counts.Of(150, 40));
        Assert.InRange(after.AgentMemory, 0, before.AgentMemory + 20);
    }
}
