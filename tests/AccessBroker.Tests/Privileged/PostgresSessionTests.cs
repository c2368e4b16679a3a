using System.Diagnostics;
using AccessBroker.Helper;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>Privileged work on a real PostgreSQL: a role of its own with narrow rights, and nothing left when it ends, whatever it does.</summary>
public sealed class PostgresSessionTests(PrivilegedCity broker) : IClassFixture<PrivilegedCity>, IAsyncLifetime
{
    private TestTerminal _terminal = null!;
    private DatabaseHost _database = null!;

    public async ValueTask InitializeAsync()
    {
        _terminal = await broker.TerminalAsync();
        _database = await broker.DatabaseAsync();
        await broker.ClearPrivilegedAsync();
        // Whatever another test has left, and the agent has looked since: of two reports from now on the second was begun after the first came.
        await _database.SqlAsync("revoke wide from narrow; revoke select on closed_rows from narrow");
        var reports = new HashSet<string>();
        await Eventually.TrueAsync(async () => { foreach (var at in await broker.SqlAsync("select extract(epoch from at) from privileged.rights_reports where target = 'db'")) reports.Add(at); return reports.Count > 2; }, "the agent looks at its rights", 30);
    }

    public ValueTask DisposeAsync() => new(broker.ClearPrivilegedAsync());

    /// <summary>RFC 7677 §3 gives no stored keys; PostgreSQL itself says whether ours are its own.</summary>
    [Fact]
    public async Task The_verifier_is_what_PostgreSQL_stores()
    {
        await _database.SqlAsync("create role scram_check password 'pencil-of-the-tests'");
        var theirs = (await _database.SqlAsync("select rolpassword from pg_authid where rolname = 'scram_check'"))[0];
        var salt = Convert.FromBase64String(theirs.Split('$')[1].Split(':')[1]);
        Assert.Equal(theirs, Scram.Verifier("pencil-of-the-tests", salt));
        await _database.SqlAsync("drop role scram_check");
    }

