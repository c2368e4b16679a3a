using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace AccessBroker.Tests.FileServer;

/// <summary>Two nodes with an nginx each over the same files: what ends at one ends at the other; a node that cannot know lets nobody in.</summary>
public sealed class TwoNodeFileTests(TwoNodeFileTests.City broker) : IClassFixture<TwoNodeFileTests.City>, IAsyncLifetime
{
    public sealed class City : TwoNodes
    {
        private FilesNginx? _files;
        internal FilesNginx Files => _files ??= new(DataDirectory, 2);
        protected override IEnumerable<KeyValuePair<string, string>> SettingsOf(int index) => Files.SettingsOf(index);
        protected override Task ArrangeAsync() => Files.StartAsync();
        protected override Task EndAsync() => Files.StopAsync();
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        await broker.SqlAsync("delete from people.suspensions where by_person = 'test'; delete from file_permissions.uses; delete from file_permissions.grants; insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/公開', 'x', 1, now(), 'test') on conflict do nothing");
        _terminal = await broker.TerminalAsync();
    }

    public ValueTask DisposeAsync() => new(broker.ClearAsync());

    private async Task<int> StatusAsync(ConsoleBrowser me, int node)
    {
        using var response = await me.Http.GetAsync(new Uri($"{broker.Files.OriginOf(node)}/公開/お知らせ.txt"));
        return (int)response.StatusCode;
    }

    private Task<List<string>> GrantAsync(string until) => broker.SqlAsync($"insert into file_permissions.grants (resource, subject, actions, valid_from, valid_until, reason, requested_by, approved_by) values ('/公開', 'person:p-1001', array['read'], now() - interval '1 minute', {until}, 'x', 'x', 'x')");

    private async Task<ConsoleBrowser> EnterAsync()
    {
        var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        var to = new Uri(broker.Files.Origin + "/");
        for (var hop = 0; hop < 4; hop++)
        {
            using var response = await me.Http.GetAsync(to);
            if (response.Headers.Location is not { } next) break;
            to = new Uri(to, next);
        }
        return me;
    }

    private async Task BothAsync(ConsoleBrowser me, int status, string what)
    {
        for (var node = 0; node < 2; node++) await Eventually.TrueAsync(async () => await StatusAsync(me, node) == status, $"{what} at node {node + 1}: {status}, but it is {await StatusAsync(me, node)}");
    }

    [Theory, Trait("Requirement", "FIL-01"), Trait("Requirement", "SES-07"), InlineData("revoke", 403), InlineData("expiry", 403), InlineData("suspend", 302), InlineData("card", 302)]
    public async Task What_ends_ends_at_both_nodes(string cause, int then)
    {
        await GrantAsync(cause == "expiry" ? "now() + interval '6 seconds'" : "now() + interval '1 day'");
        using var me = await EnterAsync();
        await BothAsync(me, 200, "granted");
        if (cause == "card") await _terminal.RemoveAsync();
        else if (cause == "revoke") await broker.SqlAsync("update file_permissions.grants set ended_at = now(), ended_by = 'test'");
        else if (cause == "suspend")
            await broker.SqlAsync("insert into people.suspensions (person, by_person, reason, since) values ('p-1001', 'test', 'x', now() - interval '1 second')");
        await BothAsync(me, then, cause);
    }

    /// <summary>A monotonic clock that stands, until it is moved.</summary>
    private sealed class StoppedWatch : TimeProvider
    {
        internal TimeSpan Ahead { get; set; }
        public override long TimestampFrequency => TimeSpan.TicksPerSecond;
        public override long GetTimestamp() => Ahead.Ticks;
    }

    /// <summary>A node that has not heard for a second whether rights changed refuses everybody, and knows again as soon as it hears.</summary>
    [Fact, Trait("Requirement", "FIL-01")]
    public async Task Who_cannot_know_refuses()
    {
        await GrantAsync("now() + interval '1 day'");
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        var clock = new StoppedWatch();
        using var decisions = new FileDecisions(store, new Wakeups(null), clock, NullLogger<FileDecisions>.Instance);
        var person = PersonId.Parse("p-1001");
        await Assert.ThrowsAsync<FileRightsUnknownException>(async () => await decisions.DecideAsync(person, "/公開/a", "read", default));
        await decisions.RefreshAsync(default);
        Assert.True((await decisions.DecideAsync(person, "/公開/a", "read", default)).Allowed);
        clock.Ahead += TimeSpan.FromSeconds(1.001);
        await Assert.ThrowsAsync<FileRightsUnknownException>(async () => await decisions.DecideAsync(person, "/公開/a", "read", default));
        await decisions.RefreshAsync(default);
        Assert.True((await decisions.DecideAsync(person, "/公開/a", "read", default)).Allowed);
    }
}
