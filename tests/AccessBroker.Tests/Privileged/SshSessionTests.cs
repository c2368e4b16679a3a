using System.Net;
using System.Text;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Privileged work on a real host: asked for, approved with a card, begun, recorded, and over when it must be.</summary>
public sealed class SshSessionTests(SshSessionTests.City broker) : IClassFixture<SshSessionTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity;

    private TestTerminal _terminal = null!;
    private SshHost _host = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearPrivilegedAsync();
        _terminal = await broker.TerminalAsync();
        _host = await broker.HostAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private Task<ConsoleBrowser> AdminAsync() => ConsoleBrowser.SignInAsync(broker, _terminal, "admin");

    [Fact, Trait("Requirement", "PRV-01"), Trait("Requirement", "PRV-06"), Trait("Requirement", "PRV-07")]
    public async Task Work_is_approved_begun_recorded_finished_and_reviewed()
    {
        using var me = await AdminAsync();
        var session = await broker.OpenAsync(me);
        var ran = await broker.AccessAsync("ssh", await PrivilegedCity.CodeAsync(me, session), "echo ここにいる; id -un; sudo -n /usr/bin/id -u");
        Assert.True(ran.Exit == 0, $"{ran}\n{_host.Log}\n{_host.SshdLog}");
        Assert.Contains("ここにいる", ran.Output, StringComparison.Ordinal);
        Assert.Contains(_host.Accounts, a => ran.Output.Contains(a, StringComparison.Ordinal));
        Assert.EndsWith("\n0\n", ran.Output, StringComparison.Ordinal);
        Assert.Contains("終わらせました", (await me.PostAsync($"/privileged/{session}?handler=end")).Page, StringComparison.Ordinal);
        await broker.StateAsync(session, "ended");
        Assert.Equal(["privileged.revoked|0|"], await broker.SqlAsync($"select end_reason, left_over, array_to_string(found, ',') from privileged.sessions where id = '{session}'"));
        Assert.Equal("ended privileged.revoked p-9001 t-01", await broker.LastEventAsync("privileged.end"));
        // Recorded: what it showed, each chunk's hash in the history.
        var recording = (await me.GetAsync($"/privileged/{session}/recording")).Page;
        Assert.Contains("ここにいる", recording, StringComparison.Ordinal);
        Assert.DoesNotContain("欠けた", recording, StringComparison.Ordinal);
        Assert.NotEqual("0", (await broker.SqlAsync($"select count(*) from history.events where operation = 'privileged.record' and details->>'privileged' = '{session}'"))[0]);
        // No closing without a result, no review by oneself or the approver.
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await me.PostAsync($"/privileged/{session}?handler=result", ("Text", "済"))).Status);
        Assert.Contains("結果を記録しました", (await me.PostAsync($"/privileged/{session}?handler=result", ("Text", "記録を調べ、異常のないことを確かめた。"))).Page, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await me.PostAsync($"/privileged/{session}?handler=review", ("Text", "よし"), ("Concern", "false"))).Status);
        using (var approver = await ConsoleBrowser.SignInAsync(broker, await broker.TerminalAsync("t-02"), "boss")) Assert.Contains("確認できません", (await approver.PostAsync($"/privileged/{session}?handler=review", ("Text", "よし"), ("Concern", "false"))).Page, StringComparison.Ordinal);
        using var other = await ConsoleBrowser.SignInAsync(broker, await broker.TerminalAsync("t-02"), "sysman");
        Assert.Contains("先に記録を見てください", (await other.PostAsync($"/privileged/{session}?handler=review", ("Text", "見ていない"), ("Concern", "false"))).Page, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await other.GetAsync($"/privileged/{session}/recording")).Status);
        Assert.Contains("確認を記録しました", (await other.PostAsync($"/privileged/{session}?handler=review", ("Text", "記録と結果が合う"), ("Concern", "false"))).Page, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "CRD-06")]
    public async Task Limit_button_and_card_end_everything_that_runs()
    {
        foreach (var cause in (string[])["limit", "card", "button"])
        {
            using var me = await AdminAsync();
            var session = await broker.OpenAsync(me);
            using var shell = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "-tt", "setsid sleep 600 & nohup sleep 601 & echo ready; sleep 602");
            await LineAsync(shell.StandardOutput, "ready");
            Assert.NotEmpty(_host.Processes());
            if (cause == "card") await _terminal.RemoveAsync();
            else if (cause == "button") await me.PostAsync($"/privileged/{session}?handler=end");
            else await broker.SqlAsync($"update privileged.sessions set ends_at = now() + interval '3 seconds' where id = '{session}'");
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(15));
            await shell.WaitForExitAsync(limit.Token);
            await broker.StateAsync(session, "ended");
            await _host.GoneAsync();
            var reason = cause switch { "card" => "privileged.session-over", "button" => "privileged.revoked", _ => "privileged.limit" };
            Assert.Equal([$"{reason}|0"], await broker.SqlAsync($"select end_reason, left_over from privileged.sessions where id = '{session}'"));
            Assert.Empty(Directory.GetFiles(Path.Combine(_host.RunDirectory, "principals")));
        }
    }

    private static async Task LineAsync(StreamReader from, string wanted)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var seen = new StringBuilder();
        while (await from.ReadLineAsync(limit.Token) is { } line)
        {
            seen.AppendLine(line);
            if (line.Contains(wanted, StringComparison.Ordinal)) return;
        }
        Assert.Fail($"'{wanted}' was not shown: {seen}");
    }
}
