using System.Net;
using AccessBroker.Cards;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Cards;

/// <summary>Cards at the station, through the pages, on simulated PIV cards in pcscd.</summary>
public sealed class CardLifeTests(BrokerHost broker) : IClassFixture<BrokerHost>, IAsyncLifetime
{
    private const string Fresh = "40718293";
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
    }

    public async ValueTask DisposeAsync()
    {
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        await broker.SqlAsync("update cards.cards set state = 'destroyed' where person in ('p-1005', 'p-1006') and state <> 'destroyed'; update approvals.requests set state = 'withdrawn', closed_at = now() where state in ('open', 'approved')");
        await broker.ClearAsync();
        GC.SuppressFinalize(this);
    }

    private Task<ConsoleBrowser> AsAsync(string card, params string[] types) => ConsoleBrowser.SignInAsync(broker, _terminal, card, types);

    private static async Task<string> BlankAsync()
    {
        var name = $"blank-{Guid.NewGuid():n}"[..14];
        await Desk.AddBlankAsync(name);
        await Desk.InsertAsync(TestTerminal.IssuingReader, name);
        return name;
    }

    private async Task<string> StateAsync(string person) => (await broker.SqlAsync($"select state from cards.cards where person = '{person}' and state <> 'destroyed' order by changed_at desc limit 1")).FirstOrDefault() ?? "";

    /// <summary>From the request to a card that is made; the number of the request and the card's place in the drawer.</summary>
    private async Task<(long Request, string Card)> MakeAsync(string person, string kind = "cards.issue", params (string, string)[] more)
    {
        long request;
        using (var administrator = await AsAsync("admin")) request = await administrator.AskAsync(kind, "配属のため", [("person", person), .. more]);
        var card = await BlankAsync();
        using var manager = await AsAsync("manager");
        var (_, page, to) = await manager.PostAsync($"/cards/station?request={request}&act=make");
        Assert.True(to is not null, ConsoleBrowser.Notice(page));
        Assert.Equal("カードができました。続けて本人に手渡してください。", await manager.WorkAsync(to!));
        Assert.Equal("personalised", await StateAsync(person));
        return (request, card);
    }

    private async Task<string> HandOverAsync(long request, string[] types, bool slip = false)
    {
        using var manager = await AsAsync("manager");
        var (_, page, to) = await manager.PostAsync($"/cards/station?request={request}&act=hand-over", ("Identity", "staff-card"), ("Slip", slip ? "true" : "false"));
        if (to is null) return ConsoleBrowser.Notice(page);
        _terminal.Types(types);
        return await manager.WorkAsync(to);
    }

    [Fact, Trait("Requirement", "CRD-12"), Trait("Requirement", "CRD-13"), Trait("Requirement", "REG-03")]
    public async Task A_card_is_made_handed_over_used_and_its_pin_set_anew_with_a_second_person()
    {
        var (request, card) = await MakeAsync("p-1005");
        // Weak, different, then good twice; nobody but the card ever has it.
        Assert.Equal("手渡しが終わりました。カードは有効です(サインインには、端末の利用許可も要ります)。", await HandOverAsync(request, ["111111", "123456", Fresh, "40718294", Fresh, Fresh]));
        Assert.Contains("試験 五子", _terminal.Asked, StringComparison.Ordinal);
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        using (var operator_ = await AsAsync(card, Fresh)) Assert.Contains("試験 五子", (await operator_.GetAsync("/")).Page, StringComparison.Ordinal);
        Assert.Equal(["done"], await broker.SqlAsync($"select state from approvals.requests where id = {request}"));
        // PIN forgotten: the witness is not the one who sets it, and the PUK has been rotated each time.
        var id = (await broker.SqlAsync("select id from cards.cards where person = 'p-1005' and state = 'handed-over'"))[0];
        var counter = int.Parse((await broker.SqlAsync($"select puk_counter from cards.cards where id = '{id}'"))[0], System.Globalization.CultureInfo.InvariantCulture);
        long unblock;
        using (var administrator = await AsAsync("admin")) unblock = await administrator.AskAsync("cards.unblock", "忘れた", ("person", "p-1005"), ("card", id), ("form", "令8-暗-001"), ("identity", "manager"));
        using (var witness = await AsAsync("chief")) Assert.Contains("承認しました", (await witness.PostAsync($"/requests/{unblock}?act=approve", ("Step", "approve-it"))).Page, StringComparison.Ordinal);
        // The last rotation reached the card but not us: the PUK after the recorded one is found.
        await broker.SqlAsync($"update cards.cards set puk_counter = puk_counter - 1 where id = '{id}'");
        await _terminal.RemoveAsync();
        await Desk.InsertAsync(TestTerminal.IssuingReader, card);
        using (var manager = await AsAsync("manager"))
        {
            var (_, _, to) = await manager.PostAsync($"/cards/station?request={unblock}&act=unblock");
            _terminal.Types("50617283", "50617283", "50617283", "50617283");
            Assert.Equal("新しい暗証番号が設定されました。", await manager.WorkAsync(to!));
        }
        Assert.Equal([$"{counter + 1}"], await broker.SqlAsync($"select puk_counter from cards.cards where id = '{id}'"));
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        using (var operator_ = await AsAsync(card, "50617283"))
        {
            // Changed by its owner, at their own terminal; a wrong present PIN counts like any other.
            var (_, _, to) = await operator_.PostAsync("/cards/mine?act=change-pin");
            _terminal.Types("99999990", "60718294", "60718294");
            Assert.Equal("現在の暗証番号が違います。", await operator_.WorkAsync(to!));
            Assert.Equal(["1"], await broker.SqlAsync("select cardinality(failures) from lockout.counters where subject = 'operator:p-1005'"));
            (_, _, to) = await operator_.PostAsync("/cards/mine?act=change-pin");
            _terminal.Types("50617283", "60718294", "60718294");
            Assert.Equal("暗証番号を変更しました。", await operator_.WorkAsync(to!));
        }
        using (var operator_ = await AsAsync(card, "60718294")) Assert.Equal(HttpStatusCode.OK, (await operator_.GetAsync("/cards/mine")).Status);
        foreach (var pin in (string[])[Fresh, "50617283", "60718294"])
        {
            Assert.DoesNotContain(pin, broker.Log, StringComparison.Ordinal);
            Assert.Empty(await broker.SqlAsync($"select 1 from history.events where details::text like '%{pin}%'"));
            Assert.Empty(await broker.SqlAsync($"select 1 from cards.works where data::text like '%{pin}%'"));
        }
    }

    [Theory, InlineData(3, false), InlineData(6, true), InlineData(9, true), InlineData(14, true)]
    public async Task A_card_pulled_out_while_it_is_made_is_to_be_destroyed_and_the_register_says_so(int after, bool begun)
    {
        long request;
        using (var administrator = await AsAsync("admin")) request = await administrator.AskAsync("cards.issue", "配属のため", ("person", "p-1006"));
        using var manager = await AsAsync("manager");
        await BlankAsync();
        var (_, _, to) = await manager.PostAsync($"/cards/station?request={request}&act=make");
        await Desk.FaultAsync(TestTerminal.IssuingReader, "CutMidCommand", after);
        var told = await manager.WorkAsync(to!);
        var state = await StateAsync("p-1006");
        // Before the first change the card is as it was; after it the register knows.
        Assert.Equal(begun, state.Length > 0);
        if (!begun) Assert.DoesNotContain("廃棄", told, StringComparison.Ordinal);
        else
        {
            Assert.Equal("spoiled", state);
            Assert.Contains("廃棄", told, StringComparison.Ordinal);
            Assert.Equal(["作成失敗(要廃棄)"], await broker.SqlAsync("select what from registers.entries where register = 'cards' order by id desc limit 1"));
            Assert.Contains("作成に失敗したカードの廃棄", (await manager.GetAsync("/")).Page, StringComparison.Ordinal);
        }
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        // Another blank card does it.
        await BlankAsync();
        (_, _, to) = await manager.PostAsync($"/cards/station?request={request}&act=make");
        Assert.Equal("カードができました。続けて本人に手渡してください。", await manager.WorkAsync(to!));
    }

    [Fact, Trait("Requirement", "CRD-12")]
    public async Task A_printed_first_pin_does_nothing_but_set_a_new_one_until_it_is_over()
    {
        var (request, card) = await MakeAsync("p-1006");
        Assert.Equal("手渡しが終わりました。カードは有効です(サインインには、端末の利用許可も要ります)。", await HandOverAsync(request, [], slip: true));
        var printed = System.Text.RegularExpressions.Regex.Match(_terminal.Printed, "仮の暗証番号: ([0-9]{8})").Groups[1].Value;
        Assert.Equal(8, printed.Length);
        Assert.DoesNotContain(printed, broker.Log, StringComparison.Ordinal);
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        await broker.SqlAsync("update cards.cards set first_pin_until = now() - interval '1 minute' where person = 'p-1006'");
        await _terminal.RemoveAsync();
        await _terminal.InsertAsync(card);
        using (var browser = new TestBrowser(broker)) Assert.Equal(HttpStatusCode.Forbidden, (await browser.TryAsync(_terminal)).Answer.StatusCode);
        Assert.Equal("refused sign-in.first-pin-expired p-1006 t-01", await broker.LastEventAsync("sign-in.possession"));
        await broker.SqlAsync("update cards.cards set first_pin_until = now() + interval '1 day' where person = 'p-1006'");
        // Typed, but no new one chosen: no session.
        _terminal.Types(printed, "cancel");
        using (var browser = new TestBrowser(broker)) Assert.Equal(HttpStatusCode.Gone, (await browser.TryAsync(_terminal)).Answer.StatusCode);
        using (var operator_ = await AsAsync(card, printed, Fresh, Fresh)) Assert.Equal(HttpStatusCode.OK, (await operator_.GetAsync("/cards/mine")).Status);
        Assert.Equal("done  p-1006 t-01", await broker.LastEventAsync("cards.first-pin-set"));
        // Somebody may know it: nothing lives on, and the next sign-in begins with another one.
        using (var operator_ = await AsAsync(card, Fresh))
        {
            Assert.Equal("/?reported", (await operator_.PostAsync($"/cards/mine?act=leak&card={(await broker.SqlAsync("select id from cards.cards where person = 'p-1006' and state = 'handed-over'"))[0]}")).To);
            Assert.Equal(["0"], await broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        }
        Assert.Equal("ended cards.suspected-leak p-1006 t-01", await broker.LastEventAsync("cards.report-leak"));
        using (var operator_ = await AsAsync(card, Fresh, "27384950", "27384950")) Assert.Equal(HttpStatusCode.OK, (await operator_.GetAsync("/cards/mine")).Status);
        Assert.Equal(["t"], await broker.SqlAsync("select (first_pin_until is null)::text::char from cards.cards where person = 'p-1006' and state = 'handed-over'"));
    }

    [Fact, Trait("Requirement", "CRD-10"), Trait("Requirement", "CRD-04"), Trait("Requirement", "CRD-09")]
    public async Task A_new_card_is_not_handed_over_while_the_old_one_is_out_and_a_loss_opens_the_way()
    {
        var (request, old) = await MakeAsync("p-1005");
        Assert.Contains("カードは有効です", await HandOverAsync(request, [Fresh, Fresh]), StringComparison.Ordinal);
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        var id = (await broker.SqlAsync("select id from cards.cards where person = 'p-1005' and state = 'handed-over'"))[0];
        (request, _) = await MakeAsync("p-1005", "cards.replace", ("card", id));
        Assert.Contains("古いカードが回収されていません", await HandOverAsync(request, [Fresh, Fresh]), StringComparison.Ordinal);
        using (var administrator = await AsAsync("admin")) Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{id}?act=report-lost", ("Reason", "通勤中に紛失"))).Page, StringComparison.Ordinal);
        Assert.Contains("カードは有効です", await HandOverAsync(request, [Fresh, Fresh]), StringComparison.Ordinal);
        await _terminal.RemoveAsync();
        await _terminal.InsertAsync(old);
        using (var browser = new TestBrowser(broker)) Assert.Equal(HttpStatusCode.Forbidden, (await browser.TryAsync(_terminal)).Answer.StatusCode);
        // Found again: it opens nothing, and goes the way of all cards: collected, received by another, destroyed before a witness.
        using (var administrator = await AsAsync("admin"))
        {
            Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{id}?act=find", ("Reason", "届けられた"))).Page, StringComparison.Ordinal);
            Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{id}?act=collect", ("Reason", "回収"))).Page, StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.PostAsync($"/cards/{id}?act=receive", ("Reason", "自分で受領"))).Status);
        }
        using var manager = await AsAsync("manager");
        Assert.Contains("返還の受領", (await manager.GetAsync("/")).Page, StringComparison.Ordinal);
        Assert.Contains("記録しました", (await manager.PostAsync($"/cards/{id}?act=receive", ("Reason", "受領"))).Page, StringComparison.Ordinal);
        Assert.Contains("別の人", (await manager.PostAsync($"/cards/{id}?act=destroy", ("Reason", "不要"), ("Method", "裁断"), ("Witness", "3001"))).Page, StringComparison.Ordinal);
        Assert.Contains("記録しました", (await manager.PostAsync($"/cards/{id}?act=destroy", ("Reason", "不要"), ("Method", "裁断"), ("Witness", "8001"))).Page, StringComparison.Ordinal);
        Assert.Equal(["廃棄|裁断|p-8001"], await broker.SqlAsync($"select what, fields->>'method', fields->>'witness' from registers.entries where subject = '{id}' order by id desc limit 1"));
    }

    [Fact]
    public async Task A_card_left_at_home_is_lent_for_the_day_counted_and_the_own_one_rests_until_tonight()
    {
        var clock = new TestClock();
        await using var services = CityServices.Of(broker, clock);
        var own = (await broker.SqlAsync("select id from cards.cards where person = 'p-1002' and state = 'handed-over'"))[0];
        var (request, lent) = await MakeAsync("p-1002", "cards.temporary");
        Assert.Contains("カードは有効です", await HandOverAsync(request, [Fresh, Fresh]), StringComparison.Ordinal);
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        Assert.Equal(["suspended"], await broker.SqlAsync($"select state from cards.cards where id = '{own}'"));
        using (var administrator = await AsAsync("admin")) Assert.Contains("1 回", (await administrator.GetAsync("/people/p-1002")).Page, StringComparison.Ordinal);
        Assert.Equal(["True|True"], await broker.SqlAsync("select temporary_until > now(), temporary_until < now() + interval '25 hours' from cards.cards where person = 'p-1002' and temporary_until is not null"));
        clock.Now = clock.Now.AddDays(1).AddHours(1);
        await services.GetRequiredService<CardDates>().TurnAsync(default);
        Assert.Equal(["handed-over"], await broker.SqlAsync($"select state from cards.cards where id = '{own}'"));
        Assert.Equal(["revoked"], await broker.SqlAsync("select state from cards.cards where person = 'p-1002' and temporary_until is not null"));
        // It comes back and is lent to somebody else: the keys of the card are new, its management key is ours.
        var id = (await broker.SqlAsync("select id from cards.cards where temporary_until is not null and person = 'p-1002'"))[0];
        await broker.SqlAsync($"update cards.cards set state = 'returned' where id = '{id}'");
        using (var administrator = await AsAsync("admin")) request = await administrator.AskAsync("cards.temporary", "忘れたため", ("person", "p-1001"));
        await Desk.InsertAsync(TestTerminal.IssuingReader, lent);
        using (var manager = await AsAsync("manager"))
        {
            var (_, _, to) = await manager.PostAsync($"/cards/station?request={request}&act=make");
            Assert.Contains("カードができました", await manager.WorkAsync(to!), StringComparison.Ordinal);
        }
        Assert.Equal(["p-1001|personalised|2"], await broker.SqlAsync($"select person, state, generation from cards.cards where id = '{id}'"));
        await broker.SqlAsync($"update cards.cards set state = 'destroyed' where id = '{id}'");
    }

    [Fact]
    public async Task A_day_card_that_comes_back_early_frees_its_holders_own_card_and_one_that_nobody_came_for_goes_back_to_the_others()
    {
        var clock = new TestClock();
        await using var services = CityServices.Of(broker, clock);
        var own = (await broker.SqlAsync("select id from cards.cards where person = 'p-1001' and state = 'handed-over'"))[0];
        var (request, _) = await MakeAsync("p-1001", "cards.temporary");
        Assert.Contains("カードは有効です", await HandOverAsync(request, [Fresh, Fresh]), StringComparison.Ordinal);
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        var lent = (await broker.SqlAsync("select id from cards.cards where person = 'p-1001' and temporary_until is not null and state = 'handed-over'"))[0];
        using (var administrator = await AsAsync("admin"))
        {
            Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{lent}?act=collect", ("Reason", "早退"))).Page, StringComparison.Ordinal);
            await services.GetRequiredService<CardDates>().TurnAsync(default);
            Assert.Equal(["handed-over"], await broker.SqlAsync($"select state from cards.cards where id = '{own}'"));
        }
        (request, _) = await MakeAsync("p-2001", "cards.temporary");
        clock.Now = clock.Now.AddDays(1).AddHours(1);
        await services.GetRequiredService<CardDates>().TurnAsync(default);
        Assert.Equal(["returned"], await broker.SqlAsync($"select state from cards.cards where request = {request}"));
        await broker.SqlAsync("update cards.cards set state = 'destroyed' where temporary_until is not null");
    }

    [Fact, Trait("Requirement", "CRD-03")]
    public async Task The_only_one_who_could_carry_it_out_is_not_asked_to_be_the_witness_of_it()
    {
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var desk = services.GetRequiredService<AccessBroker.Approvals.RequestDesk>();
        var id = (await broker.SqlAsync("select id from cards.cards where person = 'p-1001' and state = 'handed-over'"))[0];
        var asked = Assert.IsType<AccessBroker.Approvals.RequestDesk.Outcome.Done>(await desk.SubmitAsync(PersonId.Parse("p-9001"), "cards.unblock", new Dictionary<string, string> { ["card"] = id, ["form"] = "令8-暗-002", ["identity"] = "manager" }, "忘れた", default)).Request;
        await broker.SqlAsync("update people.posts set valid_until = now() where person = 'p-3002' and role = 'pin-manager'");
        try
        {
            using (var manager = await AsAsync("manager"))
            {
                Assert.DoesNotContain($"/requests/{asked}", (await manager.GetAsync("/")).Page.Split("お知らせ")[0], StringComparison.Ordinal);
                var page = (await manager.GetAsync($"/requests/{asked}")).Page;
                Assert.DoesNotContain("立会人として承認する", page, StringComparison.Ordinal);
                Assert.Contains("実施できる人がいなくなります", (await manager.PostAsync($"/requests/{asked}?act=approve", ("Step", "approve-it"))).Page, StringComparison.Ordinal);
            }
            Assert.IsType<AccessBroker.Approvals.RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-2001"), asked, "approve-it", "", null, default));
        }
        finally { await broker.SqlAsync("update people.posts set valid_until = null where person = 'p-3002' and role = 'pin-manager'"); }
        Assert.IsType<AccessBroker.Approvals.RequestDesk.Outcome.Done>(await desk.WithdrawAsync(PersonId.Parse("p-9001"), asked, default));
    }

    [Fact, Trait("Requirement", "CRD-12")]
    public async Task A_card_made_for_a_request_that_came_to_nothing_waits_to_be_taken_back()
    {
        var (request, _) = await MakeAsync("p-1006");
        await Desk.RemoveAsync(TestTerminal.IssuingReader);
        using (var administrator = await AsAsync("admin")) Assert.Contains("取り下げました", (await administrator.PostAsync($"/requests/{request}?act=withdraw")).Page, StringComparison.Ordinal);
        using var manager = await AsAsync("manager");
        Assert.Contains("手渡さなかったカードの返還", (await manager.GetAsync("/")).Page, StringComparison.Ordinal);
        var id = (await broker.SqlAsync($"select id from cards.cards where request = {request}"))[0];
        Assert.Contains("記録しました", (await manager.PostAsync($"/cards/{id}?act=receive", ("Reason", "申請の取下げ"))).Page, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "CRD-08")]
    public async Task A_card_in_the_locker_opens_nothing_until_it_is_checked_out()
    {
        var id = (await broker.SqlAsync("select id from cards.cards where person = 'p-1002'"))[0];
        using (var administrator = await AsAsync("admin")) Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{id}?act=check-in", ("Reason", "休暇"), ("Locker", "金庫A-3"))).Page, StringComparison.Ordinal);
        await _terminal.RemoveAsync();
        await _terminal.InsertAsync("suzuki");
        using (var browser = new TestBrowser(broker)) await browser.TryAsync(_terminal);
        Assert.Equal("refused sign-in.card-in-locker p-1002 t-01", await broker.LastEventAsync("sign-in.possession"));
        // The number that the operator was told leads whoever is called to the reason, and the look-up is on record.
        var receipt = (await broker.SqlAsync("select receipt from history.events where reason = 'sign-in.card-in-locker' order by id desc limit 1"))[0];
        using (var manager = await AsAsync("manager"))
        {
            var page = (await manager.PostAsync("/receipts", ("Number", $"{receipt[..4]} {receipt[4..]}".ToLowerInvariant()))).Page;
            Assert.Contains("このカードの状態は「保管中」です", page, StringComparison.Ordinal);
            Assert.Contains("試験 二郎", page, StringComparison.Ordinal);
            Assert.Contains("見つかりません", (await manager.PostAsync("/receipts", ("Number", "ZZZZZZZZ"))).Page, StringComparison.Ordinal);
        }
        Assert.Equal(["yes", "no"], await broker.SqlAsync("select details->>'found' from history.events where operation = 'sign-in.read-receipts' order by id desc limit 2").ContinueWith(t => Enumerable.Reverse(t.Result).ToList(), TaskScheduler.Default));
        Assert.Equal(["unusable-card|p-1002"], await broker.SqlAsync("select kind, person from incidents.candidates order by id desc limit 1"));
        using (var administrator = await AsAsync("admin")) Assert.Contains("記録しました", (await administrator.PostAsync($"/cards/{id}?act=check-out", ("Reason", "出勤"))).Page, StringComparison.Ordinal);
        Assert.Equal(["handed-over"], await broker.SqlAsync($"select state from cards.cards where id = '{id}'"));
    }

    [Theory, Trait("Requirement", "CRD-11")]
    [InlineData("personalised", "hand-over", "handed-over"), InlineData("handed-over", "report-lost", "lost"), InlineData("lost", "hand-over", null), InlineData("handed-over", "destroy", null), InlineData("revoked", "destroy", null), InlineData("collected", "receive", "returned"),
     InlineData("destroyed", "report-lost", null), InlineData("spoiled", "hand-over", null), InlineData("in-locker", "check-out", "handed-over"), InlineData("suspended", "revoke", "revoked"), InlineData("lost", "find", "revoked"), InlineData("returned", "no-such-act", null)]
    public void The_cycle_is_the_same_for_cards_fido_keys_and_tokens(string from, string act, string? to) => Assert.Equal(to, CardRule.After(from, act));
}
