using System.Net;
using AccessBroker.Policies;
using AccessBroker.PolicyChanges;
using AccessBroker.SignIn;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.PolicyChanges;

/// <summary>Policies change by two people, at all nodes, as a whole; files that somebody touches change nothing and are noticed.</summary>
public sealed class PolicyChangeTests(PolicyChangeTests.TwoNodes broker) : IClassFixture<PolicyChangeTests.TwoNodes>, IAsyncLifetime
{
    public sealed class TwoNodes : BrokerHost
    {
        protected override int NodeCount => 2;
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private Task<ConsoleBrowser> AsAsync(string card) => ConsoleBrowser.SignInAsync(broker, _terminal, card);

    private async Task<string> TextAsync(string name) => (await broker.SqlAsync($"select texts->>'{name}' from policy_changes.versions where approved_at is not null order by id desc limit 1"))[0];

    /// <summary>A proposal and the request for it; the request's number.</summary>
    private async Task<(long Version, long Request)> ProposeAsync(string name, string from, string to, params (string, string)[] more)
    {
        using var administrator = await AsAsync("admin");
        var text = await TextAsync(name);
        Assert.Contains(from, text, StringComparison.Ordinal);
        var (_, page, where) = await administrator.PostAsync($"/policies/propose/{name}", ("Text", text.Replace(from, to, StringComparison.Ordinal)), ("Reason", "試験のため"));
        Assert.True(where is not null, ConsoleBrowser.Notice(page));
        var version = long.Parse(where!["/policies/".Length..], System.Globalization.CultureInfo.InvariantCulture);
        Assert.Contains(to, (await administrator.GetAsync(where)).Page, StringComparison.Ordinal);
        return (version, await administrator.AskAsync("policies.activate", "試験のため", [("version", $"{version}"), .. more]));
    }

