using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.Tests.FileServer;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace AccessBroker.Tests.FilePermissions;

/// <summary>What becomes of rights: bulk updates hide, half-years review, reports tell, and a permission is tried before it is given.</summary>
public sealed class GrantLifeTests(GrantLifeTests.City broker) : IClassFixture<GrantLifeTests.City>, IAsyncLifetime
{
    public sealed class City : FilesCity
    {
        internal Dictionary<string, string> Programs { get; } = [];

        protected override async Task ArrangeAsync()
        {
            await base.ArrangeAsync();
            await using var owner = new Store(NpgsqlDataSource.Create(Environment()["Broker__DatabaseOwner"]));
            foreach (var (name, place) in ((string, string?)[])[("nightly", "/公開"), ("other", "/公開"), ("asker", null), ("gone", "/公開")]) Programs[name] = await Enforcers.MakeAsync(owner, name, place, TimeProvider.System, default);
            await Enforcers.RevokeAsync(owner, "gone", TimeProvider.System, default);
        }
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearFilesAsync();
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearFilesAsync());

    private async Task<(HttpStatusCode Status, JsonElement Body)> AskAsync(string program, string path, object body)
    {
        using var http = broker.Client();
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body) };
        if (program.Length > 0) request.Headers.Authorization = new("Bearer", broker.Programs[program]);
        using var response = await http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, text.Length == 0 ? default : JsonElement.Parse(text));
    }

    private Task<(HttpStatusCode Status, JsonElement Body)> BeginAsync(string program, string path = "/公開", int minutes = 5) => AskAsync(program, "/file-batches/v1/begin", new { path, purpose = "年次更新", minutes });

    private async Task<HttpStatusCode> ReadAsync(ConsoleBrowser me)
    {
        using var response = await broker.GetAsync(me, "/公開/お知らせ.txt");
        return response.StatusCode;
    }

    [Fact, Trait("Requirement", "FIL-07")]
    public async Task A_bulk_update_hides_its_place_until_it_commits()
    {
        using var me = await broker.VisitAsync(_terminal, "read write");
        foreach (var (program, path, minutes, status, code) in ((string, string, int, HttpStatusCode, string)[])
            [("", "/公開", 5, HttpStatusCode.Unauthorized, "files.unknown-enforcer"), ("gone", "/公開", 5, HttpStatusCode.Unauthorized, "files.unknown-enforcer"), ("asker", "/公開", 5, HttpStatusCode.Forbidden, "files.batch-elsewhere"), ("nightly", "/秘密", 5, HttpStatusCode.Forbidden, "files.batch-elsewhere"),
             ("nightly", "/公開/下", 5, HttpStatusCode.NotFound, "files.unknown-place"), ("nightly", "/公開/../秘密", 5, HttpStatusCode.BadRequest, "files.bad-request"), ("nightly", "/公開", 0, HttpStatusCode.BadRequest, "files.bad-request"), ("nightly", "/公開", 9999, HttpStatusCode.BadRequest, "files.bad-request")])
        {
            var refused = await BeginAsync(program, path, minutes);
            Assert.Equal((program, path, status, code), (program, path, refused.Status, refused.Body.GetProperty("code").GetString()));
        }
        var begun = await BeginAsync("nightly");
        Assert.Equal(HttpStatusCode.Created, begun.Status);
        // Answered means hidden: not a moment later.
        Assert.Equal(HttpStatusCode.Forbidden, await ReadAsync(me));
        Assert.Equal("refused files.in-batch p-1001 t-01", await broker.LastEventAsync("files.read"));
        using (var write = await broker.GetAsync(me, "/公開/新.txt", HttpMethod.Put, new StringContent("x"))) Assert.Equal(HttpStatusCode.Forbidden, write.StatusCode);
        Assert.Equal("files.batch-busy", (await BeginAsync("other")).Body.GetProperty("code").GetString());
        var token = begun.Body.GetProperty("batch").GetString()!;
        foreach (var (program, batch) in ((string, string)[])[("other", token), ("nightly", AccessBroker.Primitives.Secret.New()), ("nightly", "x")]) Assert.InRange((int)(await AskAsync(program, "/file-batches/v1/commit", new { batch })).Status, 400, 404);
        Assert.Equal(HttpStatusCode.Forbidden, await ReadAsync(me));
        Assert.Equal(HttpStatusCode.NoContent, (await AskAsync("nightly", "/file-batches/v1/commit", new { batch = token })).Status);
        await Eventually.TrueAsync(async () => await ReadAsync(me) == HttpStatusCode.OK, "the place is there again");
        Assert.Equal(HttpStatusCode.NotFound, (await AskAsync("nightly", "/file-batches/v1/commit", new { batch = token })).Status);
    }

    [Fact, Trait("Requirement", "FIL-07")]
    public async Task A_program_that_died_leaves_its_place_hidden_and_somebody_is_told()
    {
        using (var me = await broker.VisitAsync(_terminal)) Assert.Equal(HttpStatusCode.Created, (await BeginAsync("nightly")).Status);
        await broker.SqlAsync("update file_permissions.batches set begun_at = now() - interval '1 hour', due_at = now() - interval '1 minute' where ended_at is null");
        await Eventually.TrueAsync(async () => await broker.SqlAsync("select count(*) > 0 from notices.notices where subject = '一括処理が終わっていません' and person = 'p-8001'") is ["True"], "the chief is told", 25);
        Assert.Equal(["1"], await broker.SqlAsync("select count(*) from history.events where operation = 'files.alert-batch' and details->>'path' = '/公開' and at > now() - interval '1 minute'"));
        using (var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss"))
        {
            Assert.Contains("終わっていない一括処理", (await chief.GetAsync("/")).Page, StringComparison.Ordinal);
            Assert.Contains("予定を過ぎています", (await chief.GetAsync("/files/batches")).Page, StringComparison.Ordinal);
            var id = (await broker.SqlAsync("select id from file_permissions.batches where ended_at is null"))[0];
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await chief.PostAsync($"/files/batches?batch={id}", ("Reason", "x"))).Status);
            Assert.Equal(["1"], await broker.SqlAsync("select count(*) from file_permissions.sets where batch_since is not null"));
            Assert.Contains("解除しました", (await chief.PostAsync($"/files/batches?batch={id}", ("Reason", "件数を確かめた"))).Page, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.Conflict, (await chief.PostAsync($"/files/batches?batch={id}", ("Reason", "件数を確かめた"))).Status);
        }
        Assert.Equal(["released|p-8001|件数を確かめた"], await broker.SqlAsync("select outcome, ended_by, note from file_permissions.batches order by id desc limit 1"));
        using var again = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await again.PostAsync("/files/batches?batch=1", ("Reason", "だめ"))).Status);
        await Eventually.TrueAsync(async () => { using var entered = await broker.EnterAsync(again, "/公開/お知らせ.txt"); return entered.StatusCode == HttpStatusCode.OK; }, "the place is there again");
    }

    [Fact, Trait("Requirement", "FIL-11")]
    public async Task Grants_are_reviewed_each_half_year_and_unused_ones_are_found()
    {
        foreach (var person in (string[])["p-1001", "p-1002", "p-8001"]) await broker.GrantAsync("/公開", $"person:{person}", "read");
        await broker.SqlAsync("update file_permissions.grants set valid_from = now() - interval '184 days', valid_until = now() + interval '100 days'");
        await broker.SqlAsync("insert into file_permissions.uses select id, 'p-1002', 'read', now() from file_permissions.grants where subject = 'person:p-1002'");
        await broker.GrantAsync("/公開", "section:市民課", "read");
        await using (var services = CityServices.Of(broker, new TestClock()))
        {
            var clock = services.GetRequiredService<FileClock>();
            for (var i = 0; i < 2; i++) await clock.TellReviewsAsync(default);
        }
        // Told once.
        Assert.Equal(["1"], await broker.SqlAsync("select count(*) from notices.notices where subject like 'ファイルの利用権限の見直し%' and person = 'p-8001'"));
        async Task<string> IdAsync(string subject) => (await broker.SqlAsync($"select id from file_permissions.grants where subject = '{subject}'"))[0];
        var (first, second, own) = (await IdAsync("person:p-1001"), await IdAsync("person:p-1002"), await IdAsync("person:p-8001"));
        using (var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss"))
        {
            Assert.Contains("ファイルの利用権限の見直し", (await chief.GetAsync("/")).Page, StringComparison.Ordinal);
            var page = (await chief.GetAsync("/files/review")).Page;
            Assert.Contains($"value=\"{first}\"", page, StringComparison.Ordinal);
            Assert.DoesNotContain($"value=\"{own}\"", page, StringComparison.Ordinal);
            Assert.DoesNotContain("課の全員", page, StringComparison.Ordinal);
            var unused = (await chief.GetAsync("/files/review?show=unused")).Page;
            Assert.Contains($"value=\"{first}\"", unused, StringComparison.Ordinal);
            Assert.DoesNotContain($"value=\"{second}\"", unused, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await chief.PostAsync("/files/review", ("act", "keep"), ("Reason", "要る"))).Status);
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await chief.PostAsync("/files/review", ("act", "keep"), ("Grants", second), ("Reason", ""))).Status);
            Assert.Contains("継続を記録", (await chief.PostAsync("/files/review", ("act", "keep"), ("Grants", second), ("Grants", own), ("Reason", "まだ要る"))).Page, StringComparison.Ordinal);
            Assert.Contains("終了しました", (await chief.PostAsync("/files/review", ("act", "end"), ("Grants", first), ("Reason", "使われていない"))).Page, StringComparison.Ordinal);
            Assert.Contains("ありません", (await chief.GetAsync("/files/review")).Page, StringComparison.Ordinal);
        }
        Assert.Equal([$"{first}||True", $"{second}|p-8001|False", $"{own}||False"], await broker.SqlAsync($"select id, coalesce(reviewed_by, ''), ended_at is not null from file_permissions.grants where id in ({first}, {second}, {own}) order by id"));
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await me.PostAsync("/files/review", ("act", "end"), ("Grants", second), ("Reason", "だめだめ"))).Status);
    }

    [Fact, Trait("Requirement", "FIL-12")]
    public async Task The_report_lists_every_reader_as_the_history_has_them()
    {
        using (var me = await broker.VisitAsync(_terminal))
        {
            for (var i = 0; i < 3; i++) Assert.Equal(HttpStatusCode.OK, await ReadAsync(me));
            using var refused = await broker.GetAsync(me, "/公開/お知らせ.txt?export");
        }
        await broker.SqlAsync("insert into history.events (at, operation, outcome, reason, person, details, count, origin, body, leaf) values (now(), 'files.read', 'done', '', 'p-1002', '{\"path\": \"/公開/下/a.txt\"}', 1, 'live', 'x', sha256('x')), (now(), 'files.read', 'done', '', 'p-1002', '{\"path\": \"/公開しない/a.txt\"}', 1, 'live', 'x', sha256('x')), (now() - interval '400 days', 'files.read', 'done', '', 'p-7001', '{\"path\": \"/公開/下/a.txt\"}', 1, 'live', 'x', sha256('x'))");
        using var auditor = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        var page = (await auditor.GetAsync("/files/report?path=" + Uri.EscapeDataString("/公開"))).Page;
        var counted = await broker.SqlAsync("select sum(count) from history.events where operation = 'files.read' and outcome = 'done' and person = 'p-1001' and details->>'path' like '/公開/%'");
        Assert.Matches($"試験 一子</td><td>閲覧</td><td>実施</td><td>{counted[0]}</td>", page);
        Assert.Contains("試験 一子</td><td>持出し</td><td>拒否</td><td>", page, StringComparison.Ordinal);
        Assert.Contains("/公開/下/a.txt", page, StringComparison.Ordinal);
        Assert.DoesNotContain("公開しない", page, StringComparison.Ordinal);
        Assert.DoesNotContain((await broker.SqlAsync("select people.name_at('p-7001', now())"))[0] + "</td><td>閲覧", page, StringComparison.Ordinal);
        Assert.StartsWith("done", await broker.LastEventAsync("files.read-report"), StringComparison.Ordinal);
        Assert.Contains("p-1001", (await auditor.GetAsync("/files/report?format=csv&path=" + Uri.EscapeDataString("/公開"))).Page, StringComparison.Ordinal);
        Assert.Contains("期間を確かめてください", (await auditor.GetAsync("/files/report?from=2026-02-01&until=2026-01-01&path=/")).Page, StringComparison.Ordinal);
        using var me2 = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.Equal(HttpStatusCode.Forbidden, (await me2.GetAsync("/files/report?path=/")).Status);
    }

    [Fact, Trait("Requirement", "FIL-01"), Trait("Requirement", "DAT-04")]
    public async Task A_refusal_closes_every_door_and_a_single_file_may_be_asked_for()
    {
        await broker.GrantAsync("/公開", "section:市民課", "read write print export delete");
        long request;
        using (var admin = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin")) request = await admin.AskAsync("files.grant", "調査のあいだ", ("path", "/公開/お知らせ.txt"), ("to", "person"), ("person", "p-1001"), ("actions", "read"), ("effect", "deny"), ("upTo", "3"), ("until", $"{TimeProvider.System.GetUtcNow().AddDays(30):yyyy-MM-dd}"));
        using (var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss")) Assert.Equal(HttpStatusCode.OK, (await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"))).Status);
        Assert.Equal(["read write print export delete"], await broker.SqlAsync($"select array_to_string(actions, ' ') from file_permissions.grants where request = {request}"));
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from notices.notices where person = 'p-1001' and subject = 'ファイルの利用が拒否されました' and created_at > now() - interval '1 minute'"));
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        await Eventually.TrueAsync(async () => { using var entered = await broker.EnterAsync(me, "/公開/下/a.txt"); return entered.StatusCode == HttpStatusCode.OK; }, "what is beside it is served");
        foreach (var (method, query) in ((HttpMethod, string)[])[(HttpMethod.Get, ""), (HttpMethod.Get, "?print"), (HttpMethod.Get, "?export"), (HttpMethod.Put, ""), (HttpMethod.Delete, "")])
        {
            using var refused = await broker.GetAsync(me, "/公開/お知らせ.txt" + query, method, method == HttpMethod.Put ? new StringContent("x") : null);
            Assert.Equal((query, HttpStatusCode.Forbidden), (query, refused.StatusCode));
        }
        // A refusal of reading alone, from a program or an older grant, closes printing and taking out as well.
        await broker.SqlAsync($"update file_permissions.grants set actions = array['read'] where request = {request}");
        await Task.Delay(600);
        using var export = await broker.GetAsync(me, "/公開/お知らせ.txt?export");
        Assert.Equal(HttpStatusCode.Forbidden, export.StatusCode);
    }

    [Fact]
    public async Task A_permission_is_tried_before_it_is_given()
    {
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, section, confidentiality, created_at, created_by) values ('/試し', 'x', '市民課', 2, now(), 'test'), ('/試し/人事', 'x', null, 3, now(), 'test') on conflict do nothing; update file_permissions.sets set named_only = true where resource = '/試し/人事'");
        await broker.GrantAsync("/試し", "person:p-1001", "read");
        using var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        async Task<string> TryAsync(string query) => (await chief.GetAsync("/files/effect?Path=" + Uri.EscapeDataString("/試し") + "&" + query)).Page;
        var section = await TryAsync($"To=section&Section={Uri.EscapeDataString("市民課")}&Actions=read%20write&Effect=allow&UpTo=2");
        // Who reads already gains writing only; what named people see stays theirs.
        Assert.Contains("試験 一子</td><td>/試し</td><td>更新</td><td></td>", section, StringComparison.Ordinal);
        Assert.Contains("<td>/試し</td><td>閲覧・更新</td><td></td>", section, StringComparison.Ordinal);
        Assert.DoesNotContain("/試し/人事", section, StringComparison.Ordinal);
        Assert.Contains("だれの利用も変わりません", await TryAsync($"To=section&Section={Uri.EscapeDataString("市民課")}&Actions=read&Effect=allow&UpTo=1"), StringComparison.Ordinal);
        Assert.Contains("<td></td><td>閲覧</td>", await TryAsync("To=person&Person=p-1001&Actions=read&Effect=deny&UpTo=3"), StringComparison.Ordinal);
        Assert.Contains("一人に決まりません", await TryAsync("To=person&Person=&Actions=read&Effect=allow&UpTo=3"), StringComparison.Ordinal);
        Assert.Contains("選んでください", await TryAsync("To=all&Actions=read&Effect=allow&UpTo=3"), StringComparison.Ordinal);
        // Trying changes nothing.
        Assert.Equal(["1"], await broker.SqlAsync("select count(*) from file_permissions.grants"));
    }

    /// <summary>Ending a refusal opens: nobody does it alone, least of all for themselves.</summary>
    [Fact, Trait("Requirement", "FIL-11")]
    public async Task A_refusal_ends_only_by_an_approved_request()
    {
        await broker.GrantAsync("/公開", "person:p-1001", "read");
        await broker.GrantAsync("/公開", "section:市民課", "read", deny: true);
        var denial = (await broker.SqlAsync("select id from file_permissions.grants where deny"))[0];
        long request;
        using (var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager"))
        {
            Assert.Contains("すでに終わっています", (await manager.PostAsync($"/files?grant={denial}&path=" + Uri.EscapeDataString("/公開"), ("Reason", "終えたい"))).Page, StringComparison.Ordinal);
            await manager.PostAsync("/files/review", ("act", "end"), ("Grants", denial), ("Reason", "終えたい"));
            Assert.Equal([""], await broker.SqlAsync($"select coalesce(ended_by, '') from file_permissions.grants where id = {denial}"));
            Assert.Contains($"/requests/new/files.lift?grant={denial}", (await manager.GetAsync("/files?path=" + Uri.EscapeDataString("/公開"))).Page, StringComparison.Ordinal);
            request = await manager.AskAsync("files.lift", "もう要らない", ("grant", denial));
        }
        using (var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss")) await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"));
        Assert.Equal(["p-8001"], await broker.SqlAsync($"select ended_by from file_permissions.grants where id = {denial}"));
        Assert.StartsWith("done", await broker.LastEventAsync("files.lift-denial"), StringComparison.Ordinal);
    }

    /// <summary>What was in force on a day that is over, though it has ended, and though the place has another class since.</summary>
    [Fact, Trait("Requirement", "FIL-01")]
    public async Task Yesterday_is_judged_by_what_was_in_force_yesterday()
    {
        await broker.SqlAsync("""
            insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by, since) values ('/昨日', 'x', 1, now() - interval '9 days', 'test', now() - interval '9 days') on conflict do nothing;
            insert into file_permissions.grants (resource, subject, actions, up_to, valid_from, valid_until, ended_at, ended_by, reason, requested_by, approved_by) values ('/昨日', 'person:p-1001', array['read'], 1, now() - interval '3 days', now() + interval '9 days', now() - interval '1 hour', 'test', 'x', 'x', 'x'), ('/昨日', 'person:p-1002', array['read'], 1, now() - interval '3 days', now() + interval '9 days', null, null, 'x', 'x', 'x');
            update file_permissions.sets set confidentiality = 3 where resource = '/昨日'
            """);
        async Task<List<string>> MayAsync(string at) => await broker.SqlAsync($"select (file_permissions.decide('p-1001', '/昨日/a', 'read', {at})).allowed, (file_permissions.decide('p-1002', '/昨日/a', 'read', {at})).allowed");
        Assert.Equal(["False|False"], await MayAsync("now()"));
        await broker.SqlAsync("update people.persons set valid_from = now() - interval '30 days'; update people.posts set valid_from = now() - interval '30 days'");
        Assert.Equal(["True|True"], await MayAsync("now() - interval '1 day'"));
        Assert.Equal(["False|False"], await MayAsync("now() - interval '5 days'"));
        using var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        // A day is judged by its last second, and the right ended an hour ago: just after midnight that is not yet after yesterday.
        var before = DateTimeOffset.UtcNow.AddHours(9).AddDays(-2).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        var page = (await chief.GetAsync($"/files?on={before}&path=" + Uri.EscapeDataString("/昨日/a"))).Page;
        Assert.Contains("試験 一子", page, StringComparison.Ordinal);
        Assert.Contains("使える人・場所はありません", (await chief.GetAsync("/files?path=" + Uri.EscapeDataString("/昨日/a"))).Page, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "FIL-06"), Trait("Requirement", "FIL-11")]
    public async Task Correcting_a_title_opens_nothing_and_nobody_approves_their_own()
    {
        await broker.SqlAsync("insert into file_permissions.sets (resource, title, section, named_only, confidentiality, integrity, created_at, created_by) values ('/格付', 'まえ', '市民課', true, 3, 2, now(), 'test') on conflict do nothing");
        long title, own;
        var until = DateTime.UtcNow.AddDays(30).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        using (var administrator = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin"))
        {
            Assert.Contains("だれもいません", (await administrator.PostAsync("/requests/new/files.classify", ("Reason", "誤字"), ("Given[path]", "/格付"), ("Given[title]", "あと"), ("Given[owner]", "存在しない課"))).Page, StringComparison.Ordinal);
            title = await administrator.AskAsync("files.classify", "誤字", ("path", "/格付"), ("title", "あと"));
            own = await administrator.AskAsync("files.grant", "部長も見る", ("path", "/格付"), ("to", "section"), ("section", (await broker.SqlAsync("select section from people.posts where person = 'p-8001' limit 1"))[0]), ("actions", "read"), ("effect", "allow"), ("upTo", "3"), ("until", until));
        }
        using (var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager"))
        {
            Assert.Contains("いまは、機密性 3", (await manager.GetAsync($"/requests/{title}")).Page, StringComparison.Ordinal);
            await manager.PostAsync($"/requests/{title}?act=approve", ("Step", "approve-it"));
        }
        Assert.Equal(["あと|市民課|True|3|2"], await broker.SqlAsync("select title, section, named_only, confidentiality, integrity from file_permissions.sets where resource = '/格付'"));
        using var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        Assert.Contains("ほかの人が承認します", (await chief.PostAsync($"/requests/{own}?act=approve", ("Step", "approve-it"))).Page, StringComparison.Ordinal);
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from file_permissions.grants"));
    }

    [Fact, Trait("Requirement", "FIL-07")]
    public async Task A_program_whose_answer_was_lost_asks_again_and_one_that_lives_says_so()
    {
        await broker.GrantAsync("/公開", "person:p-1001", "read");
        var batch = AccessBroker.Primitives.Secret.New();
        object Begin(string token) => new { path = "/公開", purpose = "年次更新", minutes = 5, batch = token };
        for (var i = 0; i < 2; i++) Assert.Equal(HttpStatusCode.Created, (await AskAsync("nightly", "/file-batches/v1/begin", Begin(batch))).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync("nightly", "/file-batches/v1/begin", Begin(AccessBroker.Primitives.Secret.New()))).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync("other", "/file-batches/v1/begin", Begin(batch))).Status);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync("nightly", "/file-batches/v1/extend", new { batch, minutes = 60 })).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await AskAsync("other", "/file-batches/v1/extend", new { batch, minutes = 60 })).Status);
        Assert.Equal(["True|1"], await broker.SqlAsync("select due_at > now() + interval '50 minutes', count(*) over () from file_permissions.batches where ended_at is null"));
        Assert.Equal(HttpStatusCode.NoContent, (await AskAsync("nightly", "/file-batches/v1/commit", new { batch })).Status);
    }
}