    [Fact, Trait("Requirement", "PRV-09"), Trait("Requirement", "PRV-02")]
    public async Task A_session_does_what_its_role_may_and_is_gone_at_its_end()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me, "look");
        var counted = await broker.AccessAsync("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "select count(*) from open_rows");
        Assert.True(counted.Exit == 0 && counted.Output.Trim() == "100", $"{counted} {_database.Log}");
        Assert.Equal(0, (await broker.AccessAsync("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "set log_statement = 'none'", "-c", "select 'after'")).Exit);
        foreach (var forbidden in (string[])["set log_statement = 'none'", "select * from closed_rows", "create role x", "alter role access_agent superuser", "set role wide", "set role access_agent", "select pg_read_file('/etc/passwd')", "prepare transaction 'x'", "copy open_rows to program 'id'"])
        {
            var refused = await broker.AccessAsync("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-v", "ON_ERROR_STOP=1", "-c", forbidden.StartsWith("prepare", StringComparison.Ordinal) ? "begin; " + forbidden : forbidden);
            Assert.True(refused.Exit != 0, $"{forbidden}: {refused.Output}");
        }
        await me.PostAsync($"/privileged/{session}?handler=end");
        await broker.StateAsync(session, "ended");
        Assert.Empty(await _database.LeftAsync());
        // What was said is in the recording, what was refused too; and a session cannot switch it off.
        var recording = string.Concat(await broker.SqlAsync($"select convert_from(data, 'utf8') from privileged.chunks where session = '{session}' order by number"));
        foreach (var said in (string[])["statement: select count(*) from open_rows", "statement: select * from closed_rows", "! permission denied for table closed_rows", "! permission denied to set parameter", "statement: select 'after'"]) Assert.Contains(said, recording, StringComparison.Ordinal);
        Assert.Equal(["privileged.revoked|0|"], await broker.SqlAsync($"select end_reason, left_over, array_to_string(found, ',') from privileged.sessions where id = '{session}'"));
    }

    /// <summary>Whoever sleeps through the end of the session between password and first statement (post_auth_delay is anybody's to set) wakes up without rights, and is put out.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task A_login_that_sleeps_through_its_session_s_end_gets_nothing()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me, "look");
        using var sleeper = broker.AccessWith("-c post_auth_delay=6", "psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "select count(*) from open_rows", "-c", "select pg_sleep(60)");
        // In, and asleep: the kernel knows its process, the server shows nobody.
        await Eventually.TrueAsync(async () => (await Support.Place.RunAsync("ps", ["-eo", "args"])).Output.Contains($"postgres: ab_{session}_", StringComparison.Ordinal), "it is in");
        Assert.DoesNotContain(await _database.LeftAsync(), l => l.StartsWith("backend", StringComparison.Ordinal));
        await me.PostAsync($"/privileged/{session}?handler=end");
        await broker.StateAsync(session, "ended");
        Assert.Empty(await _database.LeftAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        try { await sleeper.WaitForExitAsync(limit.Token); }
        catch (OperationCanceledException) { Assert.Fail(string.Join('\n', await _database.SqlAsync("select pid, usesysid, usename, state, backend_start, query from pg_stat_activity")) + _database.Log + (await Support.Place.RunAsync("sh", ["-c", "ps aux | grep -E 'postgres: |psql'"])).Output); }
        var (output, error) = (await sleeper.StandardOutput.ReadToEndAsync(limit.Token), await sleeper.StandardError.ReadToEndAsync(limit.Token));
        Assert.True(output.Trim().Length == 0 && sleeper.ExitCode != 0 && error.Contains("permission denied", StringComparison.Ordinal), $"{sleeper.ExitCode} {output} {error}");
        Assert.Empty(await _database.SqlAsync("select pid from pg_stat_activity where backend_type = 'client backend' and usename is null"));
    }

    /// <summary>What somebody grants by hand, past the broker, is found within one look, and told; what was accepted is not told again.</summary>
    [Fact, Trait("Requirement", "PRV-08"), Trait("Requirement", "PRV-01")]
    public async Task Rights_that_nobody_accepted_are_found()
    {
        async Task<int> FoundAsync() => (await broker.SqlAsync("select 1 from history.events where operation = 'privileged.find-right' and outcome = 'refused' and reason = 'privileged.right-not-accepted' and details->>'right' = 'member narrow of wide'")).Count;
        Task<List<string>> OpenAsync() => broker.SqlAsync("select line from privileged.rights where target = 'db' and accepted_at is null and gone_at is null order by line");
        await Eventually.TrueAsync(async () => (await OpenAsync()).Contains("role postgres: superuser createrole createdb replication bypassrls"), "the first look", 20);
        using var chief = await ConsoleBrowser.SignInAsync(broker, _terminal, "boss");
        var page = (await chief.GetAsync("/privileged/rights")).Page;
        Assert.Contains("role wide: bypassrls", page, StringComparison.Ordinal);
        Assert.Contains("試験サーバーの保守", page, StringComparison.Ordinal);
        Assert.Equal(System.Net.HttpStatusCode.OK, (await chief.PostAsync("/privileged/rights?handler=accept&target=db", [("Note", "構築時に確かめた"), .. (await OpenAsync()).Select(l => ("Lines", l))])).Status);
        Assert.Empty(await OpenAsync());
        var told = (await broker.SqlAsync("select 1 from notices.notices where subject like '%確かめていない権限%'")).Count;
        var found = await FoundAsync();
        await _database.SqlAsync("grant wide to narrow; grant select on closed_rows to narrow");
        string[] open = [];
        try { await Eventually.TrueAsync(async () => (open = [.. await OpenAsync()]).Contains("member narrow of wide") && open.Any(l => l.StartsWith("acl public: narrow SELECT on 2 tables #", StringComparison.Ordinal)), "what was granted by hand is found"); }
        catch (Xunit.Sdk.XunitException e) { throw new InvalidOperationException($"found: {string.Join("; ", open)} {_database.Log}", e); }
        Assert.True((await broker.SqlAsync("select 1 from notices.notices where subject like '%確かめていない権限%'")).Count > told, "somebody is told");
        Assert.Equal(found + 1, await FoundAsync());
        await _database.SqlAsync("revoke wide from narrow; revoke select on closed_rows from narrow");
        await Eventually.TrueAsync(async () => (await broker.SqlAsync("select line from privileged.rights where target = 'db' and line = 'member narrow of wide' and gone_at is not null")).Count == 1, "and that it is gone");
        // Functions, and what acts with its owner's rights; and another database of the same server.
        await _database.SqlAsync("create schema tools; grant usage on schema tools to narrow; create function tools.opens_all() returns integer language sql security definer as 'select 1'; revoke execute on function tools.opens_all() from public; grant execute on function tools.opens_all() to narrow; grant update (n) on closed_rows to narrow; grant execute on function pg_catalog.pg_read_file(text) to narrow");
        await _database.SqlAsync("create table elsewhere (n integer); grant select on elsewhere to narrow", "postgres");
        string[] more = ["definer tools: postgres of 1 functions #", "function tools: narrow EXECUTE on 1 #", "schema tools: narrow USAGE", "columns public: narrow UPDATE on 1 #", "catalog pg_catalog: narrow EXECUTE on 1 #", "postgres: acl public: narrow SELECT on 1 tables #", "postgres: owner public: postgres of 1 #"];
        await Eventually.TrueAsync(async () => more.All((await OpenAsync()).Select(l => l.Contains('#', StringComparison.Ordinal) ? l[..(l.IndexOf('#', StringComparison.Ordinal) + 1)] : l).Contains), "functions, schemas and other databases are looked at");
        await _database.SqlAsync("drop schema tools cascade; revoke update (n) on closed_rows from narrow; revoke execute on function pg_catalog.pg_read_file(text) from narrow");
        await _database.SqlAsync("drop table elsewhere", "postgres");
        // What comes back must be accepted anew; a session's own role is nobody's standing right.
        await _database.SqlAsync("grant wide to narrow");
        await Eventually.TrueAsync(async () => (await OpenAsync()).Contains("member narrow of wide"), "it is back");
        await _database.SqlAsync("revoke wide from narrow");
        Assert.DoesNotContain(await broker.SqlAsync("select line from privileged.rights"), l => l.Contains("ab_ps", StringComparison.Ordinal));
        using var other = await ConsoleBrowser.SignInAsync(broker, _terminal, "sysman");
        Assert.Equal(System.Net.HttpStatusCode.Forbidden, (await other.PostAsync("/privileged/rights?handler=accept&target=db", ("Note", "x"), ("Lines", "member narrow of wide"))).Status);
    }

    /// <summary>What outlives a grant elsewhere: SET ROLE, long statements, COPY, LISTEN, what it created, a second connection through dblink.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Nothing_outlives_the_end()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var session = await broker.OpenAsync(me, "look");
        Assert.Equal(0, (await broker.AccessAsync("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", "create table made_by_session (n integer)")).Exit);
        // A lock on its own role must not hold up the end.
        var running = new List<Process>();
        foreach (var sql in (string[])["set role narrow; select pg_sleep(600)", "listen x; select pg_sleep(600)", "begin; set role none; alter role session_user password 'mine'; select pg_sleep(600)", "begin; insert into made_by_session values (1); copy (select n, pg_sleep(1) from generate_series(1, 600) n) to stdout"])
            running.Add(broker.Access("psql", await PrivilegedCity.CodeAsync(me, session), "-qAt", "-c", sql));
        await Eventually.TrueAsync(async () =>
        {
            if (running.Find(r => r.HasExited) is { } gone) Assert.Fail($"a client ended: {await gone.StandardError.ReadToEndAsync()}");
            return (await _database.LeftAsync()).Count(l => l.StartsWith("backend", StringComparison.Ordinal)) == 4;
        }, "the backends run", 30);
        await broker.SqlAsync($"update privileged.sessions set ends_at = now() + interval '2 seconds' where id = '{session}'");
        await broker.StateAsync(session, "ended");
        Assert.Empty(await _database.LeftAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        foreach (var client in running)
        {
            await client.WaitForExitAsync(limit.Token);
            Assert.NotEqual(0, client.ExitCode);
            client.Dispose();
        }
        // What it made is said, and no longer its own.
        Assert.Contains("made_by_session", (await broker.SqlAsync($"select array_to_string(found, ',') from privileged.sessions where id = '{session}'"))[0], StringComparison.Ordinal);
        Assert.Equal(["accessbroker_quarantine"], await _database.SqlAsync("select tableowner from pg_tables where tablename = 'made_by_session'"));
        await _database.SqlAsync("drop table made_by_session");
    }

    [Fact]
    public async Task A_role_that_may_do_too_much_opens_nothing()
    {
        await _database.SqlAsync("grant wide to narrow");
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin");
        var request = await PrivilegedCity.AskAsync(me, "look");
        await broker.ApproveAsync(request);
        var (session, _) = await PrivilegedCity.StartAsync(me, request);
        await broker.StateAsync(session!, "ended");
        Assert.Equal(["privileged.role-too-wide"], await broker.SqlAsync($"select end_reason from privileged.sessions where id = '{session}'"));
        Assert.Contains("権限が広すぎます", (await me.GetAsync($"/privileged/{session}")).Page, StringComparison.Ordinal);
        Assert.Empty(await _database.LeftAsync());
        await _database.SqlAsync("revoke wide from narrow");
    }
}