    private async Task<string> BannerAsync(int node)
    {
        using var client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, CookieContainer = new(), SslOptions = { RemoteCertificateValidationCallback = (_, _, _, _) => true } }) { BaseAddress = broker.NodeUrl(node) };
        using var opened = await client.GetAsync(new Uri("/sign-in", UriKind.Relative));
        return WebUtility.HtmlDecode(await client.GetStringAsync(opened.Headers.Location!));
    }

    [Fact, Trait("Requirement", "PWD-08")]
    public async Task One_proposes_another_approves_and_all_nodes_switch_within_a_second()
    {
        var banner = $"この端末は業務専用です。第{Environment.TickCount64}版";
        var before = (await TextAsync("sign-in")).Split('\n').Single(l => l.StartsWith("banner:", StringComparison.Ordinal)).Split('#')[0]["banner: ".Length..].Trim();
        var (version, request) = await ProposeAsync("sign-in", before, banner);
        Assert.DoesNotContain(banner, await BannerAsync(0), StringComparison.Ordinal);
        // Who asked does not approve; whoever may, does.
        using (var administrator = await AsAsync("admin")) Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"))).Status);
        using (var chief = await AsAsync("boss"))
        {
            Assert.Contains("方針の版の画面", (await chief.GetAsync($"/requests/{request}")).Page, StringComparison.Ordinal);
            Assert.Contains("承認しました", (await chief.ApproveConfirmedAsync(request)).Page, StringComparison.Ordinal);
            var began = System.Diagnostics.Stopwatch.GetTimestamp();
            for (var node = 0; node < 2; node++) await Eventually.TrueAsync(async () => (await BannerAsync(node)).Contains(banner, StringComparison.Ordinal), $"node {node} switched");
            Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(5));
        }
        // What lived by the former version ended, once for both nodes, and the change is on record.
        Assert.Contains("sessions.policy-changed", await broker.SqlAsync("select end_reason from sessions.sessions order by ended_at desc limit 1"));
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from history.events where operation = 'policies.changed' and details->>'version' = '{version}'"));
        Assert.Equal(["p-8001"], await broker.SqlAsync($"select approved_by from policy_changes.versions where id = {version}"));
        // Versions do not change afterwards, not even for the server's own role.
        await Assert.ThrowsAsync<Npgsql.PostgresException>(() => broker.SqlAsync($"update policy_changes.versions set texts = '{{}}' where id = {version}", asServer: true));
        await Assert.ThrowsAsync<Npgsql.PostgresException>(() => broker.SqlAsync($"delete from policy_changes.versions where id = {version}", asServer: true));
    }

    [Theory, Trait("Requirement", "LCK-03"), Trait("Requirement", "PRV-05"), Trait("Requirement", "IDN-20"), Trait("Requirement", "PWD-08")]
    [InlineData("lockout", "operator-at-terminal: { failures: 2, window: 30m }", "operator-at-terminal: { failures: 9, window: 30m }", "LCK-03"), InlineData("assurance", "methods: [card]\n", "methods: [card, password]\n", "IDN-20"), InlineData("sessions", "lease: 5s", "lease: forever", "no duration"), InlineData("assurance", "clients: {}", "clients:", "assurance.yaml"), InlineData("assurance", "methods: [card, passkey]\n  max-age", "methods: [passkey]\n  max-age", "must hold card"), InlineData("privileged", "/usr/bin/systemctl status juki", "/usr/bin/systemctl restart juki", "MIC 6.1(4)③")]
    public async Task A_weakened_or_broken_proposal_is_refused_with_the_requirement(string name, string from, string to, string said)
    {
        using var administrator = await AsAsync("admin");
        var text = System.Text.RegularExpressions.Regex.Replace(await TextAsync(name), " +#[^\n]*", "");
        Assert.Contains(from, text, StringComparison.Ordinal);
        var (status, page, to_) = await administrator.PostAsync($"/policies/propose/{name}", ("Text", text.Replace(from, to, StringComparison.Ordinal)), ("Reason", "試験のため"));
        Assert.Equal((HttpStatusCode.UnprocessableEntity, null), (status, to_));
        Assert.Contains(said, page, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "CRD-03")]
    public async Task Two_proposals_of_one_version_approved_at_once_one_wins_and_the_other_is_told()
    {
        var (first, a) = await ProposeAsync("sessions", "id-token: 5m", "id-token: 4m");
        var (second, b) = await ProposeAsync("sessions", "id-token: 5m", "id-token: 3m");
        using var chief = await AsAsync("boss");
        var proofs = new List<string>();
        foreach (var request in (long[])[a, b]) proofs.Add(await chief.ConfirmAsync((await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"))).To));
        var pages = await Task.WhenAll(chief.PostAsync($"/requests/{a}?act=approve", ("Step", "approve-it"), ("Confirmed", proofs[0])), chief.PostAsync($"/requests/{b}?act=approve", ("Step", "approve-it"), ("Confirmed", proofs[1])));
        Assert.Single(await broker.SqlAsync($"select id from policy_changes.versions where id in ({first}, {second}) and approved_at is not null"));
        // Told so; or, when the winner's switch has ended the session already, sent to sign in.
        Assert.Single(pages, p => p.Page.Contains("承認しました", StringComparison.Ordinal));
        Assert.Single(pages, p => p.Page.Contains("別の変更が承認されました", StringComparison.Ordinal) || p.Status is HttpStatusCode.Unauthorized);
    }

    /// <summary>The proof is bound to exactly what was shown, to whom it was shown, for five minutes, once.</summary>
    [Fact, Trait("Requirement", "IDN-04")]
    public async Task An_approval_is_confirmed_with_card_and_pin_for_exactly_this_and_the_record_proves_it()
    {
        var (_, request) = await ProposeAsync("sign-in", "handle-lifetime: 30s", "handle-lifetime: 31s");
        var (_, other) = await ProposeAsync("sign-in", "handle-lifetime: 30s", "handle-lifetime: 32s");
        using var chief = await AsAsync("boss");
        async Task<bool> AsksAgainAsync(long which, string proof) => (await chief.PostAsync($"/requests/{which}?act=approve", ("Step", "approve-it"), ("Confirmed", proof))).To?.StartsWith("/sign-in/", StringComparison.Ordinal) == true;
        var (_, _, to) = await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"));
        Assert.Contains($"申請 {request} の承認", (await chief.GetAsync(to!)).Page, StringComparison.Ordinal);
        var proof = await chief.ConfirmAsync(to);
        // The prompt named what would be done.
        Assert.Contains($"申請 {request} の承認", _terminal.Asked, StringComparison.Ordinal);
        Assert.True(await AsksAgainAsync(other, proof));
        Assert.True(await AsksAgainAsync(request, "a-proof-that-nobody-ever-gave-01"));
        await broker.SqlAsync($"update sign_in.transactions set changed_at = now() - interval '6 minutes' where id = '{proof}'");
        Assert.True(await AsksAgainAsync(request, proof));
        await broker.SqlAsync($"update sign_in.transactions set changed_at = now(), person = 'p-9001' where id = '{proof}'");
        Assert.True(await AsksAgainAsync(request, proof));
        await broker.SqlAsync($"update sign_in.transactions set person = 'p-8001' where id = '{proof}'");
        Assert.Contains("承認しました", (await chief.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"), ("Confirmed", proof))).Page, StringComparison.Ordinal);
        Assert.Equal(["True"], await broker.SqlAsync($"select confirmed_at is not null from sign_in.transactions where id = '{proof}'"));
        var hash = (await broker.SqlAsync($"select details->>'confirmed' from history.events where operation = 'policies.approve-activate' and details->>'request' = '{request}' order by id desc limit 1"))[0];
        Assert.Equal(["p-8001"], await broker.SqlAsync($"select person from history.events where operation = 'sign-in.proof' and details->>'operation' = '{hash}'"));
    }

    [Fact]
    public async Task A_version_for_a_later_day_waits_for_it()
    {
        var day = DateTimeOffset.UtcNow.AddDays(20).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        var inForce = await broker.SqlAsync("select version from policy_changes.in_force");
        var (version, request) = await ProposeAsync("terminals", "configuration-drift: alert", "configuration-drift: block", ("from", day));
        using (var chief = await AsAsync("boss"))
        {
            Assert.Contains("承認しました", (await chief.ApproveConfirmedAsync(request)).Page, StringComparison.Ordinal);
            Assert.Contains("承認済み(発効待ち)", (await chief.GetAsync($"/policies/{version}")).Page, StringComparison.Ordinal);
        }
        await Task.Delay(TimeSpan.FromSeconds(1.5));
        Assert.Equal(inForce, await broker.SqlAsync("select version from policy_changes.in_force"));
        // While it waits nothing passes it: neither does it undo what comes later. Withdrawn, it never comes.
        using var administrator = await AsAsync("admin");
        var text = await TextAsync("terminals");
        var (_, _, where) = await administrator.PostAsync("/policies/propose/terminals", ("Text", text + "\n# later"), ("Reason", "試験のため"));
        Assert.Contains($"版 {version} があります", (await administrator.PostAsync("/requests/new/policies.activate", ("Reason", "試験のため"), ("Given[version]", where!["/policies/".Length..]))).Page, StringComparison.Ordinal);
        Assert.Contains("取りやめました", (await administrator.PostAsync($"/policies/{version}")).Page, StringComparison.Ordinal);
        Assert.Contains("発効を待っていません", (await administrator.PostAsync($"/policies/{version}")).Page, StringComparison.Ordinal);
        await Assert.ThrowsAsync<Npgsql.PostgresException>(() => broker.SqlAsync($"update policy_changes.versions set cancelled_at = now() where id = {inForce[0]}", asServer: true));
        await Assert.ThrowsAsync<Npgsql.PostgresException>(() => broker.SqlAsync("insert into policy_changes.versions (hash, texts, proposed_by, proposed_at, reason, approved_by, approved_at, effective_from) values ('x', '{}', 'p-1', now(), 'x', 'p-2', now(), now())", asServer: true));
    }

    /// <summary>The switch of the database and the end of sessions are one: what fails is tried again until it is done.</summary>
    [Fact]
    public async Task A_switch_that_fails_half_way_is_done_at_the_next_turn()
    {
        var (version, request) = await ProposeAsync("sessions", "authorization-code: 60s", "authorization-code: 59s");
        await broker.SqlAsync("create function policy_changes.fail() returns trigger language plpgsql as 'begin raise exception ''test''; end'; create trigger fail before update on policy_changes.in_force for each row execute function policy_changes.fail()");
        try
        {
            using var chief = await AsAsync("boss");
            await chief.ApproveConfirmedAsync(request);
            await Task.Delay(TimeSpan.FromSeconds(1.2));
            Assert.NotEqual([$"{version}"], await broker.SqlAsync("select version from policy_changes.in_force"));
            Assert.NotEmpty(await broker.SqlAsync("select 1 from sessions.sessions where ended_at is null"));
        }
        finally { await broker.SqlAsync("drop trigger fail on policy_changes.in_force; drop function policy_changes.fail()"); }
        await Eventually.TrueAsync(async () => (await broker.SqlAsync("select version from policy_changes.in_force"))[0] == $"{version}", "in force");
        Assert.Empty(await broker.SqlAsync("select 1 from sessions.sessions where ended_at is null"));
    }

    [Fact, Trait("Requirement", "CRD-03")]
    public async Task Nobody_activates_alone_not_even_with_a_reason()
    {
        var (_, request) = await ProposeAsync("sign-in", "code-lifetime: 60s", "code-lifetime: 59s");
        await broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from) values ('p-9001', '代行', '', 'security-chief', now() - interval '1 minute')");
        try
        {
            using var administrator = await AsAsync("admin");
            var (status, page, to) = await administrator.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"), ("Unavoidable", "ほかに承認できる人がいないため、やむを得ない"));
            Assert.Null(to);
            Assert.Equal(HttpStatusCode.Forbidden, status);
            Assert.DoesNotContain("やむを得ない場合として進める", page, StringComparison.Ordinal);
        }
        finally { await broker.SqlAsync("delete from people.posts where person = 'p-9001' and role = 'security-chief'"); }
    }

    [Theory]
    [InlineData("roles", "policies.approve-activate", "policies.read", "元に戻せません"), InlineData("lockout", "administrator, pin-manager", "administratr, pin-manager", "PWD-08")]
    public async Task A_version_that_could_not_be_changed_back_or_names_no_role_is_not_activated(string name, string from, string to, string said)
    {
        using var administrator = await AsAsync("admin");
        var text = await TextAsync(name);
        Assert.Contains(from, text, StringComparison.Ordinal);
        var (_, page, where) = await administrator.PostAsync($"/policies/propose/{name}", ("Text", text.Replace(from, to, StringComparison.Ordinal)), ("Reason", "試験のため"));
        Assert.True(where is not null, ConsoleBrowser.Notice(page));
        Assert.Contains(said, (await administrator.PostAsync("/requests/new/policies.activate", ("Reason", "試験のため"), ("Given[version]", where!["/policies/".Length..]))).Page, StringComparison.Ordinal);
    }

    [Fact]
    public void The_commands_know_every_file_that_the_server_knows() =>
        Assert.Equal(Directory.GetFiles(Path.Combine(Place.Root, "policies"), "*.yaml").Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal), PolicyChangesSlice.AllFiles("x").Select(f => f.Name).Order(StringComparer.Ordinal));

    [Fact, Trait("Requirement", "LOG-01")]
    public async Task A_file_that_somebody_changes_on_the_disk_changes_nothing_and_is_noticed()
    {
        var file = Path.Combine(broker.PolicyDirectory, "sign-in.yaml");
        var text = await File.ReadAllTextAsync(file);
        await File.WriteAllTextAsync(file, text.Replace("attempts-per-minute: ", "attempts-per-minute: 1", StringComparison.Ordinal) + "\n# touched");
        try
        {
            await Eventually.FindAsync(async () => (await broker.SqlAsync("select details->>'node' from history.events where reason = 'policies.file-differs'")) is { Count: > 0 } found ? found : null, "noticed", 15);
        }
        finally { await File.WriteAllTextAsync(file, text); }
    }

    /// <summary>Whom a change concerns: relying parties whose factors change, people whose roles change, everybody otherwise.</summary>
    [Theory]
    [InlineData("assurance", "clients: {}", "clients: { koseki: card }", "koseki", false, "")]
    [InlineData("assurance", "max-age: 5m", "max-age: 4m", "koseki other", true, "")]
    [InlineData("roles", "hr: [people.read, ", "hr: [", "", false, "hr")]
    [InlineData("sessions", "idle: 30m", "idle: 20m", "", true, "")]
    [InlineData("roles", "# Which role may do", "# What role may do", "", false, "")]
    public void The_preview_says_whom_a_change_concerns(string name, string from, string to, string clients, bool everybody, string roles)
    {
        var files = PolicyChangesSlice.AllFiles("x");
        var before = PolicySet.ReadDirectory(Path.Combine(Place.Root, "policies"), "my-number");
        Assert.Contains(from, before[name], StringComparison.Ordinal);
        var after = new Dictionary<string, string>(before) { [name] = before[name].Replace(from, to, StringComparison.Ordinal) };
        var effect = PolicyEffect.Of(PolicySet.Of(files, before), PolicySet.Of(files, after), "my-number", ["koseki", "other"]);
        Assert.Equal((clients, everybody, roles), (string.Join(' ', effect.Clients), effect.Everybody, string.Join(' ', effect.Roles)));
    }

    /// <summary>A name mistyped lets nobody in and protects nothing: the version's page says so before somebody approves it.</summary>
    [Theory, Trait("Requirement", "OUT-01")]
    [InlineData("privileged", "contracts: {}", "contracts:\n  support:\n    { name: 保守契約, from: 2026-04-01, until: 2027-03-31, people: [p-6001, p-6009], work: [juki-app-maintenance], terminals: [t-01, t-77], subcontracted: { p-6008: 再委託承認 第3号 } }", "privileged.yaml: p-6009, privileged.yaml: p-6008, privileged.yaml: t-77")]
    [InlineData("privileged", "requesters: [administrator, database-administrator]", "requesters: [administratr]", "privileged.yaml: administratr")]
    [InlineData("assurance", "clients: {}", "clients: { kosekki: card }", "assurance.yaml: kosekki")]
    [InlineData("roles", "# Which role may do", "# What role may do", "")]
    public void Names_that_no_register_has_are_told(string name, string from, string to, string unknown)
    {
        var texts = PolicySet.ReadDirectory(Path.Combine(Place.Root, "policies"), "my-number");
        Assert.Contains(from, texts[name], StringComparison.Ordinal);
        texts[name] = texts[name].Replace(from, to, StringComparison.Ordinal);
        Assert.Equal(unknown, string.Join(", ", PolicyEffect.Unknown(PolicySet.Of(PolicyChangesSlice.AllFiles("x"), texts), ["koseki", "audit"], ["p-6001"], ["t-01"])));
    }

    /// <summary>What has begun keeps the set it began with, whatever happens meanwhile.</summary>
    [Fact]
    public async Task A_request_that_has_begun_is_not_judged_half_by_the_old_and_half_by_the_new()
    {
        var files = new[] { new PolicyFile("sign-in", typeof(SignInPolicy), (name, text) => PolicyFiles.Parse<SignInPolicy>(name, text)) };
        var policies = new ActivePolicies(files, new(broker.PolicyDirectory, "my-number"));
        var active = new Active<SignInPolicy>(policies);
        var (old, text) = (active.Now.CodeLifetime, await File.ReadAllTextAsync(Path.Combine(broker.PolicyDirectory, "sign-in.yaml")));
        var other = PolicySet.Of(files, new Dictionary<string, string> { ["sign-in"] = text.Replace("code-lifetime: 60s", "code-lifetime: 30s", StringComparison.Ordinal) });
        using var stop = new CancellationTokenSource();
        var switching = Task.Run(() => { var (a, b) = (policies.Newest, other); while (!stop.IsCancellationRequested) { policies.Switch(b); (a, b) = (b, a); } });
        var mixed = 0;
        await Parallel.ForAsync(0, 2_000, new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (_, _) =>
        {
            using (policies.Pin())
            {
                var first = active.Now.CodeLifetime;
                await Task.Yield();
                if (active.Now.CodeLifetime != first) Interlocked.Increment(ref mixed);
            }
        });
        await stop.CancelAsync();
        await switching;
        Assert.Equal(0, mixed);
        policies.Switch(other);
        Assert.NotEqual(old, active.Now.CodeLifetime);
    }

    [Fact]
    public void A_version_from_before_an_update_is_completed_by_the_files_that_came_with_it()
    {
        var complete = PolicySet.Complete(new Dictionary<string, string> { ["lockout"] = "decided" }, new Dictionary<string, string> { ["lockout"] = "shipped", ["new"] = "shipped" });
        Assert.Equal(("decided", "shipped"), (complete["lockout"], complete["new"]));
    }

    [Fact]
    public void A_difference_says_what_goes_and_what_comes()
    {
        Assert.Equal([(' ', "a"), ('-', "b"), ('+', "x"), (' ', "c"), ('+', "d")], TextDifference.Of("a\nb\nc", "a\nx\nc\nd"));
        Assert.All(TextDifference.Of("a\nb", "a\nb"), l => Assert.Equal(' ', l.Mark));
    }
}
