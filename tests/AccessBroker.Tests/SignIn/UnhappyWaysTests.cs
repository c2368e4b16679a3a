using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

/// <summary>Design §3's table: what is refused, what the person is told, what the history knows.</summary>
public sealed class UnhappyWaysTests(BrokerHost broker) : AtTerminal(broker), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    private static async Task RefusedWithReceiptAsync(TestBrowser browser, string transaction)
    {
        var state = await browser.StateAsync(transaction);
        Assert.Equal("refused", state.GetProperty("value").GetString());
        Assert.Matches("^[2-9A-HJKMNP-Z]{8}$", state.GetProperty("receipt").GetString());
        Assert.Equal(JsonValueKind.Null, state.GetProperty("cause").ValueKind);
    }

    [Fact, Trait("Requirement", "IDN-01"), Trait("Requirement", "IDN-20")]
    public async Task Card_and_pin_sign_in()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        var callback = await browser.SignInAsync(Terminal);
        Assert.StartsWith(TestBrowser.RedirectUri, callback.OriginalString, StringComparison.Ordinal);
        Assert.Equal("the-state", TestBrowser.Parameter(callback, "state"));
        Assert.Equal(_broker.Issuer, TestBrowser.Parameter(callback, "iss"));
        Assert.Contains("公開クライアント", Terminal.Asked, StringComparison.Ordinal);
        Assert.Equal("done  p-1001 t-01", await _broker.LastEventAsync("sign-in.complete"));
    }

    [Fact, Trait("Requirement", "LCK-01"), Trait("Requirement", "LCK-02")]
    public async Task Three_wrong_pins_lock_the_operator_at_thisTerminal_before_the_card_blocks()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types("11111111", "22222222", "33333333", Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.Contains("あと2回誤ると、この端末をしばらく使えなくなります(カードの残り 5 回)", Terminal.Asked, StringComparison.Ordinal);
        Assert.Contains("あと1回誤ると、この端末をしばらく使えなくなります(カードの残り 4 回)", Terminal.Asked, StringComparison.Ordinal);
        Assert.Equal(3, Terminal.Asked.Split("GETPIN").Length - 1);
        var state = await browser.StateAsync(transaction);
        Assert.Equal("locked", state.GetProperty("value").GetString());
        Assert.Equal("operator", state.GetProperty("cause").GetString());
        Assert.Matches("^[0-2][0-9]:[0-5][0-9]$", state.GetProperty("until").GetString());
        Assert.Equal("ended lockout.operator-locked-at-terminal p-1001 t-01", await _broker.LastEventAsync("lockout.lock"));
        // The right PIN does not help now, and nobody asks for it.
        Terminal.Types(Place.Pin);
        (_, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.DoesNotContain("GETPIN", Terminal.Asked, StringComparison.Ordinal);
        // The lock is this operator's: a colleague signs in here, and the card itself still has tries.
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("admin");
        using var colleague = new TestBrowser(_broker);
        await colleague.SignInAsync(Terminal);
        await _broker.SqlAsync("truncate lockout.counters");
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        await browser.SignInAsync(Terminal);
    }

    [Fact, Trait("Requirement", "LCK-01")]
    public async Task A_lockedTerminal_spends_no_pin_try_and_says_until_when()
    {
        await _broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by, locked_until) select 'terminal:t-01', array_agg(now() - interval '1 minute'), array_agg(''::text), now() + interval '20 minutes' from generate_series(1, 10)");
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        var commands = await Desk.CommandsAsync(0);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.Equal("locked", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        Assert.DoesNotContain("GETPIN", Terminal.Asked, StringComparison.Ordinal);
        Assert.Equal(commands, await Desk.CommandsAsync(0));
        Assert.Equal("refused lockout.terminal-locked - t-01", await _broker.LastEventAsync("sign-in.claim"));
        // The other terminal still works.
        var second = await _broker.TerminalAsync("t-02");
        await Terminal.RemoveAsync();
        await second.InsertAsync("sato");
        await browser.SignInAsync(second);
    }

    [Theory]
    [InlineData("lost", "sign-in.card-lost", "p-1003"), Trait("Requirement", "CRD-09")]
    [InlineData("suzuki", "sign-in.no-grant", "p-1002"), Trait("Requirement", "TRM-01")]
    [InlineData("left", "sign-in.person-not-valid", "p-1004"), Trait("Requirement", "IDN-09"), Trait("Requirement", "IDN-04")]
    public async Task Refused_before_the_pin_with_one_same_sentence(string card, string reason, string person)
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync(card);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        await RefusedWithReceiptAsync(browser, transaction);
        Assert.DoesNotContain("GETPIN", Terminal.Asked, StringComparison.Ordinal);
        Assert.Equal($"refused {reason} {person} t-01", await _broker.LastEventAsync("sign-in.possession"));
        // Counted against the terminal, never against the person.
        Assert.Equal(["terminal:t-01"], await _broker.SqlAsync("select subject from lockout.counters"));
    }

    [Fact]
    public async Task A_card_that_is_not_on_the_register_is_refused()
    {
        await _broker.SqlAsync("create table kept as select * from cards.cards where person = 'p-1001'; delete from cards.cards where person = 'p-1001'");
        try
        {
            using var browser = new TestBrowser(_broker);
            await Terminal.InsertAsync("sato");
            var (transaction, _) = await browser.TryAsync(Terminal);
            await RefusedWithReceiptAsync(browser, transaction);
            Assert.Equal("refused sign-in.unknown-card - t-01", await _broker.LastEventAsync("sign-in.possession"));
        }
        finally { await _broker.SqlAsync("insert into cards.cards select * from kept; drop table kept"); }
    }

    [Fact, Trait("Requirement", "TRM-05")]
    public async Task An_agent_without_enrolment_is_not_attached()
    {
        var options = Terminal.Options;
        options.DataDirectory = Path.Combine(_broker.DataDirectory, "nobody");
        await Terminal.StopAsync();
        await using var agent = AccessBroker.TerminalAgent.AgentHost.Build(options);
        await agent.StartAsync();
        using var browser = new TestBrowser(_broker);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.Equal("handed", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        await agent.StopAsync();
        await Terminal.StartAsync();
    }

    [Theory, Trait("Requirement", "IDN-14")]
    [InlineData("https://evil.example", null)]
    [InlineData("null", null)]
    [InlineData(null, "evil.example")]
    [InlineData(null, "localhost")]
    public async Task The_agent_answers_neither_a_foreign_origin_nor_a_forged_host(string? origin, string? host)
    {
        using var browser = new TestBrowser(_broker);
        var transaction = await browser.OpenAsync();
        using var answer = await Terminal.RedeemAsync(await browser.HandleAsync(transaction), origin, host);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.False(answer.Headers.Contains("Access-Control-Allow-Origin"));
        Assert.Equal("handed", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
    }

    [Fact]
    public async Task A_handle_of_another_machine_is_refused_before_any_pin()
    {
        using var elsewhere = new TestBrowser(_broker, "127.0.0.5");
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await elsewhere.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        await RefusedWithReceiptAsync(elsewhere, transaction);
        // Nothing was in the caller's hands: the terminal is not locked by it.
        Assert.Empty(await _broker.SqlAsync("select subject from lockout.counters"));
        Assert.DoesNotContain("GETPIN", Terminal.Asked, StringComparison.Ordinal);
        Assert.Equal("refused sign-in.browser-elsewhere - t-01", await _broker.LastEventAsync("sign-in.claim"));
    }

    [Fact]
    public async Task A_code_brought_by_another_browser_opens_nothing_and_is_burnt()
    {
        using var browser = new TestBrowser(_broker);
        using var thief = new TestBrowser(_broker);
        await thief.OpenAsync();
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        var code = (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!;
        using var stolen = await thief.CompleteAsync(transaction, code);
        Assert.Equal(HttpStatusCode.Forbidden, stolen.StatusCode);
        Assert.False(stolen.Headers.Contains("Set-Cookie"));
        Assert.Equal("refused sign-in.code-without-browser p-1001 t-01", await _broker.LastEventAsync("sign-in.complete"));
        using var late = await browser.CompleteAsync(transaction, code);
        Assert.Equal(HttpStatusCode.NotFound, late.StatusCode);
    }

    [Fact]
    public async Task A_code_without_any_cookie_opens_nothing()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        using var bare = new TestBrowser(_broker);
        using var refused = await bare.CompleteAsync(transaction, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!);
        Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);
        Assert.Empty(await _broker.SqlAsync("select id from sessions.sessions where ended_at is null"));
    }

    [Fact]
    public async Task A_replayed_sign_in_code_and_a_replayed_handle_are_refused()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin, Place.Pin);
        var transaction = await browser.OpenAsync();
        var handle = await browser.HandleAsync(transaction);
        using var answer = await Terminal.RedeemAsync(handle);
        var code = (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!;
        Assert.Equal(HttpStatusCode.OK, (await browser.CompleteAsync(transaction, code)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await browser.CompleteAsync(transaction, code)).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await Terminal.RedeemAsync(handle)).StatusCode);
    }

    [Fact]
    public async Task Two_tabs_are_independent()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        var first = await browser.OpenAsync(("state", "one"));
        var second = await browser.OpenAsync(("state", "two"));
        Terminal.Types("wait");
        var waiting = Terminal.RedeemAsync(await browser.HandleAsync(first));
        await Eventually.TrueAsync(async () => (await browser.StateAsync(first)).GetProperty("value").GetString() == "pin", "the first tab asks for the PIN");
        // One prompt at a time: the second tab is told so, and its transaction is untouched.
        Assert.Equal(HttpStatusCode.Conflict, (await Terminal.RedeemAsync(await browser.HandleAsync(second))).StatusCode);
        Assert.Equal("pin", (await browser.StateAsync(first)).GetProperty("value").GetString());
        await Terminal.RemoveAsync();
        Assert.Equal(HttpStatusCode.Gone, (await waiting).StatusCode);
        Assert.Equal("card-removed", (await browser.StateAsync(first)).GetProperty("cause").GetString());
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin);
        using var answer = await Terminal.RedeemAsync(await browser.HandleAsync(second));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("cancelled", (await browser.StateAsync(first)).GetProperty("value").GetString());
    }

    [Fact]
    public async Task Cancel_and_a_malformed_pin_cost_no_try()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types("12", "abcdefgh", "cancel");
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Gone, answer.StatusCode);
        Assert.Equal("cancelled", (await browser.StateAsync(transaction)).GetProperty("cause").GetString());
        Assert.Contains("6〜8桁", Terminal.Asked, StringComparison.Ordinal);
        Assert.Empty(await _broker.SqlAsync("select subject from lockout.counters"));
        // The same page tries again.
        Terminal.Types(Place.Pin);
        using var again = await Terminal.RedeemAsync(await browser.HandleAsync(transaction));
        Assert.Equal(HttpStatusCode.OK, again.StatusCode);
    }

    [Fact]
    public async Task A_pin_tried_outside_the_broker_is_noticed()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        await browser.SignInAsync(Terminal);
        await _broker.SqlAsync("update cards.cards set tries_left = 7 where person = 'p-1001'");
        await browser.SignInAsync(Terminal, ("prompt", "login"));
        Assert.Equal("refused cards.pin-tried-elsewhere p-1001 t-01", await _broker.LastEventAsync("cards.pin-tried-elsewhere"));
    }

    [Fact, Trait("Requirement", "LCK-02")]
    public async Task Wrong_pins_that_were_kept_from_the_broker_count_all_the_same()
    {
        await _broker.SqlAsync("update cards.cards set tries_left = 9 where person = 'p-1001'");
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types(Place.Pin);
        var (transaction, _) = await browser.TryAsync(Terminal);
        Assert.Equal("operator", (await browser.StateAsync(transaction)).GetProperty("cause").GetString());
        Assert.DoesNotContain("GETPIN", Terminal.Asked, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "LCK-02")]
    public async Task A_new_handle_is_refused_while_the_prompt_is_open()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        var transaction = await browser.OpenAsync();
        Terminal.Types("wait");
        var waiting = Terminal.RedeemAsync(await browser.HandleAsync(transaction));
        await Eventually.TrueAsync(async () => (await browser.StateAsync(transaction)).GetProperty("value").GetString() == "pin", "the prompt is open");
        using var refused = await browser.PostAsync($"/sign-in/{transaction}/handle", new { });
        Assert.Equal(HttpStatusCode.Conflict, refused.StatusCode);
        Assert.Equal("pin", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        await Terminal.RemoveAsync();
        await waiting;
    }

    [Fact, Trait("Requirement", "LCK-04")]
    public async Task A_success_clears_the_persons_own_counter_here_and_no_other()
    {
        using var browser = new TestBrowser(_broker);
        await Terminal.InsertAsync("sato");
        Terminal.Types("11111111", Place.Pin);
        await browser.TryAsync(Terminal);
        Assert.Equal(["operator-at-terminal:p-1001@t-01|0", "operator:p-1001|1", "terminal:t-01|1"], await _broker.SqlAsync("select subject, cardinality(failures) from lockout.counters order by subject"));
    }

    [Fact]
    public async Task An_empty_reader_is_told_on_the_page()
    {
        using var browser = new TestBrowser(_broker);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Gone, answer.StatusCode);
        Assert.Equal("no-card", (await browser.StateAsync(transaction)).GetProperty("cause").GetString());
    }
}
