using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Who may ask, who may approve, what a signature covers, and what stops a start. Files stand in for a target without an agent.</summary>
public sealed class PrivilegedRequestTests(PrivilegedRequestTests.City broker) : IClassFixture<PrivilegedRequestTests.City>, IAsyncLifetime
{
    public sealed class City : PrivilegedCity
    {
        protected override void ChangePolicies(string directory) => File.WriteAllText(Path.Combine(directory, "privileged.yaml"), Policy + """
              night: { name: 夜間の修復, target: documents, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "00:00-00:01", emergency: false, instruction: false, path: /公開, actions: [read] }
              monthly: { name: 毎月の点検, target: documents, requesters: [administrator], approvers: [system-manager, security-chief], approvals: 1, longest: 1h, idle: 15m, hours: "00:00-30:00", recurring: true, emergency: false, instruction: false, path: /公開, actions: [read] }
              two: { name: 二人の承認, target: documents, requesters: [administrator, system-manager], approvers: [system-manager, security-chief, administrator], approvals: 2, longest: 1h, idle: 15m, hours: "", emergency: false, instruction: true, path: /公開, actions: [read] }

            """);
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        await broker.ClearPrivilegedAsync();
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing; update privileged.sessions set state = 'ended', ended_at = now() where ended_at is null; update file_permissions.grants set ended_at = now(), ended_by = 'test' where ended_at is null");
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    private Task<ConsoleBrowser> AdminAsync() => ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
    private async Task<ConsoleBrowser> OtherAsync(string card) => await ConsoleBrowser.SignInAsync(broker, await broker.TerminalAsync("t-02"), card);

    [Fact, Trait("Requirement", "PRV-02"), Trait("Requirement", "PRV-18")]
    public async Task What_the_policy_does_not_allow_is_refused_with_the_rule_that_says_so()
    {
        using var me = await AdminAsync();
        List<((string, string)[] Fields, string Told)> wrong =
            [([("work", "repair"), ("minutes", "61")], "work.repair.longest"), ([("work", "repair"), ("minutes", "0")], "1以上"), ([("work", "repair"), ("minutes", "abc")], "1以上"), ([("work", "nothing"), ("minutes", "5")], "形が正しくありません"),
             ([("work", "repair"), ("minutes", "5"), ("at", "10:00")], "開始日も"), ([("work", "repair"), ("minutes", "5"), ("from", "2020-01-01"), ("at", "10:00")], "いまより後"), ([("work", "repair"), ("minutes", "5"), ("from", "2099-01-01")], "開始時刻も"), ([("work", "repair"), ("minutes", "5"), ("from", "2099-01-01"), ("at", "10:00")], "request-valid"),
             ([("work", "night"), ("minutes", "5"), ("from", $"{TimeProvider.System.GetUtcNow().AddDays(2):yyyy-MM-dd}"), ("at", "12:00")], "work.night.hours"), ([("work", "two"), ("minutes", "5")], "指示が必要"), ([("work", "two"), ("minutes", "5"), ("instructedBy", "p-9001")], "ご自身"), ([("work", "two"), ("minutes", "5"), ("instructedBy", "p-1001")], "住基ネット管理者")];
        foreach (var (fields, told) in wrong)
        {
            var (status, page, _) = await me.PostAsync("/requests/new/privileged.session", [("Reason", "障害の調査"), ("Given[plan]", "調べる"), .. fields.Select(f => ($"Given[{f.Item1}]", f.Item2))]);
            Assert.True(status == HttpStatusCode.UnprocessableEntity && page.Contains(told, StringComparison.Ordinal), $"{told}: {status} {ConsoleBrowser.Notice(page)}");
        }
        using var operator_ = await OtherAsync("sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await operator_.GetAsync("/requests/new/privileged.session")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await operator_.GetAsync("/privileged")).Status);
    }

    [Fact, Trait("Requirement", "PRV-10"), Trait("Requirement", "PRV-04")]
    public async Task K_different_people_approve_never_the_requester_their_delegate_or_a_contractor()
    {
        using var me = await AdminAsync();
        var request = await PrivilegedCity.AskAsync(me, "two", 5, ("instructedBy", "p-8001"));
        // The requester, who has a role that approves this work.
        await broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from) values ('p-9001', '兼務', '情報システム課', 'system-manager', now() - interval '1 hour')");
        Assert.NotEqual(HttpStatusCode.OK, (await me.ApproveConfirmedAsync(request, "approve-1")).Status);
        await broker.SqlAsync("delete from people.posts where person = 'p-9001' and post = '兼務'");
        using (var contractor = await OtherAsync("contractor")) Assert.Equal(HttpStatusCode.Forbidden, (await contractor.ApproveConfirmedAsync(request, "approve-1")).Status);
        // Somebody whom the requester has nominated to act for them.
        await broker.SqlAsync("insert into approvals.requests (kind, person, fields, reason, requested_by, requested_at, due_at, state) values ('staff.deputy', 'p-9002', jsonb_build_object('person', 'p-9002', 'role', 'administrator', 'from', '2026-01-01', 'until', '2099-01-01'), '不在', 'p-9001', now(), now(), 'done')");
        using (var deputy = await OtherAsync("sysman")) Assert.Equal(HttpStatusCode.Forbidden, (await deputy.ApproveConfirmedAsync(request, "approve-1")).Status);
        await broker.SqlAsync("delete from approvals.requests where kind = 'staff.deputy'");
        await broker.ApproveAsync(request, "boss");
        Assert.Null((await PrivilegedCity.StartAsync(me, request)).Session);
        // One person is one person, whatever the step.
        using (var again = await OtherAsync("boss")) Assert.NotEqual(HttpStatusCode.OK, (await again.ApproveConfirmedAsync(request, "approve-2")).Status);
        Assert.Equal(["open"], await broker.SqlAsync($"select state from approvals.requests where id = {request}"));
        await broker.ApproveAsync(request, "sysman", "approve-2");
        Assert.NotNull((await PrivilegedCity.StartAsync(me, request)).Session);
        Assert.Equal(["p-8001 p-9002"], await broker.SqlAsync($"select array_to_string(approvers, ' ') from privileged.sessions where request = {request}"));
        // One request is one session.
        Assert.Null((await PrivilegedCity.StartAsync(me, request)).Session);
    }

