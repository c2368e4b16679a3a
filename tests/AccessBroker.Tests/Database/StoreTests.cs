using AccessBroker.Database;
using AccessBroker.FileServer;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Oidc;
using AccessBroker.OneTimeCodes;
using AccessBroker.Passkeys;
using AccessBroker.Primitives;
using AccessBroker.Privileged;
using AccessBroker.SignIn;
using AccessBroker.Tests.Support;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace AccessBroker.Tests.Database;

/// <summary>Roles, migrations, the unit of work, the history's table.</summary>
public sealed class StoreTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Theory, Trait("Requirement", "LOG-05")]
    [InlineData("update history.events set reason = 'x'"), InlineData("delete from history.events"), InlineData("truncate history.events"), InlineData("drop table history.events")]
    [InlineData("alter table history.events add column x text"), InlineData("create table history.x (y int)"), InlineData("create schema x"), InlineData("insert into oidc.clients values ('x', '{}')"), InlineData("delete from cards.cards")]
    public async Task The_server_role_cannot(string sql) => Assert.Equal("42501", (await Assert.ThrowsAsync<PostgresException>(() => broker.SqlAsync(sql, asServer: true))).SqlState);

    /// <summary>What a slice sweeps away, the server's role may.</summary>
    [Fact]
    public async Task Every_sweep_of_a_slice_runs_as_the_server()
    {
        var (services, policies) = (new ServiceCollection(), broker.PolicyDirectory);
        services.AddNotices();
        services.AddPasskeys(policies);
        services.AddOneTimeCodes(policies, "my-number");
        services.AddSignIn(policies);
        services.AddFileServer(new() { FileOrigin = "https://files.example", FileRoot = "/srv" });
        services.AddOidc();
        services.AddPrivileged(policies);
        var sweeps = services.Select(s => s.ImplementationInstance).OfType<Sweep>().ToList();
        Assert.True(sweeps.Count >= 14, $"{sweeps.Count}");
        foreach (var sweep in sweeps) await broker.SqlAsync(sweep.Statement, asServer: true);
    }

    [Fact]
    public async Task The_server_refuses_to_serve_as_the_owner_or_on_an_unmigrated_database()
    {
        await using var owner = NpgsqlDataSource.Create(broker.Environment()["Broker__DatabaseOwner"]);
        Assert.Contains("server role", (await Assert.ThrowsAsync<InvalidOperationException>(() => Migrations.RequireReadyAsync(owner, None))).Message, StringComparison.Ordinal);
        await using var server = NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]);
        await broker.SqlAsync("update migrations.applied set sha256 = 'x' where name like '%lockout%'");
        Assert.Contains("migrate", (await Assert.ThrowsAsync<InvalidOperationException>(() => Migrations.RequireReadyAsync(server, None))).Message, StringComparison.Ordinal);
        Assert.Contains("changed after it was applied", (await Assert.ThrowsAsync<InvalidOperationException>(() => Migrations.ApplyAsync(broker.Environment()["Broker__DatabaseOwner"], None))).Message, StringComparison.Ordinal);
        await using var admin = await BrokerHost.OpenAsync("postgres", "postgres");
        await using (var create = new NpgsqlCommand("create database empty_one owner accessbroker_owner", admin)) await create.ExecuteNonQueryAsync();
        await using var empty = NpgsqlDataSource.Create($"Host={Place.Directory}/sql;Database=empty_one;Username=accessbroker;Pooling=false");
        Assert.Contains("migrate", (await Assert.ThrowsAsync<InvalidOperationException>(() => Migrations.RequireReadyAsync(empty, None))).Message, StringComparison.Ordinal);
        // Six at once: one applies, five find it done.
        var runs = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => Migrations.ApplyAsync($"Host={Place.Directory}/sql;Database=empty_one;Username=accessbroker_owner", None)));
        Assert.Single(runs, r => r.Count > 0);
        await empty.DisposeAsync();
        await using var drop = new NpgsqlCommand("drop database empty_one with (force)", admin);
        await drop.ExecuteNonQueryAsync();
    }

    [Fact]
    public async Task The_migrated_tables_are_what_the_ef_models_say()
    {
        foreach (var context in (DbContext[])[new AccessBroker.People.PeopleContext(new DbContextOptionsBuilder<AccessBroker.People.PeopleContext>().UseNpgsql("Host=x").Options), new AccessBroker.Terminals.TerminalsContext(new DbContextOptionsBuilder<AccessBroker.Terminals.TerminalsContext>().UseNpgsql("Host=x").Options)])
        {
            foreach (var entity in context.GetService<Microsoft.EntityFrameworkCore.Metadata.IDesignTimeModel>().Model.GetEntityTypes())
            {
                var model = entity.GetProperties().Select(p => $"{p.GetColumnName()} {p.GetColumnType()} {(p.IsNullable ? "YES" : "NO")}").Order(StringComparer.Ordinal);
                var table = await broker.SqlAsync($"select column_name || ' ' || data_type || ' ' || is_nullable from information_schema.columns where table_schema = '{entity.GetSchema()}' and table_name = '{entity.GetTableName()}'");
                Assert.Equal(model, table.Order(StringComparer.Ordinal));
            }
            await context.DisposeAsync();
        }
    }

    [Fact]
    public async Task An_effect_and_its_event_commit_together_or_not_at_all()
    {
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        var before = await broker.SqlAsync("select count(*) from history.events");
        await using (var work = await store.BeginAsync(None))
        {
            await work.ExecuteAsync($"insert into lockout.counters (subject, failures, failed_by) values ({"operator:atomic"}, array[now()], array[{"x"}])", None);
            work.Record(new("test.event", HistoryOutcome.Done, new string('x', 200)), DateTimeOffset.UtcNow);
            await Assert.ThrowsAsync<PostgresException>(() => work.CommitAsync(None));
        }
        Assert.Empty(await broker.SqlAsync("select 1 from lockout.counters where subject = 'operator:atomic'"));
        await using (var work = await store.BeginAsync(None)) work.Record(new("test.event", HistoryOutcome.Done), DateTimeOffset.UtcNow);
        Assert.Equal(before, await broker.SqlAsync("select count(*) from history.events"));
    }

    [Fact, Trait("Requirement", "LOG-05")]
    public async Task Every_event_carries_its_bytes_and_their_leaf_hash()
    {
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        await store.RecordAsync(new("test.leaf", HistoryOutcome.Refused, "test.reason") { Person = PersonId.Parse("p-1001"), Details = new Dictionary<string, string> { ["b"] = "2", ["a"] = "戸籍" } }, new DateTimeOffset(2026, 11, 21, 1, 2, 3, TimeSpan.Zero), None);
        var row = (await broker.SqlAsync("select convert_from(body, 'UTF8'), sha256('\\x00' || body) = leaf, xact is not null from history.events where operation = 'test.leaf'"))[0].Split('|');
        Assert.Equal("{\"v\":1,\"at\":\"2026-11-21T01:02:03.000000Z\",\"operation\":\"test.leaf\",\"outcome\":\"refused\",\"reason\":\"test.reason\",\"person\":\"p-1001\",\"details\":{\"a\":\"戸籍\",\"b\":\"2\"},\"count\":1,\"origin\":\"live\"}", row[0]);
        Assert.Equal("True", row[1]);
    }

    [Fact, Trait("Requirement", "LOG-06")]
    public async Task Endings_are_spooled_when_the_history_is_away_and_merged_later()
    {
        await using var away = new Store(NpgsqlDataSource.Create("Host=/nowhere;Database=x;Username=x;Timeout=1"));
        await using var here = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        var directory = Directory.CreateTempSubdirectory().FullName;
        var log = Microsoft.Extensions.Logging.Abstractions.NullLogger<HistorySpool>.Instance;
        using (var spool = new HistorySpool(directory, away, new(away), log))
        {
            await spool.AppendAsync([(new("sessions.end", HistoryOutcome.Ended, "test.spooled") { Terminal = TerminalId.Parse("t-01") }, DateTimeOffset.UtcNow)]);
            await spool.AppendAsync([(new("sessions.end", HistoryOutcome.Ended, "test.spooled") { Session = SessionId.Parse("s-1") }, DateTimeOffset.UtcNow)]);
            await Assert.ThrowsAnyAsync<NpgsqlException>(() => spool.MergeAsync(None));
            Assert.Equal(2, spool.Waiting);
        }
        // A crash tore the last line; the node starts again.
        await File.AppendAllTextAsync(Path.Combine(directory, "history-spool.jsonl"), "{\"Event\":{\"Opera");
        using (var spool = new HistorySpool(directory, here, new(here), log))
        {
            // The next ending is kept whole behind the torn one.
            await spool.AppendAsync([(new("sessions.end", HistoryOutcome.Ended, "test.spooled") { Terminal = TerminalId.Parse("t-02") }, DateTimeOffset.UtcNow)]);
            await spool.MergeAsync(None);
            Assert.Equal(0, spool.Waiting);
            await spool.MergeAsync(None);
        }
        Assert.Equal(["spool|t-01", "spool|", "spool|t-02"], await broker.SqlAsync("select origin, terminal from history.events where reason = 'test.spooled' order by id"));
    }

    [Fact]
    public async Task Coalesced_refusals_become_one_event_with_their_count()
    {
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        using var coalescer = new Coalescer(store, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger<Coalescer>.Instance);
        for (var i = 0; i < 500; i++) coalescer.Add(new("test.garbage", HistoryOutcome.Refused, "test.bad") { Address = "127.0.0.9" });
        for (var i = 0; i < 5_000; i++) coalescer.Add(new("test.garbage", HistoryOutcome.Refused, "test.bad") { Address = $"10.0.{i / 250}.{i % 250}" });
        await coalescer.FlushAsync(None);
        Assert.Equal(["500|coalesced"], await broker.SqlAsync("select count, origin from history.events where operation = 'test.garbage' and address = '127.0.0.9'"));
        Assert.True(int.Parse((await broker.SqlAsync("select count(*) from history.events where origin = 'coalesced'"))[0], System.Globalization.CultureInfo.InvariantCulture) <= Coalescer.Kinds + 20);
        Assert.Equal(["5500"], await broker.SqlAsync("select sum(count) from history.events where operation = 'test.garbage'"));
    }

    [Fact, Trait("Requirement", "CLK-01")]
    public async Task A_node_whose_clock_is_off_refuses_work()
    {
        await using var source = NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]);
        using var clock = new DatabaseClock(source, new Shifted(TimeSpan.FromMinutes(10)));
        Assert.True(clock.MayWork);
        await clock.MeasureAsync(None);
        Assert.False(clock.MayWork);
        using var right = new DatabaseClock(source, TimeProvider.System);
        await right.MeasureAsync(None);
        Assert.True(right.MayWork && right.DatabaseAnswered);
    }

    private sealed class Shifted(TimeSpan by) : TimeProvider { public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + by; }
}
