using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Faults;

/// <summary>
/// One neighbour after the other fails under a crowd that signs in without pause, on two nodes behind HAProxy. For each: what people are told,
/// that nothing is half-done, how long the recovery takes, and that a card pulled out meanwhile still ends access.
/// "Half-done" is: a session without its event, a code redeemed twice, a token without a sign-in that was recorded as done, an ending without its event.
/// </summary>
public sealed partial class FaultTableTests(FaultTableTests.City city, ITestOutputHelper output) : IClassFixture<FaultTableTests.City>
{
    /// <summary>200 sign-ins in flight with --long.</summary>
    private static readonly int People = Counts.Of(24, 200), Failures = Counts.Of(0, 20), Successes = Counts.Of(10, 50);
    private static readonly TimeSpan During = TimeSpan.FromSeconds(Counts.Of(2, 6));

    /// <summary>What people and programs may be told. Anything else is unclear, and a defect.</summary>
    private static readonly string[] ClearCodes =
    [
        "database.unavailable", "database.not-writable", "database.clock-off", "sessions.presence-unknown", "keys.hsm-unavailable", "sign-in.refused", "sign-in.no-such-transaction", "sign-in.under-way",
        "agent.NotAttached", "agent.Unavailable", "agent.Refused", "agent.Cancelled", "agent.Busy", "session-gone-before-resume", "session-gone-before-code", "invalid_grant", "no-connection", "no-answer",
    ];

    public sealed class City : TwoNodes
    {
        internal Crowd Crowd { get; private set; } = null!;
        internal static string DiskDirectory => Path.Combine(Place.Directory, "small-disk");

        /// <summary>The history lies on a small disk of its own, so that it can be full; node 2 has a clock of its own.</summary>
        protected override async Task ArrangeAsync()
        {
            Directory.CreateDirectory(DiskDirectory);
            await Place.RunAsync("mount", ["-t", "tmpfs", "-o", "size=64m,mode=700,uid=postgres,gid=postgres", "accessbroker-test", DiskDirectory]);
            await SqlAsAdminAsync($"create tablespace small_disk location '{DiskDirectory}'");
            await SqlAsAdminAsync("grant create on tablespace small_disk to accessbroker_owner");
            await SqlAsync("alter table history.events set tablespace small_disk");
            foreach (var index in await SqlAsync("select indexname from pg_indexes where schemaname = 'history' and tablename = 'events'")) await SqlAsync($"alter index history.\"{index}\" set tablespace small_disk");
            // For the questions of these tests only.
            await SqlAsync("create index on history.events (session); create index on oidc.access_tokens (session)");
            await File.WriteAllTextAsync(ClockFile, "+0");
        }

        internal static string ClockFile => Path.Combine(Place.Directory, "node-2.clock");
        protected override string? ClockOf(int index) => index == 1 ? ClockFile : null;

        internal async Task<Crowd> CrowdAsync() => Crowd ??= await Crowd.CreateAsync(this, People);

        internal static async Task SqlAsAdminAsync(string sql)
        {
            await using var admin = await OpenAsync("postgres", "postgres");
            await using var command = new Npgsql.NpgsqlCommand(sql, admin);
            await command.ExecuteNonQueryAsync();
        }

        protected override async Task EndAsync()
        {
            if (Crowd is not null) await Crowd.DisposeAsync();
        }

        protected override async Task AfterDropAsync()
        {
            await SqlAsAdminAsync("drop tablespace small_disk");
            await Place.RunAsync("umount", [DiskDirectory]);
        }
    }

    private sealed record Row(string Fault, int InFlight, int Failed, int Succeeded, string Told, TimeSpan Recovery, TimeSpan CardOut);