    /// <summary>An approver who is not there: who else can is said and reminded; then whoever appoints deputies is told. Time alone approves nothing.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public async Task When_approvers_are_absent_others_are_called_and_nothing_is_approved()
    {
        Task<List<string>> EventsAsync(long id) => broker.SqlAsync($"select (details->>'able' <> '') || ' ' || (details->>'appointing' <> '') from history.events where operation = 'approvals.remind' and details->>'request' = '{id}' order by id");
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var request = await PrivilegedCity.AskAsync(me);
        var boss = (await broker.SqlAsync("select n.name from people.names n join people.posts p using (person) where p.role = 'security-chief' and p.valid_until is null limit 1"))[0];
        var own = (await broker.SqlAsync("select name from people.names where person = 'p-9001' limit 1"))[0];
        var page = (await me.GetAsync($"/requests/{request}")).Page;
        var waiting = page[page.IndexOf("次に処理できる人", StringComparison.Ordinal)..].Split("</dd>")[0];
        Assert.Contains(boss, waiting, StringComparison.Ordinal);
        Assert.DoesNotContain(own, waiting, StringComparison.Ordinal);
        await broker.SqlAsync($"update approvals.requests set requested_at = now() - interval '5 hours' where id = {request}");
        await Eventually.TrueAsync(async () => await EventsAsync(request) is ["true false"], "those who can approve are reminded", 25);
        await broker.SqlAsync($"update approvals.requests set reminded_at = now() - interval '9 hours' where id = {request}");
        await Eventually.TrueAsync(async () => await EventsAsync(request) is ["true false", "true true"], "then those who can appoint a deputy", 25);
        Assert.NotEmpty(await broker.SqlAsync($"select 1 from notices.notices where url = '/requests/{request}' and subject like 'まだ承認されていません%' and body like '%{boss}%' and person = 'p-9001'"));
        Assert.Equal(["open"], await broker.SqlAsync($"select state from approvals.requests where id = {request}"));
        // Nobody there at all: a deputy is called for at once.
        var moment = (await broker.SqlAsync("select now()::text"))[0];
        Assert.NotEmpty(await broker.SqlAsync($"update people.posts set valid_until = '{moment}' where role in ('system-manager', 'security-chief') and valid_until is null and valid_from < '{moment}' returning person"));
        try
        {
            var second = await PrivilegedCity.AskAsync(me);
            await Eventually.TrueAsync(async () => await EventsAsync(second) is ["false true"], "nobody can approve", 25);
            Assert.NotEmpty(await broker.SqlAsync("select 1 from notices.notices where url = '/requests/new/staff.deputy' and subject like '承認できる人が足りない申請%' and person in (select person from people.posts where role = 'ciso')"));
            Assert.Contains("代行者の指名か、役職の登録が必要です(", (await me.GetAsync($"/requests/{second}")).Page, StringComparison.Ordinal);
        }
        finally { await broker.SqlAsync($"update people.posts set valid_until = null where role in ('system-manager', 'security-chief') and valid_until = '{moment}'"); }
    }

