using System.Diagnostics;
using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Two-person work on a real sshd and a real PostgreSQL: it stands still unless a second, different person watches.</summary>
public sealed class TwoPersonTests(TwoPersonTests.City broker) : IClassFixture<TwoPersonTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity
    {
        protected override void ChangePolicies(string directory) => File.WriteAllText(Path.Combine(directory, "privileged.yaml"), Policy.Replace("establish: 60s", "establish: 60s\nwatched-within: 10s\ncut-off: 6s", StringComparison.Ordinal).TrimEnd() + """

              pair: { name: 二人での保守, target: app, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: true, instruction: false, two-person: true }
              pair-look: { name: 二人での照会, target: db, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: false, two-person: true, database: work, database-roles: [narrow_pair] }
              plain: { name: 一人での保守, target: app, requesters: [administrator, system-staff], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: true, instruction: false }
              plain-files: { name: 一人での修復, target: documents, requesters: [administrator, system-staff], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: true, instruction: false, path: /公開, actions: [read] }
              other: { name: 契約の外の保守, target: app, requesters: [system-staff], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: false }
            contracts:
              vendor: { name: 保守契約, from: "2026-04-01", until: "2099-03-31", people: [p-6001], work: [plain, plain-files], terminals: [t-01] }

            """);
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        await broker.HostAsync();
        await broker.ClearPrivilegedAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private Task<ConsoleBrowser> AdminAsync() => ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
    private async Task<ConsoleBrowser> OtherAsync(string card) => await ConsoleBrowser.SignInAsync(broker, await broker.TerminalAsync("t-02"), card);
    /// <summary>Sits down: card and PIN for exactly this; what opens the stream, from then on.</summary>
    private static async Task<string> SitAsync(ConsoleBrowser who, string session)
    {
        var asked = await who.PostAsync($"/privileged/{session}/watch");
        var seated = await who.PostAsync($"/privileged/{session}/watch", ("Confirmed", await who.ConfirmAsync(asked.To)));
        return System.Text.RegularExpressions.Regex.Match(seated.Page, "stream\\?seat=([^\"]+)\"").Groups[1].Value;
    }

    private static async Task<StreamReader> WatchAsync(ConsoleBrowser who, string session, string seat = "") => new(await who.Http.GetStreamAsync(new Uri($"/privileged/{session}/watch/stream?seat={seat}", UriKind.Relative)));

    /// <summary>Reads until a text comes; everything read.</summary>
    private static async Task<string> UntilAsync(TextReader from, string wanted)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var (seen, buffer) = (new System.Text.StringBuilder(), new char[4096]);
        while (!seen.ToString().Contains(wanted, StringComparison.Ordinal))
        {
            int read;
            try { read = await from.ReadAsync(buffer, limit.Token); }
            catch (OperationCanceledException) { read = 0; }
            Assert.True(read > 0, $"'{wanted}' did not come: {seen}");
            seen.Append(buffer, 0, read);
        }
        return seen.ToString();
    }

    private Task HeldAsync(string session, bool held) => Eventually.TrueAsync(async () => await broker.SqlAsync($"select held_at is not null from privileged.sessions where id = '{session}'") is [var now] && now == $"{held}", held ? "it stands still" : "it goes on");

    private static void Type(Process shell, string line)
    {
        shell.StandardInput.Write(line + "\n");
        shell.StandardInput.Flush();
    }

    [Fact, Trait("Requirement", "PRV-05"), Trait("Requirement", "OUT-03")]
    public async Task Work_on_a_host_goes_on_only_while_a_second_person_watches()
    {
        using var me = await AdminAsync();
        var session = await broker.OpenAsync(me, "pair");
        Assert.Contains("立会人", (await me.PostAsync($"/privileged/{session}?handler=code")).Page, StringComparison.Ordinal);
        // Nobody watches themselves; nobody without the role does.
        using (var own = await WatchAsync(me, session)) await UntilAsync(own, "event: refused");
        using (var operator_ = await OtherAsync("sato"))
        using (var refused = await operator_.Http.GetAsync(new Uri($"/privileged/{session}/watch/stream", UriKind.Relative))) Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);

        using var second = await OtherAsync("sysman");
        // A page that somebody was sent a link to seats nobody: it wants a proof first.
        using (var unproven = await WatchAsync(second, session)) await UntilAsync(unproven, "event: refused");
        var seat = await SitAsync(second, session);
        using (var link = new HttpRequestMessage(HttpMethod.Get, $"/privileged/{session}/watch/stream?seat={seat}") { Headers = { { "Sec-Fetch-Dest", "document" } } })
        using (var opened = await second.Http.SendAsync(link)) Assert.Equal(HttpStatusCode.Forbidden, opened.StatusCode);
        Process shell;
        using (var watching = await WatchAsync(second, session, seat))
        {
            await UntilAsync(watching, "data: going");
            Assert.Equal(HttpStatusCode.OK, (await second.GetAsync($"/privileged/{session}/watch")).Status);
            shell = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "-tt", "stty -echo; echo ready; cat");
            await UntilAsync(shell.StandardOutput, "ready");
            Type(shell, "seen-by-two");
            await UntilAsync(shell.StandardOutput, "seen-by-two");
            await UntilAsync(watching, "\\u2328 seen-by-two");
            Assert.Equal(HttpStatusCode.OK, (await second.PostAsync($"/privileged/{session}/watch?handler=check", ("Text", "手順1を確認した"))).Status);
        }
        // The page is closed: it stands still, and what is typed is lost.
        await UntilAsync(shell.StandardOutput, "止まっています");
        await HeldAsync(session, true);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await second.PostAsync($"/privileged/{session}/watch?handler=check", ("Text", "見ていない手順"))).Status);
        Type(shell, "typed-unseen");
        using (var watching = await WatchAsync(second, session, seat))
        {
            await UntilAsync(watching, "data: going");
            await UntilAsync(shell.StandardOutput, "続けられます");
            Type(shell, "typed-seen");
            Assert.DoesNotContain("typed-unseen", await UntilAsync(shell.StandardOutput, "typed-seen"), StringComparison.Ordinal);
            // The second person's card is out: the same; and when nobody comes, it ends.
            await (await broker.TerminalAsync("t-02")).RemoveAsync();
            await HeldAsync(session, true);
        }
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(40));
        await shell.WaitForExitAsync(limit.Token);
        shell.Dispose();
        await broker.StateAsync(session, "ended");
        await broker.Host.GoneAsync();
        Assert.Equal(["privileged.no-witness|0"], await broker.SqlAsync($"select end_reason, left_over from privileged.sessions where id = '{session}'"));
        Assert.Equal(["p-9002|手順1を確認した"], await broker.SqlAsync($"select person, note from privileged.checks where session = '{session}'"));
        foreach (var operation in (string[])["privileged.witness", "privileged.leave", "privileged.hold", "privileged.go-on", "privileged.check"]) Assert.True(await broker.SqlAsync($"select count(*) > 0 from history.events where operation = '{operation}' and outcome = 'done' and details->>'privileged' = '{session}'") is ["True"], operation);
        // Whoever took part does not look at it afterwards.
        await me.PostAsync($"/privileged/{session}?handler=result", ("Text", "二人で設定を直した。"));
        using (var witness = await OtherAsync("sysman")) Assert.Equal(HttpStatusCode.UnprocessableEntity, (await witness.PostAsync($"/privileged/{session}?handler=review", ("Text", "確認した"), ("Concern", "false"))).Status);
    }

    [Fact, Trait("Requirement", "PRV-05")]
    public async Task Work_on_a_database_loses_its_connections_when_nobody_watches()
    {
        var database = await broker.DatabaseAsync();
        using var me = await AdminAsync();
        var session = await broker.OpenAsync(me, "pair-look");
        using var second = await OtherAsync("sysman");
        var seat = await SitAsync(second, session);
        using (var watching = await WatchAsync(second, session, seat))
        {
            await UntilAsync(watching, "data: going");
            using var sleeping = broker.Access("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "select pg_sleep(600)");
            await Eventually.TrueAsync(async () => (await database.SqlAsync("select count(*) from pg_stat_activity where usename like 'ab\\_ps%'"))[0] != "0", "it is in");
            watching.Dispose();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            await sleeping.WaitForExitAsync(limit.Token);
        }
        await HeldAsync(session, true);
        using (var watching = await WatchAsync(second, session, seat))
        {
            await UntilAsync(watching, "data: going");
            Assert.Equal(0, (await broker.AccessAsync("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "select 1")).Exit);
        }
        await me.PostAsync($"/privileged/{session}?handler=end");
        await broker.StateAsync(session, "ended");
        Assert.Empty(await database.LeftAsync());
    }

    [Fact, Trait("Requirement", "PRV-05"), Trait("Requirement", "PRV-02")]
    public async Task Without_a_broker_two_person_work_stands_still_and_all_work_ends_when_it_stays_away()
    {
        using var me = await AdminAsync();
        var session = await broker.OpenAsync(me, "pair");
        using var second = await OtherAsync("sysman");
        using var watching = await WatchAsync(second, session, await SitAsync(second, session));
        await UntilAsync(watching, "data: going");
        using var shell = broker.Access("ssh", await PrivilegedCity.CodeAsync(me, session), "-tt", "echo ready; cat");
        await UntilAsync(shell.StandardOutput, "ready");
        await broker.Node(0).KillAsync();
        try
        {
            await UntilAsync(shell.StandardOutput, "止まっています");
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
            await shell.WaitForExitAsync(limit.Token);
            await broker.Host.GoneAsync();
        }
        finally { await broker.StartAsync(); }
        await broker.StateAsync(session, "ended", 30);
        Assert.Equal(["privileged.cut-off|0"], await broker.SqlAsync($"select end_reason, left_over from privileged.sessions where id = '{session}'"));
        await _terminal.AttachedAsync();
        await (await broker.TerminalAsync("t-02")).AttachedAsync();
    }

    [Fact, Trait("Requirement", "OUT-02"), Trait("Requirement", "OUT-03"), Trait("Requirement", "OUT-04"), Trait("Requirement", "PRV-04")]
    public async Task A_contractor_works_on_instruction_and_in_twos_only()
    {
        await broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from) values ('p-6001', '保守員', '委託先', 'system-staff', now() - interval '1 hour')");
        using var contractor = await ConsoleBrowser.SignInAsync(broker, _terminal, "contractor");
        foreach (var (work, told) in ((string, string)[])[("plain", "指示が必要"), ("plain-files", "二人で行うため"), ("other", "委託契約の範囲にありません")])
        {
            var (status, page, _) = await contractor.PostAsync("/requests/new/privileged.session", ("Reason", "保守の作業"), ("Given[plan]", "調べる"), ("Given[work]", work), ("Given[minutes]", "5"));
            Assert.True(status == HttpStatusCode.UnprocessableEntity && page.Contains(told, StringComparison.Ordinal), $"{work}: {status} {ConsoleBrowser.Notice(page)}");
        }
        Assert.DoesNotContain("一人での保守", (await contractor.GetAsync("/privileged/emergency")).Page, StringComparison.Ordinal);
        var request = await PrivilegedCity.AskAsync(contractor, "plain", 5, ("instructedBy", "p-9001"));
        await broker.ApproveAsync(request);
        // Not at another terminal than the contract's.
        await _terminal.RemoveAsync();
        using (var elsewhere = await OtherAsync("contractor"))
            Assert.Contains("作業場所ではありません", (await elsewhere.PostAsync($"/privileged/start/{request}")).Page, StringComparison.Ordinal);
        await (await broker.TerminalAsync("t-02")).RemoveAsync();
        using var again = await ConsoleBrowser.SignInAsync(broker, _terminal, "contractor");
        var (session, page2) = await PrivilegedCity.StartAsync(again, request);
        Assert.True(session is not null, ConsoleBrowser.Notice(page2));
        await broker.StateAsync(session!, "open");
        Assert.Equal(["True"], await broker.SqlAsync($"select two_person from privileged.sessions where id = '{session}'"));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await again.PostAsync($"/privileged/{session}?handler=code")).Status);
        await again.PostAsync($"/privileged/{session}?handler=end");
        await broker.StateAsync(session!, "ended");
        await broker.SqlAsync("delete from people.posts where person = 'p-6001' and post = '保守員'");
    }
}