    [Fact] public Task Hsm_paused() => RunAsync("HSM paused", () => Place.HsmAsync("pause"), () => Place.HsmAsync("resume"), most: 2);
    [Fact] public Task Hsm_killed() => RunAsync("HSM killed", () => Place.HsmAsync("kill"), () => Place.HsmAsync("start"), most: 2);
    [Fact] public Task Hsm_restarted() => RunAsync("HSM restarted", () => Place.HsmAsync("restart"), () => Task.CompletedTask, most: 2, fails: false);
    [Fact] public Task One_node_killed() => RunAsync("node killed -9", () => city.Node(0).KillAsync(), () => StartNodeAsync(0), most: 3);
    [Fact] public Task Postgres_killed() => RunAsync("PostgreSQL killed", () => Place.PartAsync("kill", "postgres"), () => Place.PartAsync("start", "postgres"), most: 10);
    [Fact] public Task Redis_killed() => RunAsync("Redis killed", () => Place.PartAsync("kill", "redis"), () => Place.PartAsync("start", "redis"), most: 3, fails: false);
    [Fact] public Task History_read_only() => RunAsync("history read-only", () => city.SqlAsync("revoke insert on history.events from accessbroker"), () => city.SqlAsync("grant insert on history.events to accessbroker"), most: 3);
    [Fact] public Task One_node_frozen() => RunAsync("node frozen (SIGSTOP)", () => city.Node(0).SignalAsync("STOP"), () => city.Node(0).SignalAsync("CONT"), most: 5, fails: false);

    [Fact]
    public Task Database_read_only() => RunAsync("database read-only", () => ReadOnlyAsync("on"), () => ReadOnlyAsync("off"), most: 5);

    private async Task ReadOnlyAsync(string onOrOff)
    {
        await City.SqlAsAdminAsync($"alter database {city.DatabaseName} set default_transaction_read_only = {onOrOff}");
        await City.SqlAsAdminAsync($"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{city.DatabaseName}' and usename = 'accessbroker'");
    }

    [Theory, InlineData("+10m"), InlineData("-10m")]
    public Task Clock_of_a_node_moved(string by) => RunAsync($"clock of a node {by}", () => File.WriteAllTextAsync(City.ClockFile, by), () => File.WriteAllTextAsync(City.ClockFile, "+0"), most: 3);

    [Fact]
    public Task History_disk_full() => RunAsync("history disk full",
        () => Place.RunAsync("dd", ["if=/dev/zero", $"of={City.DiskDirectory}/filler", "bs=1M"], mayFail: true),
        async () => { File.Delete($"{City.DiskDirectory}/filler"); await Task.CompletedTask; }, most: 3);

    private async Task StartNodeAsync(int index)
    {
        city.Node(index).Start(index == 1 ? City.ClockFile : null);
        await city.AnswersAsync(index);
    }

    private async Task RunAsync(string fault, Func<Task> strike, Func<Task> mend, double most, bool fails = true)
    {
        var crowd = await city.CrowdAsync();
        await crowd.AttachedAsync();
        var (holders, workers) = (crowd.Members.Take(4).ToList(), crowd.Members.Skip(4).ToList());
        var held = new List<string>();
        await using var load = LoadRun.Start(workers, seed: 1);
        var mended = false;
        try
        {
            foreach (var holder in holders) held.Add(await HoldAsync(holder));
            await Eventually.TrueAsync(() => Task.FromResult(load.Succeeded() >= Successes), $"{fault}: it works before", 60);
            var struck = Stopwatch.GetTimestamp();
            await strike();
            var cardOut = await CardsOutAsync(holders, held);
            await Eventually.TrueAsync(() => Task.FromResult(Stopwatch.GetElapsedTime(struck) > During && (!fails || load.Failed(struck) >= Failures)), $"{fault}: it is felt", 60);
            await mend();
            mended = true;
            var back = Stopwatch.GetTimestamp();
            await Eventually.TrueAsync(() => Task.FromResult(load.Succeeded(back) >= Successes), $"{fault}: it works again", 60);
            // The cards that left meanwhile open nothing at any node, also when all is back.
            for (var i = 0; i < 30; i++)
            {
                Assert.False((await Task.WhenAll(holders.Zip(held).SelectMany(h => new[] { 0, 1 }.Select(n => OpensAsync(h.First, h.Second, city.NodeUrl(n)))))).Any(o => o), $"{fault}: a pulled card opens again");
                await Task.Delay(100);
            }
            await load.StopAsync();
            var row = new Row(fault, load.MostInFlight, load.Failed(struck), load.Succeeded(struck), Told(load, struck), load.FirstSuccessAfter(back)!.Value, cardOut);
            output.WriteLine(row.ToString());
            await FaultTable.AddAsync(row.Fault, row.InFlight, row.Failed, row.Succeeded, row.Told, row.Recovery, row.CardOut);
            Assert.All(load.Attempts.Where(a => a.Failure is not null), a => Assert.True(ClearCodes.Contains(a.Failure), $"unclear: {a.Detail}"));
            Assert.True(row.Recovery.TotalSeconds < most + Counts.Of(1, 5), $"{fault}: recovered after {row.Recovery}");
            await NothingIsHalfDoneAsync();
        }
        finally
        {
            if (!mended) await mend();
            foreach (var holder in holders) await holder.CardAsync(false);
        }
    }

