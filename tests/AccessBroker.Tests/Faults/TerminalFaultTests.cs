using System.Diagnostics;
using System.Globalization;
using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Faults;

/// <summary>What fails at the terminals: the agent falls silent or is killed, pcscd is killed; others work on meanwhile.</summary>
public sealed class TerminalFaultTests(TwoNodes city, ITestOutputHelper output) : IClassFixture<TwoNodes>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;
    private AgentProcess _agent = null!;

    public async ValueTask InitializeAsync()
    {
        await city.ClearAsync();
        await city.SqlAsync("delete from terminals.enrolment_codes");
        _terminal = new(city, "t-01", 0);
        await _terminal.EnrolAsync();
        await Desk.InsertAsync(0, "sato");
        _agent = await AgentProcess.StartNewAsync(_terminal);
    }

    public async ValueTask DisposeAsync()
    {
        await _agent.DisposeAsync();
        await Desk.RemoveAsync(0);
    }

    private async Task<(TestBrowser Browser, string Access)> SignInAsync()
    {
        var browser = new TestBrowser(city);
        // The agent's process needs a moment to see the card.
        await Eventually.TrueAsync(async () =>
        {
            _terminal.Types(Place.Pin);
            var (transaction, answer) = await browser.TryAsync(_terminal);
            if (!answer.IsSuccessStatusCode) return false;
            var code = System.Text.Json.JsonElement.Parse(await answer.Content.ReadAsStringAsync()).GetProperty("code").GetString()!;
            using var complete = await browser.CompleteAsync(transaction, code);
            return complete.IsSuccessStatusCode;
        }, "a sign-in by the agent's process", 20);
        using var authorize = await browser.AuthorizeAsync();
        using var token = await browser.TokenAsync(TestBrowser.Parameter(authorize.Headers.Location!, "code"));
        return (browser, System.Text.Json.JsonElement.Parse(await token.Content.ReadAsStringAsync()).GetProperty("access_token").GetString()!);
    }

    [Fact, Trait("Requirement", "SES-01")]
    public async Task A_silent_agent_ends_its_session_within_the_lease_and_a_second()
    {
        await city.SqlAsync("truncate history.events");
        var (browser, access) = await SignInAsync();
        using var _ = browser;
        await _agent.SignalAsync("STOP");
        var since = Stopwatch.StartNew();
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "a silent terminal has no session", 8);
        output.WriteLine($"silent agent: ended after {since.Elapsed.TotalSeconds:0.00} s");
        Assert.InRange(since.Elapsed.TotalSeconds, 3.9, 6);
        // When it wakes up, nothing comes back to life, not even before the sweep has marked it.
        await _agent.SignalAsync("CONT");
        for (var i = 0; i < 30; i++)
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
            await Task.Delay(50);
        }
        await city.EventAsync("sessions.end", "ended sessions.lease-lost p-1001 t-01");
    }

    [Fact]
    public async Task A_killed_agent_is_told_by_the_page_and_harms_nobody_else()
    {
        var (browser, access) = await SignInAsync();
        using var _ = browser;
        await using var crowd = await Crowd.CreateAsync(city, Counts.Of(8, 20), prefix: "a");
        await using var load = LoadRun.Start(crowd.Members, seed: 3);
        await _agent.SignalAsync("KILL");
        var since = Stopwatch.StartNew();
        // The page finds nobody at the agent's port and says so; no handle is lost, no try is spent.
        for (var i = 0; i < 20; i++) await Assert.ThrowsAsync<HttpRequestException>(async () => await _terminal.RedeemAsync("handle-that-goes-nowhere-0123456789"));
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "no agent, no session", 7);
        var ended = since.Elapsed;
        await Eventually.TrueAsync(() => Task.FromResult(load.Succeeded() >= 50), "others work", 60);
        Assert.Equal(0, load.Failed());
        await load.StopAsync();
        await _agent.StartAsync(_terminal);
        var (again, fresh) = await SignInAsync();
        using (again) Assert.Equal(HttpStatusCode.OK, (await again.UserInfoAsync(fresh)).StatusCode);
        await FaultTable.AddAsync("agent killed -9", crowd.Members.Count + 1, 20, load.Succeeded(), "no answer from the agent ×20", TimeSpan.Zero, ended);
    }

    [Fact]
    public async Task A_killed_pcscd_ends_sessions_at_its_readers_and_nobody_elses()
    {
        var (browser, access) = await SignInAsync();
        using var _ = browser;
        await using var crowd = await Crowd.CreateAsync(city, Counts.Of(8, 20), prefix: "b");
        await using var load = LoadRun.Start(crowd.Members, seed: 4);
        var pid = await File.ReadAllTextAsync(Path.Combine(Place.Directory, "cards/pcscd.pid"));
        var since = Stopwatch.StartNew();
        await Place.RunAsync("kill", ["-KILL", pid.Trim()]);
        try
        {
            await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "no reader, no session", 2);
            var ended = since.Elapsed;
            for (var i = 0; i < 20; i++)
            {
                var (transaction, answer) = await browser.TryAsync(_terminal);
                Assert.Equal(HttpStatusCode.Gone, answer.StatusCode);
                Assert.Equal("no-reader", (await browser.StateAsync(transaction)).GetProperty("cause").GetString());
            }
            await Eventually.TrueAsync(() => Task.FromResult(load.Succeeded() >= 50), "others work", 60);
            Assert.Equal(0, load.Failed());
            await load.StopAsync();
            var back = Stopwatch.StartNew();
            await Place.RunAsync(Path.Combine(Place.Root, "hsm-sim/readers"), ["start-pcscd", Path.Combine(Place.Directory, "cards")]);
            var (again, fresh) = await SignInAsync();
            using (again) Assert.Equal(HttpStatusCode.OK, (await again.UserInfoAsync(fresh)).StatusCode);
            await FaultTable.AddAsync("pcscd killed -9", crowd.Members.Count + 1, 20, load.Succeeded(), "no-reader ×20", back.Elapsed, ended);
        }
        finally { await Place.RunAsync(Path.Combine(Place.Root, "hsm-sim/readers"), ["ensure-pcscd", Path.Combine(Place.Directory, "cards")]); }
    }
}

/// <summary>The table that a run prints.</summary>
internal static class FaultTable
{
    internal static Task AddAsync(string fault, int inFlight, int failed, int succeeded, string told, TimeSpan recovery, TimeSpan cardOut) =>
        File.AppendAllTextAsync(Path.Combine(Place.Directory, "faults.txt"), string.Create(CultureInfo.InvariantCulture, $"| {fault} | {inFlight} | {failed} | {succeeded} | {told} | {recovery.TotalSeconds:0.0} s | {cardOut.TotalSeconds:0.00} s |\n"));
}