    /// <summary>Nothing hides behind its length: 60 MB are read in parts, each checked against the one before.</summary>
    [Fact, Trait("Requirement", "PRV-07")]
    public async Task A_long_recording_is_read_to_its_end()
    {
        using var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        await broker.SqlAsync("""
            insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state, ended_at, over_at, end_reason)
            select 'ps11111111111111111111', 'maintain', 'app', 'ssh', s.person, s.card, s.terminal, s.id, s.address, 'x', '', '{}', now(), now(), 'ended', now(), now(), 'privileged.limit' from sessions.sessions s where s.ended_at is null limit 1;
            with recursive d (number, data) as (select n, convert_to('[' || n || '.5,"o","' || case when n = 3 then 'deep-inside' else 'plain' end || repeat('x', 80) || '\n"]' || E'\n', 'utf8') from generate_series(1, 3) n),
              big as (select number, convert_to(repeat(convert_from(data, 'utf8'), 200000), 'utf8') as data from d),
              chained (number, data, chain) as (select number, data, sha256(decode(repeat('00', 32), 'hex') || data) from big where number = 1 union all select b.number, b.data, sha256(c.chain || b.data) from big b join chained c on b.number = c.number + 1)
            insert into privileged.chunks (session, number, data, chain, at) select 'ps11111111111111111111', number, data, chain, now() from chained
            """);
        async Task<string> PageAsync(string query) => (await chief.GetAsync($"/privileged/ps11111111111111111111/recording{query}")).Page;
        var first = await PageAsync("");
        Assert.Contains("plainxxx", first, StringComparison.Ordinal);
        Assert.Contains("part=1&skip=5000", first, StringComparison.Ordinal);
        Assert.Contains("part=2&skip=0", await PageAsync("?part=1&skip=399000"), StringComparison.Ordinal);
        var second = await PageAsync("?part=2");
        Assert.Contains("deep-inside", second, StringComparison.Ordinal);
        Assert.DoesNotContain("欠けたところ", second, StringComparison.Ordinal);
        Assert.DoesNotContain("part=3", await PageAsync("?part=2&skip=199000"), StringComparison.Ordinal);
        Assert.Contains("ありません。", await PageAsync("?part=3"), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await chief.GetAsync("/privileged/ps11111111111111111111/recording?part=0")).Status);
        await broker.SqlAsync("delete from privileged.chunks where session = 'ps11111111111111111111' and number = 2");
        Assert.Contains("合わないところがあります: 2", await PageAsync("?part=1") + await PageAsync("?part=2"), StringComparison.Ordinal);
        await broker.SqlAsync("delete from privileged.chunks where session = 'ps11111111111111111111'; delete from privileged.looks where session = 'ps11111111111111111111'; delete from privileged.sessions where id = 'ps11111111111111111111'");
    }

