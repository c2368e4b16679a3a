using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Privileged;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>With the database away, whoever is listed stops privileged work with their card alone; nobody else does, and no order counts twice.</summary>
public sealed class StopOrderTests(PrivilegedCity broker) : IClassFixture<PrivilegedCity>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;
    private SshHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        _host = await broker.HostAsync();
        await broker.ClearPrivilegedAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    /// <summary>An order signed with a card, by the terminal agent's own command.</summary>
    private async Task<string> OrderAsync(string card, params string[] scope)
    {
        await (await broker.TerminalAsync("t-02")).RemoveAsync();
        // A reader that no agent holds: the issuing station's second one.
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        await Desk.InsertAsync(TestTerminal.IssuingReader, card);
        var signed = await Place.RunAsync("dotnet", [Path.Combine(Place.App("agent"), "AccessBroker.TerminalAgent.dll"), "sign-stop", Desk.Reader(TestTerminal.IssuingReader), .. scope], input: $"{Place.Pin}\n侵害の疑い\n");
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        return signed.Output.Trim();
    }

    private async Task<string> ByHandAsync(string order) => (await Place.RunAsync("dotnet", [Path.Combine(Place.App("target"), "AccessBroker.TargetAgent.dll"), "stop", "--config", _host.Config], input: order, mayFail: true)).Output.Trim();

    private async Task<(int Exit, string Output)> BringAsync(string order)
    {
        var config = Path.Combine(broker.DataDirectory, "access.json");
        await File.WriteAllTextAsync(config, JsonSerializer.Serialize(new { broker = broker.Issuer, ca = Path.Combine(Place.Directory, "tls/ca.pem") }));
        var (exit, output, _) = await Place.RunAsync("dotnet", [Path.Combine(Place.App("access"), "access.dll"), "stop"], new() { ["ACCESSBROKER_CONFIG"] = config }, order, mayFail: true);
        return (exit, output);
    }

    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-13")]
    public async Task A_card_stops_everything_while_the_database_is_away()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me);
        using var shell = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "sleep 900");
        await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Any(p => p.Contains("900", StringComparison.Ordinal))), "it runs");
        var list = Path.Combine(Path.GetDirectoryName(_host.Config)!, "agent/stop-list.json");
        await Eventually.TrueAsync(() => Task.FromResult(File.Exists(list)), "the list is there");
        await StockToolReadsAsync(list);
        var (stranger, good) = (await OrderAsync("sato", "everyone"), await OrderAsync("boss", "target", "app"));
        Assert.Null(StopOrders.Read(JsonSerializer.Deserialize<SignedStop>(good, JsonSerializerOptions.Web)!, TimeProvider.System.GetUtcNow().AddMinutes(11)));
        await Place.PartAsync("kill", "postgres");
        try
        {
            Assert.Equal("privileged.not-listed", await ByHandAsync(stranger));
            Assert.Equal("privileged.order-refused", await ByHandAsync(good.Replace("app", "db", StringComparison.Ordinal)));
            Assert.Equal("privileged.order-refused", await ByHandAsync("{}"));
            Assert.Equal(1, (await BringAsync(good.Replace("app", "db", StringComparison.Ordinal))).Exit);
            Assert.NotEmpty(_host.Processes());
            var brought = await BringAsync(good);
            Assert.True(brought.Exit == 0 && brought.Output.Contains("app", StringComparison.Ordinal), $"{brought}");
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            await shell.WaitForExitAsync(limit.Token);
            await _host.GoneAsync();
            Assert.Equal("privileged.order-used", await ByHandAsync(good));
        }
        finally { await Place.PartAsync("start", "postgres"); }
        await Eventually.TrueAsync(async () => { try { return await broker.SqlAsync("select scope, value, by from privileged.stops where lifted_at is null") is ["target|app|p-8001"]; } catch (Npgsql.NpgsqlException) { return false; } }, "it is in force when the database is back", 40);
        await broker.StateAsync(session, "ended", 20);
        Assert.Equal(["privileged.emergency-stop|0"], await broker.SqlAsync($"select end_reason, left_over from privileged.sessions where id = '{session}'"));
        Assert.Equal(["p-8001"], await broker.SqlAsync("select person from history.events where operation = 'privileged.order-stop' and outcome = 'ended'"));
        await Eventually.TrueAsync(() => Task.FromResult(Directory.GetFiles(Path.Combine(Path.GetDirectoryName(list)!, "stop-orders")).All(f => f.EndsWith(".noted", StringComparison.Ordinal))), "the agent knows that it is on record");
        await _terminal.AttachedAsync();
    }

    /// <summary>OpenSSH itself says that the list is the broker's; one that was changed on the disk is nobody's.</summary>
    private static async Task StockToolReadsAsync(string file)
    {
        var kept = (JsonObject)JsonNode.Parse(await File.ReadAllTextAsync(file))!;
        var directory = Directory.CreateTempSubdirectory("sshsig-").FullName;
        await File.WriteAllTextAsync($"{directory}/allowed", $"broker namespaces=\"{StopOrders.Namespace}\" {await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(file)!, "ssh-user-ca.pub"))}");
        await File.WriteAllTextAsync($"{directory}/sig", kept["signature"]!.GetValue<string>());
        foreach (var (text, exit) in ((string, int)[])[(kept["list"]!.GetValue<string>(), 0), (kept["list"]!.GetValue<string>().Replace("p-8001", "p-1001", StringComparison.Ordinal), 255)])
        {
            await File.WriteAllTextAsync($"{directory}/list", text);
            var verified = await Place.RunAsync("sh", ["-c", $"ssh-keygen -Y verify -f {directory}/allowed -I broker -n {StopOrders.Namespace} -s {directory}/sig < {directory}/list"], mayFail: true);
            Assert.Equal(exit, verified.Exit);
            Assert.Equal(exit == 0, TargetAgent.SshSignature.Holds(await File.ReadAllTextAsync(Path.Combine(Path.GetDirectoryName(file)!, "ssh-user-ca.pub")), StopOrders.Namespace, System.Text.Encoding.UTF8.GetBytes(text), kept["signature"]!.GetValue<string>()));
        }
        Directory.Delete(directory, recursive: true);
    }
}
