using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Cards;
using AccessBroker.Passkeys;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Passkeys;

/// <summary>Enrolment and sign-in with keys that tell the truth, and with keys that do not. Segment my-number: the model must be attested.</summary>
public sealed class PasskeyTests(BrokerHost broker) : IClassFixture<BrokerHost>, IAsyncLifetime
{
    private static readonly Guid Model = Guid.Parse("01020304-0506-0708-090a-0b0c0d0e0f10"), Other = Guid.Parse("11111111-2222-3333-4444-555555555555");
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
        await ImportAsync("FIDO_CERTIFIED");
    }

    public async ValueTask DisposeAsync()
    {
        await broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
        await broker.ClearAsync();
    }

    private Task<ImportMetadata.Result> ImportAsync(params string[] statuses) => ImportModelsAsync([(Model, SoftKey.Maker.Root.RawData, statuses)]);

    private Task<ImportMetadata.Result> ImportModelsAsync(IEnumerable<(Guid, byte[], string[])> models) => PasskeySteps.ImportAsync(broker, models);

    private Task<(HttpStatusCode Status, string Code)> EnrolAsync(SoftKey key, Func<Task>? between = null) => PasskeySteps.EnrolAsync(broker, _terminal, key, between);

    private Task<(HttpStatusCode Status, JsonElement Answer)> PostAsync(HttpClient http, string path, object body) => PasskeySteps.PostAsync(broker, http, path, body);

    private Task<(string? Code, string State, string Transaction)> AnswerAsync(TestBrowser browser, SoftKey key, Func<JsonObject, string, Task>? replay = null, params (string Name, string? Value)[] request) => PasskeySteps.AnswerAsync(broker, _terminal, browser, key, replay, request);

    private async Task AssertRefusedAsync(SoftKey key, string reason)
    {
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        Assert.Equal((null, "refused"), (await AnswerAsync(browser, key)) is var (code, state, _) ? (code, state) : default);
        Assert.Equal([reason], await broker.SqlAsync("select reason from history.events where operation = 'sign-in.passkey' order by id desc limit 1"));
    }

    [Fact, Trait("Requirement", "IDN-03"), Trait("Requirement", "IDN-01"), Trait("Requirement", "CRD-11")]
    public async Task A_key_is_enrolled_after_card_and_pin_signs_in_without_a_card_and_its_loss_ends_everything()
    {
        using var key = new SoftKey(Model);
        Assert.Equal((HttpStatusCode.OK, ""), await EnrolAsync(key));
        Assert.Equal(["fido-key|handed-over|登録(本人)"], await broker.SqlAsync("select c.kind, c.state, (select what from registers.entries e where e.register = 'cards' and e.subject = c.id order by id desc limit 1) from cards.cards c where c.person = 'p-1001' and c.kind = 'fido-key'"));
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        key.Counter++;
        var (code, _, transaction) = await AnswerAsync(browser, key);
        using (var complete = await browser.CompleteAsync(transaction, code!)) Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        Assert.Equal(["urn:accessbroker:acr:multi|hwk,user,mfa|True|t-01"], await broker.SqlAsync("select acr, array_to_string(amr, ','), attested, terminal from sessions.sessions where ended_at is null"));
        using (var page = await browser.Http.GetAsync(new Uri("/passkeys", UriKind.Relative))) Assert.Contains("青いキー", WebUtility.HtmlDecode(await page.Content.ReadAsStringAsync()), StringComparison.Ordinal);
        var card = (await broker.SqlAsync("select card from passkeys.keys"))[0];
        await using (var services = CityServices.Of(broker, TimeProvider.System))
            Assert.True(await CardChange.NarrowAsync(services.GetRequiredService<CardChange>(), services.GetRequiredService<AccessBroker.History.HistorySpool>(), AccessBroker.Primitives.CardId.Parse(card), "report-lost", "紛失届", CardChange.Clock, new Dictionary<string, string>()));
        using (var after = await browser.Http.GetAsync(new Uri("/session", UriKind.Relative))) Assert.Equal(HttpStatusCode.Unauthorized, after.StatusCode);
        key.Counter++;
        await AssertRefusedAsync(key, "sign-in.card-lost");
    }

    [Fact, Trait("Requirement", "IDN-03")]
    public async Task What_does_not_prove_its_model_or_its_user_is_not_enrolled()
    {
        using (var none = new SoftKey(Model) { Attestation = "none" }) Assert.Equal((HttpStatusCode.UnprocessableEntity, "passkeys.not-attested"), await EnrolAsync(none));
        using (var self = new SoftKey(Model) { Attestation = "self" }) Assert.Equal("passkeys.not-attested", (await EnrolAsync(self)).Code);
        using (var unknown = new SoftKey(Other)) Assert.Equal("passkeys.model-unknown", (await EnrolAsync(unknown)).Code);
        using (var unverified = new SoftKey(Model) { Verifies = false }) Assert.Equal("passkeys.ceremony-failed", (await EnrolAsync(unverified)).Code);
        using (var elsewhere = new SoftKey(Model) { Origin = "https://localhost.example" }) Assert.Equal("passkeys.ceremony-failed", (await EnrolAsync(elsewhere)).Code);
        using (var late = new SoftKey(Model)) Assert.Equal("passkeys.ceremony-over", (await EnrolAsync(late, () => broker.SqlAsync("update passkeys.ceremonies set expires_at = now() - interval '1 second'"))).Code);
        using (var stale = new SoftKey(Model)) Assert.Equal("passkeys.ceremony-failed", (await EnrolAsync(stale, () => broker.SqlAsync("update sessions.sessions set auth_time = now() - interval '11 minutes' where ended_at is null"))).Code);
        await ImportAsync("FIDO_CERTIFIED", "REVOKED");
        using (var revoked = new SoftKey(Model)) Assert.Equal("passkeys.model-revoked", (await EnrolAsync(revoked)).Code);
        Assert.Empty(await broker.SqlAsync("select 1 from passkeys.keys"));
        Assert.Empty(await broker.SqlAsync("select 1 from cards.cards where kind = 'fido-key'"));
    }

    [Fact, Trait("Requirement", "IDN-03")]
    public async Task Replayed_foreign_unverified_and_unknown_answers_open_nothing()
    {
        using var key = new SoftKey(Model);
        Assert.Equal("", (await EnrolAsync(key)).Code);
        await _terminal.RemoveAsync();
        using (var browser = new TestBrowser(broker))
        {
            key.Counter++;
            // The same answer again, for the same transaction and for another one: used up.
            var (code, _, _) = await AnswerAsync(browser, key, async (posted, transaction) => Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(browser.Http, $"/sign-in/{transaction}/passkey", posted.DeepClone())).Status));
            Assert.NotNull(code);
        }
        using (var unknown = new SoftKey(Model)) await AssertRefusedAsync(unknown, "sign-in.passkey-unknown");
        key.Counter++;
        key.Verifies = false;
        await AssertRefusedAsync(key, "sign-in.passkey-not-proven");
        (key.Verifies, key.Origin) = (true, "https://evil.example");
        await AssertRefusedAsync(key, "sign-in.passkey-not-proven");
        (key.Origin, key.TellsUser) = (null, false);
        await AssertRefusedAsync(key, "sign-in.passkey-not-proven");
        key.TellsUser = true;
        using (var browser = new TestBrowser(broker))
        {
            var transaction = await browser.OpenAsync();
            using (var seat = await _terminal.SeatAsync(await browser.HandleAsync(transaction))) Assert.True(seat.IsSuccessStatusCode);
            var begun = await PostAsync(browser.Http, $"/sign-in/{transaction}/passkey/options", new { });
            await broker.SqlAsync("update passkeys.ceremonies set expires_at = now() - interval '1 second'");
            Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync(browser.Http, $"/sign-in/{transaction}/passkey", new JsonObject { ["ceremony"] = begun.Answer.GetProperty("ceremony").GetString(), ["credential"] = key.Get(begun.Answer.GetProperty("options"), broker.Issuer) })).Status);
            Assert.Equal(["sign-in.passkey-ceremony-over"], await broker.SqlAsync("select reason from history.events where operation = 'sign-in.passkey' order by id desc limit 1"));
        }
        // Before the terminal has claimed it there is nothing to answer.
        using (var browser = new TestBrowser(broker))
        {
            var transaction = await browser.OpenAsync();
            Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(browser.Http, $"/sign-in/{transaction}/passkey/options", new { })).Status);
        }
        // Five refusals, and none of them against the person.
        Assert.Empty(await broker.SqlAsync("select 1 from lockout.counters where subject like 'operator%' and cardinality(failures) > 0"));
        Assert.Equal(["5"], await broker.SqlAsync("select cardinality(failures) from lockout.counters where subject = 'terminal:t-01'"));
    }

    [Fact, Trait("Requirement", "IDN-03")]
    public async Task A_counter_that_goes_back_suspends_the_key_and_somebody_looks_at_it()
    {
        using var key = new SoftKey(Model) { Counter = 10 };
        Assert.Equal("", (await EnrolAsync(key)).Code);
        key.Counter = 10;
        await AssertRefusedAsync(key, "sign-in.passkey-cloned");
        Assert.Equal(["suspended"], await broker.SqlAsync("select state from cards.cards where kind = 'fido-key'"));
        Assert.Equal(["cloned-key|2|p-1001"], await broker.SqlAsync("select kind, level, person from incidents.candidates order by id desc limit 1"));
        key.Counter = 50;
        await AssertRefusedAsync(key, "sign-in.card-suspended");
    }

    [Fact, Trait("Requirement", "NET-07")]
    public async Task A_model_that_is_revoked_takes_its_keys_and_sessions_with_it()
    {
        using var key = new SoftKey(Model);
        Assert.Equal("", (await EnrolAsync(key)).Code);
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        key.Counter++;
        var (code, _, transaction) = await AnswerAsync(browser, key);
        using (var complete = await browser.CompleteAsync(transaction, code!)) Assert.True(complete.IsSuccessStatusCode);
        Assert.Equal(1, (await ImportAsync("REVOKED")).Revoked);
        using (var after = await browser.Http.GetAsync(new Uri("/session", UriKind.Relative))) Assert.Equal(HttpStatusCode.Unauthorized, after.StatusCode);
        Assert.Equal(["revoked"], await broker.SqlAsync("select state from cards.cards where kind = 'fido-key'"));
        Assert.NotEmpty(await broker.SqlAsync("select 1 from notices.notices where person = 'p-1001' and subject like 'パスキーが使えなくなりました%'"));
        key.Counter++;
        await AssertRefusedAsync(key, "sign-in.passkey-model-refused");
        // Rehabilitated: the model is, this key is not.
        await ImportAsync("FIDO_CERTIFIED");
        await AssertRefusedAsync(key, "sign-in.card-revoked");
    }

    [Fact, Trait("Requirement", "NET-07"), Trait("Requirement", "IDN-03")]
    public async Task A_model_that_leaves_the_metadata_or_gets_another_root_takes_the_trust_and_the_session_of_its_keys()
    {
        using var key = new SoftKey(Model);
        Assert.Equal("", (await EnrolAsync(key)).Code);
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        key.Counter++;
        var (code, _, transaction) = await AnswerAsync(browser, key);
        using (var complete = await browser.CompleteAsync(transaction, code!)) Assert.True(complete.IsSuccessStatusCode);
        await ImportModelsAsync([(Model, TestMetadata.Publisher.Root.RawData, ["FIDO_CERTIFIED"])]);
        Assert.Equal(["False"], await broker.SqlAsync("select trusted from passkeys.keys"));
        Assert.Equal(["sessions.passkey-not-trusted"], await broker.SqlAsync("select end_reason from sessions.sessions where person = 'p-1001' order by started_at desc limit 1"));
        // Not attested any more: not enough in this segment.
        key.Counter++;
        Assert.Equal("cancelled", (await AnswerAsync(browser, key)).State);
        await ImportModelsAsync([(Model, SoftKey.Maker.Root.RawData, ["FIDO_CERTIFIED"])]);
        Assert.Equal(["True"], await broker.SqlAsync("select trusted from passkeys.keys"));
        await ImportModelsAsync([(Other, SoftKey.Maker.Root.RawData, ["FIDO_CERTIFIED"])]);
        Assert.Equal(["False"], await broker.SqlAsync("select trusted from passkeys.keys"));
        Assert.Equal(["handed-over"], await broker.SqlAsync("select state from cards.cards where kind = 'fido-key'"));
    }

    [Fact]
    public async Task A_card_for_a_day_enrols_no_key()
    {
        await broker.SqlAsync("update cards.cards set temporary_until = now() + interval '2 hours' where person = 'p-1001' and kind = 'piv-card'");
        try
        {
            using var key = new SoftKey(Model);
            Assert.Equal("passkeys.temporary-card", (await EnrolAsync(key)).Code);
        }
        finally { await broker.SqlAsync("update cards.cards set temporary_until = null where person = 'p-1001' and kind = 'piv-card'"); }
    }

    [Fact, Trait("Requirement", "IDN-20"), Trait("Requirement", "IDN-01")]
    public async Task Where_the_card_is_wanted_a_passkey_is_told_so_and_nothing_is_counted()
    {
        using var key = new SoftKey(Model);
        Assert.Equal("", (await EnrolAsync(key)).Code);
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        key.Counter++;
        var (code, state, transaction) = await AnswerAsync(browser, key, null, ("acr_values", "urn:accessbroker:acr:card"));
        Assert.Equal((null, "cancelled", "needs-card"), (code, state, (await browser.StateAsync(transaction)).GetProperty("cause").GetString()));
        Assert.Empty(await broker.SqlAsync("select 1 from lockout.counters where cardinality(failures) > 0"));
        // The same page goes on with the card.
        await _terminal.InsertAsync("sato");
        _terminal.Types(Place.Pin);
        using var answer = await _terminal.RedeemAsync(await browser.HandleAsync(transaction));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
    }
}