    /// <summary>The CISO permits it, for a time, with what is done instead; then the rule holds again.</summary>
    [Fact, Trait("Requirement", "PRV-12")]
    public async Task An_exception_sets_a_rule_aside_until_its_day_and_no_longer()
    {
        var day = $"{Web.JapaneseTime.DayOf(TimeProvider.System.GetUtcNow()).AddDays(3):yyyy-MM-dd}";
        using var me = await AdminAsync();
        var request = await PrivilegedCity.AskAsync(me, "night", 5);
        await broker.ApproveAsync(request);
        Assert.Contains("行えるのは", (await PrivilegedCity.StartAsync(me, request)).Page, StringComparison.Ordinal);
        long exception;
        using (var manager = await OtherAsync("sysman"))
        {
            foreach (var (work, rule, until, told) in ((string, string, string, string)[])[("repair", "hours", day, "例外は要りません"), ("night", "hours", "2099-01-01", "90日以内"), ("night", "two-person", day, "例外は要りません")])
            {
                var (status, page, _) = await manager.PostAsync("/requests/new/privileged.exception", ("Reason", "夜間に直せない"), ("Given[work]", work), ("Given[rule]", rule), ("Given[measure]", "二人で行う"), ("Given[until]", until));
                Assert.True(status == HttpStatusCode.UnprocessableEntity && page.Contains(told, StringComparison.Ordinal), $"{told}: {status} {ConsoleBrowser.Notice(page)}");
            }
            exception = await manager.AskAsync("privileged.exception", "夜間に直せない", ("work", "night"), ("rule", "hours"), ("measure", "二人で行う"), ("until", day));
        }
        using (var boss = await OtherAsync("boss")) Assert.Equal(HttpStatusCode.Forbidden, (await boss.ApproveConfirmedAsync(exception)).Status);
        using (var ciso = await OtherAsync("ciso")) Assert.Contains("承認しました", (await ciso.ApproveConfirmedAsync(exception)).Page, StringComparison.Ordinal);
        Assert.NotNull((await PrivilegedCity.StartAsync(me, request)).Session);
        Assert.Equal(["例外措置"], await broker.SqlAsync($"select what from registers.entries where register = 'privileged' and subject = 'night/hours/{exception}'"));
        // Its day is over.
        await broker.SqlAsync($"update privileged.exceptions set until = now() where request = {exception}");
        var late = await PrivilegedCity.AskAsync(me, "night", 5);
        await broker.ApproveAsync(late);
        Assert.Contains("行えるのは", (await PrivilegedCity.StartAsync(me, late)).Page, StringComparison.Ordinal);
    }

    /// <summary>One approval, one session for each opening of the hours, until the agreed day and never beyond the fiscal year.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Recurring_work_is_approved_once_and_begun_once_for_each_opening()
    {
        using var me = await AdminAsync();
        var today = Web.JapaneseTime.DayOf(TimeProvider.System.GetUtcNow());
        foreach (var (work, until, told) in ((string, string, string)[])[("repair", $"{today:yyyy-MM-dd}", "work.repair.recurring"), ("monthly", $"{today.AddDays(370):yyyy-MM-dd}", "年度末"), ("monthly", $"{today.AddDays(-1):yyyy-MM-dd}", "年度末")])
        {
            var (status, page, _) = await me.PostAsync("/requests/new/privileged.session", ("Reason", "毎月の点検"), ("Given[plan]", "調べる"), ("Given[work]", work), ("Given[minutes]", "5"), ("Given[until]", until));
            Assert.True(status == HttpStatusCode.UnprocessableEntity && page.Contains(told, StringComparison.Ordinal), $"{told}: {status} {ConsoleBrowser.Notice(page)}");
        }
        var request = await PrivilegedCity.AskAsync(me, "monthly", 5, ("until", $"{today:yyyy-MM-dd}"));
        await broker.ApproveAsync(request);
        var (first, told1) = await PrivilegedCity.StartAsync(me, request);
        Assert.True(first is not null, ConsoleBrowser.Notice(told1));
        await me.PostAsync($"/privileged/{first}?handler=end");
        var again = await PrivilegedCity.StartAsync(me, request);
        Assert.True(again.Session is null && again.Page.Contains("もう始めました", StringComparison.Ordinal), ConsoleBrowser.Notice(again.Page));
        // The day after: as if today's had been yesterday's.
        await broker.SqlAsync($"update privileged.sessions set occurrence = occurrence - 2 where request = {request}");
        Assert.NotNull((await PrivilegedCity.StartAsync(me, request)).Session);
        // Whoever approved it takes it back: no more openings.
        await broker.SqlAsync($"update privileged.sessions set occurrence = occurrence - 4 where request = {request}");
        using (var boss = await OtherAsync("boss")) await boss.PostAsync($"/requests/{request}?act=refuse", ("Note", "もう要らない"));
        Assert.Equal(["refused"], await broker.SqlAsync($"select state from approvals.requests where id = {request}"));
        Assert.Null((await PrivilegedCity.StartAsync(me, request)).Session);
    }

