using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Emergencies, the emergency stop, and work whose target never says that it is over. Files stand in for a target without an agent.</summary>
public sealed class EmergencyTests(PrivilegedCity broker) : IClassFixture<PrivilegedCity>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing; update privileged.sessions set state = 'ended', ended_at = now() where ended_at is null; update file_permissions.grants set ended_at = now(), ended_by = 'test' where ended_at is null");
    }

    public async ValueTask DisposeAsync()
    {
        // No agent says the last word of what was put on the host here.
        await broker.SqlAsync("delete from privileged.signatures where session in (select id from privileged.sessions where kind = 'ssh'); delete from privileged.sessions where kind = 'ssh'; delete from privileged.agents");
        await broker.ClearPrivilegedAsync();
    }

    private Task<ConsoleBrowser> AdminAsync() => ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
    private async Task<ConsoleBrowser> OtherAsync(string card) => await ConsoleBrowser.SignInAsync(broker, await broker.TerminalAsync("t-02"), card);

    private static (string, string)[] Form(string work) => [("Work", work), ("Reason", "住民票の発行が止まっており待てない")];
    private static async Task<string> ProofAsync(ConsoleBrowser who) => await who.ConfirmAsync((await who.PostAsync("/privileged/emergency", Form("urgent"))).To);

    private static async Task<(HttpStatusCode Status, string Page, string? To)> BeginAsync(ConsoleBrowser who, string work = "urgent")
    {
        var asked = await who.PostAsync("/privileged/emergency", Form(work));
        return asked.To is null ? asked : await who.PostAsync("/privileged/emergency", [.. Form(work), ("Confirmed", await who.ConfirmAsync(asked.To))]);
    }

    [Fact, Trait("Requirement", "PRV-13"), Trait("Requirement", "PRV-14")]
    public async Task An_emergency_needs_no_approval_is_loud_and_blocks_the_next_until_it_is_reviewed()
    {
        using var me = await AdminAsync();
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await me.PostAsync("/privileged/emergency", ("Work", "urgent"), ("Reason", "急ぐ"))).Status);
        Assert.Contains("承認なしには", (await BeginAsync(me, "repair")).Page, StringComparison.Ordinal);
        // What was typed is there again afterwards, and in no address.
        var asked = await me.PostAsync("/privileged/emergency", Form("urgent"));
        var proof = await me.ConfirmAsync(asked.To);
        var again = await me.GetAsync($"/privileged/emergency?work=urgent&confirmed={proof}");
        Assert.Contains("住民票の発行が止まっており待てない</textarea>", again.Page, StringComparison.Ordinal);
        Assert.Equal([$"/privileged/emergency?work=urgent&confirmed={proof}"], await broker.SqlAsync($"select return_path from sign_in.transactions where id = '{proof}'"));
        var begun = await me.PostAsync("/privileged/emergency", [.. Form("urgent"), ("Confirmed", proof)]);
        Assert.True(begun.To?.StartsWith("/privileged/ps", StringComparison.Ordinal) == true, ConsoleBrowser.Notice(begun.Page));
        var session = begun.To!["/privileged/".Length..];
        Assert.Equal(["30"], await broker.SqlAsync($"select round(extract(epoch from ends_at - started_at) / 60) from privileged.sessions where id = '{session}'"));
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from notices.notices where person = 'p-8002' and subject = '緊急の特権作業が始まりました' and url = '/privileged/{session}'"));
        Assert.Contains("確認が済んでいません", (await BeginAsync(me)).Page, StringComparison.Ordinal);
        await me.PostAsync($"/privileged/{session}?handler=end");
        await broker.StateAsync(session, "ended");
        Assert.Contains("確認が済んでいません", (await BeginAsync(me)).Page, StringComparison.Ordinal);
        await me.PostAsync($"/privileged/{session}?handler=result", ("Text", "停止した処理を再開し、発行を確かめた。"));
        using (var ciso = await OtherAsync("ciso"))
        {
            Assert.Contains("緊急の特権作業の確認", (await ciso.GetAsync("/")).Page, StringComparison.Ordinal);
            Assert.Contains("確認を記録しました", (await ciso.PostAsync($"/privileged/{session}?handler=review", ("Text", "やむを得ない"), ("Concern", "false"))).Page, StringComparison.Ordinal);
        }
        Assert.StartsWith("/privileged/ps", (await BeginAsync(me)).To, StringComparison.Ordinal);
        await broker.SqlAsync("update privileged.sessions set reviewed_at = now(), reviewed_by = 'test', result = 'x'");
        Assert.Contains("1日の回数", (await BeginAsync(me)).Page, StringComparison.Ordinal);
        using var contractor = await OtherAsync("contractor");
        Assert.Equal(HttpStatusCode.Forbidden, (await contractor.GetAsync("/privileged/emergency")).Status);
    }

    [Fact, Trait("Requirement", "PRV-13")]
    public async Task Of_two_emergencies_at_once_one_begins()
    {
        using var me = await AdminAsync();
        var proofs = new List<string>();
        for (var i = 0; i < 2; i++) proofs.Add(await ProofAsync(me));
        var begun = await Task.WhenAll(proofs.Select(p => me.PostAsync("/privileged/emergency", [.. Form("urgent"), ("Confirmed", p)])));
        Assert.Single(begun, b => b.To?.StartsWith("/privileged/ps", StringComparison.Ordinal) == true);
        Assert.Contains("確認が済んでいません", begun.Single(b => b.To is null).Page, StringComparison.Ordinal);
        Assert.Equal(["1"], await broker.SqlAsync("select count(*) from privileged.sessions where ended_at is null"));
    }

    [Fact, Trait("Requirement", "PRV-14")]
    public async Task The_emergency_stop_ends_everything_and_holds_until_somebody_else_lifts_it()
    {
        using var me = await AdminAsync();
        var (first, second) = (await PrivilegedCity.AskAsync(me, "repair", 5), await PrivilegedCity.AskAsync(me, "repair", 5));
        await broker.ApproveAsync(first);
        await broker.ApproveAsync(second);
        var session = (await PrivilegedCity.StartAsync(me, first)).Session!;
        using (var boss = await OtherAsync("boss"))
        {
            foreach (var nobody in (string[])["person/", "person/p-0000", "person/9001", "target/nowhere", "everyone/p-9001", "everyone"]) Assert.Equal((nobody, HttpStatusCode.UnprocessableEntity), (nobody, (await boss.PostAsync("/privileged?handler=stop", ("What", nobody), ("Reason", "疑い"))).Status));
            Assert.Contains("緊急停止しました", (await boss.PostAsync("/privileged?handler=stop", ("What", "person/p-9001"), ("Reason", "不審な操作"))).Page, StringComparison.Ordinal);
            await broker.StateAsync(session, "ended");
            Assert.Contains("止められた人とも別の人", (await boss.PostAsync($"/privileged?handler=lift&stop={(await broker.SqlAsync("select max(id) from privileged.stops"))[0]}")).Page, StringComparison.Ordinal);
        }
        Assert.Contains("緊急停止中", (await PrivilegedCity.StartAsync(me, second)).Page, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Forbidden, (await me.PostAsync("/privileged?handler=stop", ("What", "everyone/"), ("Reason", "だめ"))).Status);
        using (var other = await OtherAsync("sysman")) Assert.Contains("解きました", (await other.PostAsync($"/privileged?handler=lift&stop={(await broker.SqlAsync("select max(id) from privileged.stops"))[0]}")).Page, StringComparison.Ordinal);
        Assert.NotNull((await PrivilegedCity.StartAsync(me, second)).Session);
    }

    /// <summary>Whichever of the two comes first, nothing runs while the stop holds.</summary>
    [Fact, Trait("Requirement", "PRV-14")]
    public async Task A_start_and_a_stop_at_the_same_moment_leave_nothing_running()
    {
        using var me = await AdminAsync();
        using var boss = await OtherAsync("boss");
        for (var round = 0; round < 8; round++)
        {
            var proof = await ProofAsync(me);
            var stop = Task.Run(async () => { await Task.Delay(round * 3); return await boss.PostAsync("/privileged?handler=stop", ("What", "everyone/"), ("Reason", "同時")); });
            var begun = await me.PostAsync("/privileged/emergency", [.. Form("urgent"), ("Confirmed", proof)]);
            Assert.Contains("緊急停止しました", (await stop).Page, StringComparison.Ordinal);
            Assert.True(begun.To?.StartsWith("/privileged/ps", StringComparison.Ordinal) == true || begun.Page.Contains("緊急停止中", StringComparison.Ordinal), ConsoleBrowser.Notice(begun.Page));
            await Eventually.TrueAsync(async () => await broker.SqlAsync("select count(*) from privileged.sessions where ended_at is null") is ["0"], "nothing runs", 5);
            Assert.Equal(["0"], await broker.SqlAsync("select count(*) from file_permissions.grants where subject = 'person:p-9001' and ended_at is null"));
            await broker.SqlAsync("update privileged.stops set lifted_at = now(), lifted_by = 'test' where lifted_at is null; update privileged.sessions set reviewed_at = now(), reviewed_by = 'test', started_at = started_at - interval '2 days' where reviewed_at is null");
        }
    }

    /// <summary>A machine that will never be back: somebody who had no part in the work makes sure and says how. Why it ended stays, and what its agent says later is taken all the same.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Work_on_a_machine_that_is_gone_is_closed_by_somebody_else()
    {
        using var me = await AdminAsync();
        var session = await AddAsync("ending", "5 minutes 10 seconds");
        var young = await AddAsync("open", "4 minutes");
        const string proof = "電源を切り、記憶装置を取り外したことを確かめた。";
        async Task<HttpStatusCode> CloseAsync(ConsoleBrowser who, string which, string text = proof) => (await who.PostAsync($"/privileged/{which}?handler=close", ("Text", text))).Status;
        Assert.Equal(HttpStatusCode.Forbidden, await CloseAsync(me, session));
        using var boss = await OtherAsync("boss");
        Assert.Equal(HttpStatusCode.Forbidden, await CloseAsync(boss, young));
        // Whoever worked in it or approved it has a part in it.
        foreach (var part in (string[])["person = 'p-8001'", "approvers = array['p-8001']"])
        {
            var own = await AddAsync("ending", "1 hour");
            await broker.SqlAsync($"update privileged.sessions set {part} where id = '{own}'");
            Assert.Equal(HttpStatusCode.Forbidden, await CloseAsync(boss, own));
        }
        Assert.Equal(HttpStatusCode.UnprocessableEntity, await CloseAsync(boss, session, "短い"));
        await broker.SqlAsync("insert into privileged.agents (target, certificate, enrolled_at, expires_at, seen_at) values ('app', sha256(''), now(), now() + interval '1 day', now() + interval '1 second')");
        Assert.Equal(HttpStatusCode.UnprocessableEntity, await CloseAsync(boss, session));
        await broker.SqlAsync("update privileged.agents set seen_at = now() - interval '11 seconds'");
        Assert.Equal(HttpStatusCode.OK, await CloseAsync(boss, session));
        Assert.Equal([$"ended|privileged.emergency-stop|p-8001|{proof}|"], await broker.SqlAsync($"select state, end_reason, closed_by, closed_note, left_over from privileged.sessions where id = '{session}'"));
        Assert.Equal("ended privileged.emergency-stop p-8001 t-02", await broker.LastEventAsync("privileged.close"));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, await CloseAsync(boss, session));
        Assert.Contains("結果を記録しました", (await me.PostAsync($"/privileged/{session}?handler=result", ("Text", "途中で機器が壊れ、作業は終わらなかった。"))).Page, StringComparison.Ordinal);
        Assert.Contains("閉じた人", (await boss.PostAsync($"/privileged/{session}?handler=review", ("Text", "確かめた"), ("Concern", "false"))).Page, StringComparison.Ordinal);
    }

    /// <summary>What its target never opened, because it is attached nowhere, is over by itself, asks for no result and no review, and is no emergency that blocks the next.</summary>
    [Fact, Trait("Requirement", "PRV-13")]
    public async Task An_emergency_that_never_began_blocks_nothing()
    {
        using var me = await AdminAsync();
        var begun = await BeginAsync(me, "maintain");
        var never = begun.To!["/privileged/".Length..];
        Assert.Equal(["opening"], await broker.SqlAsync($"select state from privileged.sessions where id = '{never}'"));
        await broker.SqlAsync($"update privileged.sessions set started_at = now() - interval '19 seconds' where id = '{never}'");
        await broker.StateAsync(never, "ended");
        Assert.Equal(["privileged.not-opened"], await broker.SqlAsync($"select end_reason from privileged.sessions where id = '{never}'"));
        Assert.DoesNotContain("行ったことと、その結果", (await me.GetAsync($"/privileged/{never}")).Page, StringComparison.Ordinal);
        Assert.DoesNotContain("特権作業の結果の記入", (await me.GetAsync("/")).Page, StringComparison.Ordinal);
        Assert.NotEmpty(await broker.SqlAsync($"select 1 from notices.notices where url = '/privileged/{never}' and subject = '特権作業を始められませんでした'"));
        Assert.StartsWith("/privileged/ps", (await BeginAsync(me)).To, StringComparison.Ordinal);
    }

    /// <summary>A session on the host that has no agent here, whose limit was so long ago.</summary>
    private async Task<string> AddAsync(string state, string ago)
    {
        var id = $"ps{Guid.NewGuid():N}"[..22];
        await broker.SqlAsync($"""
            insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, place, end_reason)
            select '{id}', 'maintain', 'app', 'ssh', s.person, s.card, s.terminal, s.id, s.address, 'x', '', '{'{'}{'}'}', now() - interval '1 hour', now() - interval '{ago}', '{state}', '{'{'}{'}'}', case when '{state}' = 'ending' then 'privileged.emergency-stop' end from sessions.sessions s where s.person = 'p-9001' and s.ended_at is null
            """);
        return id;
    }
}