    /// <summary>Signs in before the fault. What a terminal still has to say of the fault before may end an attempt clearly; the next one goes through.</summary>
    private static async Task<string> HoldAsync(CrowdMember holder)
    {
        await holder.CardAsync(true);
        return await Eventually.FindAsync(async () =>
        {
            try { return (await holder.SignInAsync()).Access; }
            catch (NotDone e) when (ClearCodes.Contains(e.Code)) { return null; }
        }, "a holder signs in before the fault");
    }

    private static string Told(LoadRun load, long since) =>
        string.Join(", ", load.Attempts.Where(a => a.Failure is not null && a.Ended >= since).GroupBy(a => a.Failure!).OrderByDescending(g => g.Count()).Select(g => $"{g.Key} ×{g.Count()}"));

    /// <summary>During the fault: every card that is pulled out ends access at every node that answers, within a second, and with a crowd on two cores within the lease.</summary>
    private async Task<TimeSpan> CardsOutAsync(List<CrowdMember> holders, List<string> held)
    {
        var since = Stopwatch.GetTimestamp();
        await Task.WhenAll(holders.Select(h => h.CardAsync(false)));
        await Eventually.TrueAsync(async () => !(await Task.WhenAll(holders.Zip(held).SelectMany(h => new[] { 0, 1 }.Select(n => OpensAsync(h.First, h.Second, city.NodeUrl(n)))))).Any(o => o), "card out ends access", 9);
        return Stopwatch.GetElapsedTime(since);
    }

    private static async Task<bool> OpensAsync(CrowdMember holder, string access, Uri node)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(2));
        try { return await holder.HasAccessAsync(access, node, limit.Token); }
        catch (Exception e) when (e is NotDone or OperationCanceledException) { return false; }
    }

    private async Task NothingIsHalfDoneAsync()
    {
        // HAProxy sees both nodes well, with its own checks and not only as the last resort.
        await Eventually.TrueAsync(async () => (await city.ProxyStatesAsync()).Where(s => !s.Key.EndsWith("-anyway", StringComparison.Ordinal)).All(s => s.Value.StartsWith("UP", StringComparison.Ordinal)), "HAProxy has both nodes up", 10);
        await Eventually.TrueAsync(async () => (await city.SqlAsync("""
            select id from sessions.sessions s where ended_at is not null and end_reason <> 'test'
            and not exists (select from history.events e where e.operation = 'sessions.end' and (e.session = s.id or e.terminal = s.terminal and e.session is null and e.origin = 'spool' and e.at between s.started_at and s.ended_at + interval '5 seconds'))
            """)).Count == 0, "every ending has its event, spooled ones merged", 10);
        Assert.Empty(await city.SqlAsync("select id from sessions.sessions s where not exists (select from history.events e where e.operation = 'sign-in.complete' and e.outcome = 'done' and e.session = s.id)"));
        Assert.Empty(await city.SqlAsync("select code_hash from oidc.access_tokens group by code_hash having count(*) > 1"));
        Assert.Equal(await city.SqlAsync("select count(*) from oidc.access_tokens"), await city.SqlAsync("select count(*) from history.events where operation = 'oidc.token' and outcome = 'done'"));
        Assert.Empty(await city.SqlAsync("select session from oidc.access_tokens t where not exists (select from history.events e where e.operation = 'sign-in.complete' and e.outcome = 'done' and e.session = t.session)"));
        Assert.Empty(await city.SqlAsync("select person from sessions.sessions where ended_at is null group by person having count(*) > 1"));
    }
}