    /// <summary>From the stored row alone, with openssl and the CA's certificate: who signed, and what.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public async Task An_approval_is_verified_with_stock_tools_and_covers_every_field()
    {
        using var me = await AdminAsync();
        var request = await PrivilegedCity.AskAsync(me, "repair", 7);
        await broker.ApproveAsync(request);
        var asked = (await broker.TerminalAsync("t-02")).Asked;
        var page = (await me.GetAsync($"/requests/{request}")).Page;
        var named = System.Text.RegularExpressions.Regex.Match(page, "<code>([0-9a-f]{64})</code>").Groups[1].Value;
        foreach (var shown in (string[])["特権作業の許可", "長さ(分): 7", "障害の調査", $"要約値: {named[..16]}"]) Assert.Contains(shown, asked, StringComparison.Ordinal);
        var row = (await broker.SqlAsync($"select document, encode(content, 'hex'), encode(signature, 'hex'), encode(certificate, 'hex') from (select document, signed as content, signature, certificate from approvals.signatures where request = {request}) s"))[0].Split('|');
        var directory = Directory.CreateDirectory(Path.Combine(broker.DataDirectory, "signature")).FullName;
        await File.WriteAllTextAsync($"{directory}/request.json", row[0]);
        await File.WriteAllBytesAsync($"{directory}/signed", Convert.FromHexString(row[1]));
        await File.WriteAllBytesAsync($"{directory}/signature", Convert.FromHexString(row[2]));
        using (var certificate = X509CertificateLoader.LoadCertificate(Convert.FromHexString(row[3]))) await File.WriteAllTextAsync($"{directory}/approver.pem", certificate.ExportCertificatePem());
        await Place.RunAsync("openssl", ["verify", "-CAfile", $"{Place.Directory}/ca/operator-card-ca.pem", $"{directory}/approver.pem"]);
        await Place.RunAsync("sh", ["-c", $"openssl x509 -in {directory}/approver.pem -pubkey -noout > {directory}/key.pem && openssl dgst -sha256 -verify {directory}/key.pem -signature {directory}/signature {directory}/signed"]);
        var hash = (await Place.RunAsync("sha256sum", [$"{directory}/request.json"])).Output.Split(' ')[0];
        Assert.Contains(hash, System.Text.Encoding.UTF8.GetString(Convert.FromHexString(row[1])), StringComparison.Ordinal);
        Assert.Equal(named, hash);
        // Any field that is not what was signed voids the approval.
        var original = (await broker.SqlAsync($"select fields::text, reason, requested_by from approvals.requests where id = {request}"))[0].Split('|');
        var fields = JsonSerializer.Deserialize<Dictionary<string, string>>(original[0])!;
        foreach (var change in fields.Keys.Except(["work"]).Select(k => $"fields = jsonb_set(fields, '{{{k}}}', '\"{(k == "minutes" ? "8" : k is "from" ? "2026-01-01" : "x")}\"')").Append("reason = 'べつの理由'"))
        {
            await broker.SqlAsync($"update approvals.requests set {change} where id = {request}");
            Assert.Null((await PrivilegedCity.StartAsync(me, request)).Session);
            await broker.SqlAsync($"update approvals.requests set fields = '{original[0]}', reason = '{original[1]}' where id = {request}");
        }
        Assert.StartsWith("refused privileged.", await broker.LastEventAsync("privileged.start"), StringComparison.Ordinal);
        Assert.NotNull((await PrivilegedCity.StartAsync(me, request)).Session);
    }

