using System.Net;
using AccessBroker.Database;
using AccessBroker.Lockout;
using AccessBroker.Tests.Support;
using FsCheck;
using FsCheck.Fluent;
using Npgsql;

namespace AccessBroker.Tests.Lockout;

/// <summary>The decision alone: tables, no host.</summary>
public sealed class LockoutRuleTests
{
    private static readonly LockoutLimit Limit = new() { Failures = 3, Window = TimeSpan.FromMinutes(15), LockFor = TimeSpan.FromMinutes(30) };
    private static readonly DateTimeOffset Noon = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    private static DateTimeOffset? Judge(int nowMinutes, params int[] failures) => LockoutRule.LockedUntil([.. failures.Select(m => Noon.AddMinutes(m))], Limit, Noon.AddMinutes(nowMinutes));

    [Fact, Trait("Requirement", "LCK-01")]
    public void Fewer_failures_than_the_limit_never_lock() => Assert.Null(Judge(2, 0, 1));

    [Fact, Trait("Requirement", "LCK-01")]
    public void The_limit_within_the_window_locks_for_a_while_after_the_last()
    {
        Assert.Equal(Noon.AddMinutes(32), Judge(3, 0, 1, 2));
        Assert.Equal(Noon.AddMinutes(32), Judge(31, 0, 1, 2));
        Assert.Null(Judge(32, 0, 1, 2));
    }

    [Fact]
    public void Failures_further_apart_than_the_window_do_not_add_up()
    {
        Assert.NotNull(Judge(15, 0, 1, 15));
        Assert.Null(Judge(16, 0, 1, 16));
    }

    [Fact]
    public void One_more_failure_never_opens_what_was_locked() => Check.QuickThrowOnFailure(Prop.ForAll(ArbMap.Default.ArbFor<ushort[]>(), seconds =>
    {
        var failures = seconds.Order().Select(s => Noon.AddSeconds(s)).ToArray();
        var now = failures.Length == 0 ? Noon : failures[^1];
        return LockoutRule.LockedUntil(failures, Limit, now) is null || LockoutRule.LockedUntil([.. failures, now], Limit, now) is not null;
    }));
}

/// <summary>The counters in a real PostgreSQL, and unlocking over HTTP.</summary>
public sealed class LockoutStoreTests(BrokerHost broker) : IClassFixture<BrokerHost>, IAsyncLifetime
{
    private static readonly LockoutLimit Limit = new() { Failures = 3, Window = TimeSpan.FromMinutes(15), LockFor = TimeSpan.FromMinutes(30) };
    private static readonly CancellationToken None = CancellationToken.None;

