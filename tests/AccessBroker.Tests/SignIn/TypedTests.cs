using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

/// <summary>Staff number, password and one-time code at the sign-in page.</summary>
public sealed class TypedTests(TypedCity.City broker) : TypedCity(broker)
{
    [Fact, Trait("Requirement", "IDN-02"), Trait("Requirement", "IDN-06")]
    public async Task Password_and_code_together_open_a_session_and_each_alone_opens_nothing()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(Broker);
        // Full-width digits, as an IME leaves them.
        var typed = string.Concat(CodeAt(seed).Select(c => (char)(c - '0' + '０')));
        var transaction = await ClaimAsync(browser);
        foreach (var half in (object[])[new { person = Person, password = Password, code = "" }, new { person = Person, password = "", code = typed }, new { password = Password, code = typed }])
            Assert.Equal("sign-in.both-needed", (await TypeAsync(browser, transaction, half)).Answer.GetProperty("code").GetString());
        var (_, answer) = await TypeAsync(browser, transaction, new { person = "１００１", password = Password, code = typed });
        using (var complete = await browser.CompleteAsync(transaction, answer.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        Assert.Equal(["urn:accessbroker:acr:multi|otp,pwd,mfa|t-01|p-1001"], await Broker.SqlAsync("select acr, array_to_string(amr, ','), terminal, person from sessions.sessions where ended_at is null"));
        // The token is lost: the session ends with the same commit, and its codes are worth nothing.
        var card = (await Broker.SqlAsync("select id from cards.cards where kind = 'otp-token'"))[0];
        using (var lost = new HttpRequestMessage(HttpMethod.Post, $"/cards/mine?act=lost&card={card}") { Headers = { { "Sec-Fetch-Site", "same-origin" } } })
        using (await browser.Http.SendAsync(lost)) Assert.Equal(["0"], await Broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, 1))).Status);
        Assert.Equal("sign-in.card-lost", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "IDN-06")]
    public async Task One_code_submitted_fifty_times_at_once_opens_exactly_one_session()
    {
        var seed = await EnrolBothAsync();
        await Broker.SqlAsync("update sessions.sessions set ended_at = now(), end_reason = 'test' where ended_at is null");
        var browsers = Enumerable.Range(0, 50).Select(_ => new TestBrowser(Broker)).ToList();
        var transactions = new List<string>();
        foreach (var browser in browsers) transactions.Add(await ClaimAsync(browser));
        var code = CodeAt(seed);
        var answers = await Task.WhenAll(browsers.Zip(transactions, (b, t) => TypeAsync(b, t, new { person = Person, password = Password, code })));
        Assert.Equal(1, answers.Count(a => a.Status == HttpStatusCode.OK));
        Assert.Equal(["1"], await Broker.SqlAsync($"select count(*) from sign_in.transactions where state = 'proven' and id in ('{string.Join("','", transactions)}')"));
        browsers.ForEach(b => b.Dispose());
    }

    [Theory, Trait("Requirement", "IDN-06"), Trait("Requirement", "CLK-01")]
    [InlineData(-1, true), InlineData(0, true), InlineData(1, true), InlineData(-3, false), InlineData(3, false)]
    public async Task A_token_that_is_ninety_seconds_off_is_refused_and_one_step_is_not(int steps, bool accepted)
    {
        var seed = await EnrolBothAsync();
        await Broker.SqlAsync("update one_time_codes.tokens set last_step = 0, drift = 0");
        using var browser = new TestBrowser(Broker);
        Assert.Equal(accepted ? HttpStatusCode.OK : HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, steps))).Status);
        // What was learnt once is expected the next time.
        if (!accepted) return;
        Assert.Equal([$"{steps}"], await Broker.SqlAsync("select drift from one_time_codes.tokens"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, steps))).Status);
        Assert.Equal("sign-in.code-used", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "LCK-01"), Trait("Requirement", "PWD-02")]
    public async Task Whoever_has_half_is_counted_and_nobody_learns_which_half_was_wrong()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(Broker);
        var seen = new List<string>();
        async Task TryWrongAsync(string person, string password, string code, string reason)
        {
            var (status, answer) = await TryAsync(browser, person, password, code);
            seen.Add($"{status} {answer.GetProperty("code").GetString()} {answer.GetProperty("detail").GetString()}");
            Assert.Equal(reason, await ReasonAsync());
        }
        await TryWrongAsync("9999", Password, CodeAt(seed), "sign-in.unknown-person");
        await TryWrongAsync(Person, "まちがい のことば 123", CodeAt(seed, 30), "sign-in.wrong-password-and-code");
        Assert.Equal(["0"], await Broker.SqlAsync("select count(*) from lockout.counters where subject = 'operator:p-1001'"));
        await TryWrongAsync(Person, Password, CodeAt(seed, 30), "sign-in.wrong-code");
        await TryWrongAsync(Person, "まちがい のことば 123", CodeAt(seed), "sign-in.wrong-password");
        Assert.Equal(["2"], await Broker.SqlAsync("select cardinality(failures) from lockout.counters where subject = 'operator:p-1001'"));
        // The right code beside a wrong password is used up.
        await TryWrongAsync(Person, Password, CodeAt(seed), "sign-in.code-used");
        Assert.Single(seen.Distinct());
        // Locked now: the right pair says so, and opens nothing.
        var locked = await TryAsync(browser, Person, Password, CodeAt(seed, 1));
        Assert.Equal(HttpStatusCode.Forbidden, locked.Status);
        Assert.StartsWith("lockout.", await ReasonAsync(), StringComparison.Ordinal);
        // And so does the wrong one: a lock is no oracle for passwords.
        await Broker.SqlAsync("update one_time_codes.tokens set last_step = 0");
        var transaction = await ClaimAsync(browser);
        await TypeAsync(browser, transaction, new { person = Person, password = "まちがい のことば 123", code = CodeAt(seed) });
        Assert.Equal("locked", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        // Their owner sees them at the next sign-in.
        await Broker.SqlAsync("truncate lockout.counters");
        using var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato");
        Assert.NotEqual(["0"], await Broker.SqlAsync("select count(*) from history.events where person = 'p-1001' and operation = 'sign-in.typed' and outcome = 'refused'"));
    }

    [Fact, Trait("Requirement", "LCK-04"), Trait("Requirement", "CRD-09")]
    public async Task A_lost_token_locks_nobody_out_and_its_use_is_looked_at()
    {
        var seed = await EnrolBothAsync();
        await Broker.SqlAsync("update cards.cards set state = 'lost' where kind = 'otp-token'; delete from incidents.candidates");
        using var browser = new TestBrowser(Broker);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, "まちがい のことば 123", CodeAt(seed))).Status);
        Assert.Equal("sign-in.card-lost", await ReasonAsync());
        Assert.Equal(["0"], await Broker.SqlAsync("select count(*) from lockout.counters where subject = 'operator:p-1001'"));
        Assert.Equal(["unusable-card"], await Broker.SqlAsync("select kind from incidents.candidates"));
    }

    /// <summary>Between the proof and the session, or the new password, the person says that somebody knows it.</summary>
    [Fact]
    public async Task What_no_text_can_be_is_an_entry_that_is_missing()
    {
        using var browser = new TestBrowser(Broker);
        var transaction = await ClaimAsync(browser);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await TypeAsync(browser, transaction, new { person = "1", password = "x", code = "\ufffe" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { person = "\ufffe", password = "\ufffe", code = "123456" })).Status);
    }

    [Fact, Trait("Requirement", "IDN-01")]
    public async Task A_relying_party_that_needs_a_card_says_so()
    {
        var seed = await EnrolBothAsync();
        await Broker.SqlAsync("update terminals.terminals set system = 'juki' where id = 't-01'");
        using var browser = new TestBrowser(Broker);
        var transaction = await ClaimAsync(browser, ("client_id", "other-system"), ("redirect_uri", "https://127.0.0.2:9/juki"), ("scope", "openid"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) })).Status);
        Assert.Equal("cancelled needs-card", await browser.StateAsync(transaction) is var state ? $"{state.GetProperty("value")} {state.GetProperty("cause")}" : "");
        await Broker.SqlAsync("update terminals.terminals set system = 'koseki' where id = 't-01'");
    }
}