    /// <summary>Each of those who approve more time has signed the same length.</summary>
    [Fact, Trait("Requirement", "PRV-10")]
    public async Task An_extension_that_was_changed_between_two_approvals_moves_nothing()
    {
        using var me = await AdminAsync();
        var request = await PrivilegedCity.AskAsync(me, "two", 5, ("instructedBy", "p-8001"));
        await broker.ApproveAsync(request, "boss");
        await broker.ApproveAsync(request, "sysman", "approve-2");
        var session = (await PrivilegedCity.StartAsync(me, request)).Session!;
        var ends = await broker.SqlAsync($"select ends_at from privileged.sessions where id = '{session}'");
        var more = await me.AskAsync("privileged.extend", "終わらない", [("session", session), ("minutes", "2")]);
        await broker.ApproveAsync(more, "boss");
        await broker.SqlAsync($"update approvals.requests set fields = jsonb_set(fields, '{{minutes}}', '\"30\"') where id = {more}");
        using (var second = await OtherAsync("sysman")) Assert.Contains("承認の署名が、申請の内容と合いません", (await second.ApproveConfirmedAsync(more, "approve-2")).Page, StringComparison.Ordinal);
        Assert.Equal(ends, await broker.SqlAsync($"select ends_at from privileged.sessions where id = '{session}'"));
        await broker.SqlAsync($"update approvals.requests set fields = jsonb_set(fields, '{{minutes}}', '\"2\"') where id = {more}");
        await broker.ApproveAsync(more, "sysman", "approve-2");
        Assert.NotEqual(ends, await broker.SqlAsync($"select ends_at from privileged.sessions where id = '{session}'"));
    }

    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Three_clocks_and_the_eligibility_of_the_moment_are_judged_at_the_start()
    {
        using var me = await AdminAsync();
        var request = await PrivilegedCity.AskAsync(me, "repair", 5);
        await broker.SqlAsync($"update approvals.requests set requested_at = now() - interval '8 days' where id = {request}");
        using (var boss = await OtherAsync("boss")) Assert.Contains("7 日を過ぎました", (await boss.ApproveConfirmedAsync(request, "approve-1")).Page, StringComparison.Ordinal);
        await broker.SqlAsync($"update approvals.requests set requested_at = now() where id = {request}");
        await broker.ApproveAsync(request);
        await broker.SqlAsync($"update approvals.decisions set at = now() - interval '9 hours' where request = {request}");
        Assert.Contains("期限を過ぎました", (await PrivilegedCity.StartAsync(me, request)).Page, StringComparison.Ordinal);
        await broker.SqlAsync($"update approvals.decisions set at = now() where request = {request}");
        // The role is gone between approval and start.
        await broker.SqlAsync("update people.posts set role = 'system-staff' where person = 'p-9001' and role = 'administrator'");
        Assert.Contains("いまの役割では", (await PrivilegedCity.StartAsync(me, request)).Page, StringComparison.Ordinal);
        await broker.SqlAsync("update people.posts set role = 'administrator' where person = 'p-9001' and role = 'system-staff'");
        var started = await PrivilegedCity.StartAsync(me, request);
        Assert.NotNull(started.Session);
        // The grant lives as long as the work.
        Assert.Equal(["5"], await broker.SqlAsync($"select round(extract(epoch from valid_until - valid_from) / 60) from file_permissions.grants where subject = 'person:p-9001' and ended_at is null"));
        await _terminal.RemoveAsync();
        await broker.StateAsync(started.Session!, "ended");
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from file_permissions.grants where subject = 'person:p-9001' and ended_at is null"));
        Assert.Equal("ended privileged.session-over p-9001 t-01", await broker.LastEventAsync("privileged.end"));
    }
}
