using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Sessions;

/// <summary>When sessions end, and what two of them do to each other.</summary>
public sealed class SessionTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    [Theory, Trait("Requirement", "SES-03")]
    [InlineData("seen_at = now() - interval '31 minutes'", "sessions.idle-time-out"), InlineData("expires_at = now()", "sessions.absolute-time-out")]
    public async Task Idle_and_absolute_time_outs_end_the_session(string change, string reason)
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await _broker.SqlAsync($"update sessions.sessions set {change} where ended_at is null");
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        await _broker.EventAsync("sessions.end", $"ended {reason} p-1001 t-01");
    }

    [Fact, Trait("Requirement", "SES-03")]
    public async Task Use_within_the_idle_time_keeps_the_session()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await _broker.SqlAsync("update sessions.sessions set seen_at = now() - interval '29 minutes' where ended_at is null");
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        Assert.Equal(["True"], await _broker.SqlAsync("select seen_at > now() - interval '1 minute' from sessions.sessions where ended_at is null"));
    }

    /// <summary>A session that the sweep leaves alone: a usable card, a lease that stands.</summary>
    private Task<List<string>> PlantAsync(string person, string terminal, string epoch) => _broker.SqlAsync($"""
        insert into sessions.leases (terminal, epoch, node, until) values ('{terminal}', '{epoch}', 'other-node', now() + interval '1 minute') on conflict (terminal) do nothing;
        insert into sessions.sessions (id, cookie_hash, person, card, terminal, address, epoch, acr, amr, auth_time, started_at, seen_at, expires_at)
        values ('{Guid.NewGuid():n}', '\x{Guid.NewGuid():n}', '{person}', (select id from cards.cards where state = 'handed-over' limit 1), '{terminal}', '127.0.0.1', '{epoch}', 'a', array['sc'], now(), now(), now(), now() + interval '1 hour')
        """);

    private Task LeasedAsync() => Eventually.TrueAsync(async () => await _broker.SqlAsync("select epoch from sessions.leases where terminal = 't-01'") is [var epoch] && epoch == Terminal.Watch.Epoch, "the new epoch is known");

    [Fact, Trait("Requirement", "SES-05"), Trait("Requirement", "CRD-06")]
    public async Task A_person_with_a_live_session_elsewhere_is_refused_and_it_is_recorded()
    {
        await PlantAsync("p-1001", "t-02", "elsewhere-epoch");
        using var browser = new TestBrowser(_broker);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        using var complete = await browser.CompleteAsync(transaction, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!);
        Assert.Equal(HttpStatusCode.Forbidden, complete.StatusCode);
        Assert.Equal("refused sign-in.session-elsewhere p-1001 t-01", await _broker.LastEventAsync("sign-in.complete"));
        await _broker.SqlAsync("delete from sessions.leases where terminal = 't-02'");
    }

    [Fact, Trait("Requirement", "SES-06")]
    public async Task Somebody_elses_session_at_theTerminal_ends_and_nothing_of_it_is_inherited()
    {
        await LeasedAsync();
        await PlantAsync("p-9001", "t-01", Terminal.Watch.Epoch);
        using var browser = new TestBrowser(_broker);
        await browser.SignInAsync(Terminal);
        Assert.Contains("p-9001|sessions.replaced", await _broker.SqlAsync("select person, end_reason from sessions.sessions where ended_at is not null"));
        Assert.Equal(["p-1001"], await _broker.SqlAsync("select person from sessions.sessions where ended_at is null"));
    }

    [Fact, Trait("Requirement", "SES-08")]
    public async Task A_person_whose_post_ends_loses_a_live_session_s_answers()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await _broker.SqlAsync("update people.posts set valid_until = now() where person = 'p-1001'");
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        await _broker.SqlAsync("update people.posts set valid_until = null where person = 'p-1001'");
    }

    [Fact]
    public async Task A_proof_is_worth_nothing_once_the_card_has_moved()
    {
        using var browser = new TestBrowser(_broker);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        var code = (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!;
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        await LeasedAsync();
        using var complete = await browser.CompleteAsync(transaction, code);
        Assert.Equal(HttpStatusCode.Forbidden, complete.StatusCode);
        Assert.Equal("refused sign-in.card-moved p-1001 t-01", await _broker.LastEventAsync("sign-in.complete"));
    }

    [Theory, Trait("Requirement", "CRD-09")]
    [InlineData("update cards.cards set state = 'lost' where person = 'p-1001'", "sign-in.card-lost"), InlineData("update people.posts set valid_until = now() where person = 'p-1001'", "sign-in.person-not-valid"),
     InlineData("update terminals.grants set valid_until = now() where person = 'p-1001' and terminal = 't-01'", "sign-in.no-grant")]
    public async Task What_is_taken_away_between_proof_and_completion_starts_no_session(string sql, string reason)
    {
        using var browser = new TestBrowser(_broker);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        var code = (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!;
        await _broker.SqlAsync(sql);
        using var complete = await browser.CompleteAsync(transaction, code);
        Assert.Equal(HttpStatusCode.Forbidden, complete.StatusCode);
        Assert.Equal($"refused {reason} p-1001 t-01", await _broker.LastEventAsync("sign-in.complete"));
        Assert.Empty(await _broker.SqlAsync("select id from sessions.sessions where ended_at is null"));
        await _broker.SqlAsync("update people.posts set valid_until = null where person = 'p-1001'; update terminals.grants set valid_until = null where person = 'p-1001'");
    }

    [Fact, Trait("Requirement", "CRD-09")]
    public async Task A_card_reported_lost_ends_what_lives_on_it_also_when_the_history_cannot_be_written()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var card = (await _broker.SqlAsync("select id from cards.cards where person = 'p-1001'"))[0];
        await _broker.SqlAsync("revoke insert on history.events from accessbroker");
        try
        {
            await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "cards", "lost", card], _broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value));
            Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
            Assert.Equal(["lost"], await _broker.SqlAsync($"select state from cards.cards where id = '{card}'"));
        }
        finally { await _broker.SqlAsync("grant insert on history.events to accessbroker"); }
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select operation from history.events where origin = 'spool'")) is var kept && kept.Contains("cards.report-lost") && kept.Contains("sessions.end"), "both events are merged");
    }

    [Fact, Trait("Requirement", "CRD-09")]
    public async Task A_card_reported_lost_ends_what_lives_on_it()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var card = (await _broker.SqlAsync("select id from cards.cards where person = 'p-1001'"))[0];
        await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "cards", "lost", card], _broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value));
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        Assert.Equal("ended sessions.card-lost p-1001 t-01", await _broker.LastEventAsync("sessions.end"));
    }
}
