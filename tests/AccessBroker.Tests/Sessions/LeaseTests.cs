using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Sessions;

/// <summary>Leases while a node or the database is away: frozen for 30 s, not longer, and the card decides all the same.</summary>
public sealed class LeaseTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    private static readonly int[] LongAway = Counts.Long ? [6, 20] : [6];

    private static async Task<HttpStatusCode> AskAsync(TestBrowser browser, string access) => (await browser.UserInfoAsync(access)).StatusCode;

    [Fact]
    public async Task A_session_lives_through_a_database_that_is_away_for_longer_than_a_lease()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        foreach (var seconds in LongAway)
        {
            await Place.PartAsync("kill", "postgres");
            // Meanwhile nothing is granted, and people are told why.
            Assert.Equal(HttpStatusCode.ServiceUnavailable, await AskAsync(browser, access));
            await Task.Delay(TimeSpan.FromSeconds(seconds));
            await Place.PartAsync("start", "postgres");
            // 503 until the terminal has been heard again: never a moment of "signed out", never one of access by hearsay.
            await Eventually.TrueAsync(async () => await AskAsync(browser, access) != HttpStatusCode.ServiceUnavailable, "the database is back", 10);
            for (var i = 0; i < 15; i++)
            {
                Assert.Equal(HttpStatusCode.OK, await AskAsync(browser, access));
                await Task.Delay(200);
            }
        }
        await Terminal.RemoveAsync();
        await Eventually.TrueAsync(async () => await AskAsync(browser, access) == HttpStatusCode.Unauthorized, "card out ends it", 1);
    }

    [Fact]
    public async Task A_card_pulled_while_the_database_is_away_opens_nothing_when_it_is_back()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await Place.PartAsync("kill", "postgres");
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        // Long enough for the node to have to keep the ending in its spool.
        await Task.Delay(1_500);
        await Place.PartAsync("start", "postgres");
        await Eventually.TrueAsync(async () => await AskAsync(browser, access) is var status && status != HttpStatusCode.OK && status != HttpStatusCode.ServiceUnavailable, "it is over", 10);
        // The exact end by the sweep, and what the node had to keep in its spool meanwhile.
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select origin || ' ' || reason || ' ' || coalesce(person, '-') from history.events where operation = 'sessions.end'")) is var events && events.Contains("live sessions.card-removed p-1001") && events.Contains("spool sessions.card-removed -"), "both are recorded");
    }

    [Fact]
    public async Task After_a_restart_of_the_node_the_agent_attaches_with_its_epoch_and_the_session_goes_on()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await _broker.StopAsync();
        await Task.Delay(TimeSpan.FromSeconds(6));
        await _broker.StartAsync();
        await Eventually.TrueAsync(async () => await AskAsync(browser, access) is var status && (status == HttpStatusCode.OK || (status == HttpStatusCode.ServiceUnavailable ? false : throw new InvalidOperationException($"{status}: the session did not live through the restart"))), "the terminal is heard again", 8);
        await Terminal.AttachedAsync();
        await Task.Delay(TimeSpan.FromSeconds(6));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(browser, access));
    }

    [Fact]
    public async Task Leases_are_frozen_for_30_seconds_and_not_longer()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await _broker.StopAsync();
        // As if the last pulse had been so long ago: the lease ended 3 s after it.
        async Task<string> LiveAfter(int seconds) => (await _broker.SqlAsync($"""
            update sessions.pulse set at = clock_timestamp() - interval '{seconds} seconds'; update sessions.leases set until = clock_timestamp() - interval '{seconds - 3} seconds';
            select count(*) from sessions.leases, sessions.lease_clock c where until > c.held_at
            """))[0];
        Assert.Equal("1", await LiveAfter(29));
        Assert.Equal("0", await LiveAfter(31));
        await _broker.StartAsync();
        await Eventually.TrueAsync(async () => await AskAsync(browser, access) == HttpStatusCode.Unauthorized, "31 s are too long", 5);
    }
}