    public ValueTask InitializeAsync() => new(broker.ClearAsync());
    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private Store Store() => new(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));

    private static async Task<LockoutStore.Counter> FailAsync(Store store, string subject)
    {
        await using var work = await store.BeginAsync(None);
        var (counter, _) = await LockoutStore.AddAsync(work, subject, null, Limit, None);
        await work.CommitAsync(None);
        return counter;
    }

    [Fact, Trait("Requirement", "LCK-04")]
    public async Task Fifty_parallel_failures_lose_none_and_never_count_past_the_limit()
    {
        await using var store = Store();
        var counters = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => FailAsync(store, "operator:race")));
        Assert.All(counters, c => Assert.InRange(c.Failures.Length, 1, Limit.Failures));
        Assert.Equal(50, counters.Max(c => c.Version));
        // The 3rd locks; the 47 that raced past it do not prolong the lock.
        var locked = counters.Where(c => c.Failures.Length == 3).Select(c => c.Locked).Distinct().ToList();
        Assert.Single(locked);
        Assert.NotNull(locked[0]);
    }

    [Fact, Trait("Requirement", "LCK-04")]
    public async Task Counters_survive_a_restart_of_the_broker()
    {
        await broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by, locked_until) select 'terminal:t-01', array_agg(now()), array_agg(''::text), now() + interval '20 minutes' from generate_series(1, 10)");
        var terminal = await broker.TerminalAsync();
        await broker.StopAsync();
        await broker.StartAsync();
        await terminal.AttachedAsync();
        await terminal.InsertAsync("sato");
        using var browser = new TestBrowser(broker);
        await Eventually.TrueAsync(async () => (await terminal.RedeemAsync(await browser.HandleAsync(await browser.OpenAsync()))).StatusCode == HttpStatusCode.Forbidden, "still locked");
        Assert.Equal("refused lockout.terminal-locked - t-01", await broker.LastEventAsync("sign-in.claim"));
    }

    [Fact, Trait("Requirement", "LCK-06")]
    public async Task Nobody_unlocks_what_their_own_failures_locked()
    {
        Assert.Equal(HttpStatusCode.Forbidden, await UnlockAsync("chief", failedBy: "p-2001"));
        Assert.Equal("refused lockout.own-failures p-2001 t-02", await broker.LastEventAsync("lockout.unlock-terminal"));
        Assert.NotEmpty(await broker.SqlAsync("select 1 from lockout.counters where subject = 'terminal:t-02' and cardinality(failures) = 10"));
    }

    [Fact, Trait("Requirement", "LCK-06")]
    public async Task The_responsible_person_unlocks_what_others_locked()
    {
        Assert.Equal(HttpStatusCode.OK, await UnlockAsync("chief", failedBy: "p-1001"));
        Assert.Equal("done  p-2001 t-02", await broker.LastEventAsync("lockout.unlock-terminal"));
        Assert.NotEmpty(await broker.SqlAsync("select 1 from lockout.counters where subject = 'terminal:t-02' and cardinality(failures) = 0"));
        Assert.Equal(HttpStatusCode.Conflict, await UnlockAsync("chief", failedBy: null));
    }

    [Fact, Trait("Requirement", "LCK-06")]
    public async Task Unlocking_a_terminal_frees_the_operators_locked_there_and_an_unknown_terminal_is_404()
    {
        await broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by, locked_until) select 'operator-at-terminal:p-1001@t-02', array_agg(now()), array_agg('p-1001'::text), now() + interval '20 minutes' from generate_series(1, 3)");
        Assert.Equal(HttpStatusCode.OK, await UnlockAsync("chief", failedBy: null));
        Assert.Equal(["0"], await broker.SqlAsync("select cardinality(failures) from lockout.counters where subject = 'operator-at-terminal:p-1001@t-02'"));
        Assert.Equal(HttpStatusCode.NotFound, await UnlockAsync("chief", failedBy: null, "t-99"));
    }

    [Fact, Trait("Requirement", "LCK-06")]
    public async Task An_operator_may_not_unlock()
    {
        Assert.Equal(HttpStatusCode.Forbidden, await UnlockAsync("sato", failedBy: "p-1002"));
        Assert.Equal("refused authorization.not-permitted p-1001 t-01", await broker.LastEventAsync("lockout.unlock-terminal"));
    }

    private async Task<HttpStatusCode> UnlockAsync(string card, string? failedBy, string at = "t-02")
    {
        if (failedBy is not null) await broker.SqlAsync($"insert into lockout.counters (subject, failures, failed_by, locked_until) select 'terminal:t-02', array_agg(now()), array_agg(case n when 4 then '{failedBy}'::text else '' end), now() + interval '20 minutes' from generate_series(1, 10) as n on conflict (subject) do update set failures = excluded.failures, failed_by = excluded.failed_by, locked_until = excluded.locked_until");
        var terminal = await broker.TerminalAsync();
        await terminal.RemoveAsync();
        await terminal.InsertAsync(card);
        using var browser = new TestBrowser(broker);
        await browser.SignInAsync(terminal);
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/terminals/{at}/unlock") { Content = new FormUrlEncodedContent(new Dictionary<string, string> { ["Reason"] = "本人に確認" }) };
        request.Headers.Add("Sec-Fetch-Site", "same-origin");
        using var response = await browser.Http.SendAsync(request);
        return response.StatusCode;
    }
}
