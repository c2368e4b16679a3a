using System.Text.Json.Nodes;
using AccessBroker.TargetAgent;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>A host with one account for sessions and a small disk.</summary>
public sealed class SmallHostTests(SmallHostTests.City broker) : IClassFixture<SmallHostTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity
    {
        protected override int Accounts => 1;
    }

    private TestTerminal _terminal = null!;
    private SshHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearPrivilegedAsync();
        _terminal = await broker.TerminalAsync();
        _host = await broker.HostAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private async Task<string> BeginAsync(ConsoleBrowser me)
    {
        var request = await PrivilegedCity.AskAsync(me);
        await broker.ApproveAsync(request);
        return (await PrivilegedCity.StartAsync(me, request)).Session!;
    }

    private async Task<string> RunAsync(ConsoleBrowser me, string session, string command)
    {
        var ran = await broker.AccessAsync("ssh", await PrivilegedCity.CodeAsync(me, session), command);
        Assert.True(ran.Exit == 0, $"{ran} {_host.Log}");
        return ran.Output;
    }

    /// <summary>When all accounts are taken nobody shares one; and whoever has it next finds nothing of who had it before, least of all what would run for them.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task An_account_is_one_session_s_and_comes_back_as_if_nobody_had_had_it()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var first = await broker.OpenAsync(me);
        await RunAsync(me, first, "mkdir -p ~/.ssh ~/bin; for f in .bashrc .profile .bash_profile .ssh/rc .ssh/authorized_keys .ssh/environment .gitconfig bin/ls; do echo 'echo planted' > ~/$f; done");
        var second = await BeginAsync(me);
        await broker.StateAsync(second, "ended");
        Assert.Equal(["privileged.target-full"], await broker.SqlAsync($"select end_reason from privileged.sessions where id = '{second}'"));
        Assert.Contains("同時に使える数を超えています", (await me.GetAsync($"/privileged/{second}")).Page, StringComparison.Ordinal);
        await me.PostAsync($"/privileged/{first}?handler=end");
        await broker.StateAsync(first, "ended");
        var third = await broker.OpenAsync(me);
        var found = await RunAsync(me, third, "id -un; find ~ -mindepth 1; echo end");
        Assert.Equal($"{_host.Accounts[0]}\nend\n", found);
    }

    /// <summary>What cannot be recorded does not go on; what cannot be guarded does not begin; and the end is on record once there is room for it.</summary>
    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-07")]
    public async Task With_a_full_disk_everything_ends_and_nothing_begins()
    {
        await _host.SignalAsync("TERM");
        await _host.EndedAsync();
        var aside = _host.AgentData + ".aside";
        var filler = Path.Combine(_host.AgentData, "filler");
        await Place.RunAsync("cp", ["-a", _host.AgentData, aside]);
        await Place.RunAsync("mount", ["-t", "tmpfs", "-o", "size=2m,mode=700", "accessbroker-test", _host.AgentData]);
        try
        {
            await Place.RunAsync("cp", ["-a", $"{aside}/.", _host.AgentData]);
            await _host.StartAgentAsync();
            using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
            var session = await broker.OpenAsync(me);
            using var shell = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "sleep 777 & while :; do echo shown; sleep 0.1; done");
            await Eventually.TrueAsync(() => Task.FromResult(_host.Processes().Exists(p => p.Contains("777", StringComparison.Ordinal))), $"it runs {_host.Log}");
            // Again and again: a chunk that the broker has taken note of makes room for the next.
            await Eventually.TrueAsync(async () =>
            {
                await Place.RunAsync("dd", ["if=/dev/zero", $"of={filler}", "bs=4k", "oflag=append", "conv=notrunc"], mayFail: true);
                return _host.Processes().Count == 0;
            }, "nothing of the pool runs");
            await Eventually.TrueAsync(async () => await broker.SqlAsync($"select state, end_reason from privileged.sessions where id = '{session}'") is ["ending|privileged.recording-failed"], "the broker knows why");
            var refused = await BeginAsync(me);
            await broker.StateAsync(refused, "ended");
            Assert.Equal(["privileged.target-failed|"], await broker.SqlAsync($"select end_reason, opened_at from privileged.sessions where id = '{refused}'"));
            File.Delete(filler);
            await broker.StateAsync(session, "ended");
            Assert.Contains("here", await RunAsync(me, await broker.OpenAsync(me), "echo here"), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(filler);
            await _host.SignalAsync("TERM");
            await _host.EndedAsync();
            await Place.RunAsync("umount", ["-l", _host.AgentData], mayFail: true);
            await _host.StartAgentAsync();
        }
    }

    /// <summary>A machine that lost its power in the middle of a word: the broker gets one that can be read.</summary>
    [Fact]
    public void A_torn_closing_word_is_put_aside_and_said_anew()
    {
        var directory = Directory.CreateTempSubdirectory("ab-closings-").FullName;
        try
        {
            var said = new List<JsonObject>();
            var closings = new Closings(directory, said.Add);
            Assert.Empty(closings.Left());
            closings.Close("ps1", Closings.Word("ps1", "privileged.limit", 5, ["file /tmp/x"]));
            var word = Path.Combine(directory, "closings/ps1");
            File.WriteAllText(word, File.ReadAllText(word)[..20]);
            File.WriteAllText(word + ".tmp", "{");
            Assert.Empty(closings.Unreported());
            closings.SayAgain("ps1");
            Assert.Equal(["privileged.limit", Closings.Restarted], said.Select(s => s["reason"]!.GetValue<string>()));
            Assert.Single(closings.Unreported());
            closings.Noted("ps1");
            Assert.Empty(closings.Unreported());
        }
        finally { Directory.Delete(directory, recursive: true); }
    }
}
