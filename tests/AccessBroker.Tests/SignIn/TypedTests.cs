using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using AccessBroker.OneTimeCodes;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

/// <summary>Segment lgwan: one-time codes and passwords, enrolled through the pages and brought together at the sign-in page.</summary>
public sealed class TypedTests(TypedTests.Lgwan broker) : IClassFixture<TypedTests.Lgwan>, IAsyncLifetime
{
    public sealed class Lgwan : BrokerHost
    {
        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__Segment", "lgwan")];

        protected override void ChangePolicies(string directory)
        {
            var file = Path.Combine(directory, "assurance.yaml");
            File.WriteAllText(file, File.ReadAllText(file).Replace("22:00-06:00", "", StringComparison.Ordinal).Replace("clients: {}", "clients: { other-system: card }", StringComparison.Ordinal));
        }
    }

    private const string Password = "みどりの自転車 8台 kaze", Person = "1001";
    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await broker.SqlAsync("delete from one_time_codes.tokens; delete from cards.cards where kind = 'otp-token'; delete from passwords.current; delete from passwords.former");
        await broker.ClearAsync();
    }

    private static string CodeAt(byte[] seed, int steps = 0) => Totp.Hotp(seed, Totp.StepAt(DateTimeOffset.UtcNow, TimeSpan.FromSeconds(30)) + steps, 6, HashAlgorithmName.SHA1);

    private static byte[] FromBase32(string text)
    {
        var (bytes, value, bits) = (new List<byte>(), 0, 0);
        foreach (var c in text)
        {
            (value, bits) = ((value << 5) | "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".IndexOf(c, StringComparison.Ordinal), bits + 5);
            if (bits < 8) continue;
            bytes.Add((byte)(value >> (bits - 8)));
            (bits, value) = (bits - 8, value & ((1 << (bits - 8)) - 1));
        }
        return [.. bytes];
    }

    private static async Task<byte[]> EnrolAsync(ConsoleBrowser me)
    {
        var (_, page, _) = await me.PostAsync("/one-time-codes", ("act", "begin"));
        Assert.Contains("<path d=\"M", page, StringComparison.Ordinal);
        var seed = FromBase32(Regex.Match(page, "class=\"code\">([A-Z2-7]+)<").Groups[1].Value);
        Assert.Equal(20, seed.Length);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await me.PostAsync("/one-time-codes", ("act", "confirm"), ("Code", CodeAt(seed, 50)))).Status);
        // The first code is used up by the enrolment: one of the step before leaves the present one for the test.
        var (status, done, _) = await me.PostAsync("/one-time-codes", ("act", "confirm"), ("Code", CodeAt(seed, -1)), ("Name", "貸与スマートフォン"));
        Assert.True(status == HttpStatusCode.OK, ConsoleBrowser.Notice(done));
        return seed;
    }

    /// <summary>Card sign-in, an app enrolled, a password set.</summary>
    private async Task<byte[]> EnrolBothAsync()
    {
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        var seed = await EnrolAsync(me);
        var (status, page, _) = await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password));
        Assert.True(status == HttpStatusCode.OK, ConsoleBrowser.Notice(page));
        await me.PostAsync("/sign-out");
        await _terminal.RemoveAsync();
        return seed;
    }

    private async Task<string> ClaimAsync(TestBrowser browser, params (string, string?)[] request)
    {
        var transaction = await browser.OpenAsync(request);
        using var seat = await _terminal.SeatAsync(await browser.HandleAsync(transaction));
        Assert.Equal(HttpStatusCode.OK, seat.StatusCode);
        return transaction;
    }

    private static async Task<(HttpStatusCode Status, JsonElement Answer)> TypeAsync(TestBrowser browser, string transaction, object typed, string path = "typed")
    {
        using var response = await browser.PostAsync($"/sign-in/{transaction}/{path}", typed);
        return (response.StatusCode, await response.Content.ReadFromJsonAsync<JsonElement>());
    }

    private async Task<(HttpStatusCode Status, JsonElement Answer)> TryAsync(TestBrowser browser, string person, string password, string code) =>
        await TypeAsync(browser, await ClaimAsync(browser, ("prompt", "login")), new { person, password, code });

    /// <summary>Somebody watches while the PIN manager hands over what opens a door.</summary>
    private async Task WitnessAsync(long request)
    {
        using var witness = await ConsoleBrowser.SignInAsync(broker, _terminal, "chief");
        var (status, page, _) = await witness.PostAsync($"/requests/{request}?act=approve", ("Step", "approve-it"));
        Assert.True(status != HttpStatusCode.Forbidden, ConsoleBrowser.Notice(page));
    }

    private async Task<string> ReasonAsync() => (await broker.SqlAsync("select reason from history.events where operation = 'sign-in.typed' order by id desc limit 1"))[0];

    [Fact, Trait("Requirement", "IDN-02"), Trait("Requirement", "IDN-06")]
    public async Task Password_and_code_together_open_a_session_and_each_alone_opens_nothing()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(broker);
        // Full-width digits, as an IME leaves them.
        var typed = string.Concat(CodeAt(seed).Select(c => (char)(c - '0' + '０')));
        var transaction = await ClaimAsync(browser);
        foreach (var half in (object[])[new { person = Person, password = Password, code = "" }, new { person = Person, password = "", code = typed }, new { password = Password, code = typed }])
            Assert.Equal("sign-in.both-needed", (await TypeAsync(browser, transaction, half)).Answer.GetProperty("code").GetString());
        var (_, answer) = await TypeAsync(browser, transaction, new { person = "１００１", password = Password, code = typed });
        using (var complete = await browser.CompleteAsync(transaction, answer.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        Assert.Equal(["urn:accessbroker:acr:multi|otp,pwd,mfa|t-01|p-1001"], await broker.SqlAsync("select acr, array_to_string(amr, ','), terminal, person from sessions.sessions where ended_at is null"));
        // The token is lost: the session ends with the same commit, and its codes are worth nothing.
        var card = (await broker.SqlAsync("select id from cards.cards where kind = 'otp-token'"))[0];
        using (var lost = new HttpRequestMessage(HttpMethod.Post, $"/cards/mine?act=lost&card={card}") { Headers = { { "Sec-Fetch-Site", "same-origin" } } })
        using (await browser.Http.SendAsync(lost)) Assert.Equal(["0"], await broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, 1))).Status);
        Assert.Equal("sign-in.card-lost", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "IDN-06")]
    public async Task One_code_submitted_fifty_times_at_once_opens_exactly_one_session()
    {
        var seed = await EnrolBothAsync();
        await broker.SqlAsync("update sessions.sessions set ended_at = now(), end_reason = 'test' where ended_at is null");
        var browsers = Enumerable.Range(0, 50).Select(_ => new TestBrowser(broker)).ToList();
        var transactions = new List<string>();
        foreach (var browser in browsers) transactions.Add(await ClaimAsync(browser));
        var code = CodeAt(seed);
        var answers = await Task.WhenAll(browsers.Zip(transactions, (b, t) => TypeAsync(b, t, new { person = Person, password = Password, code })));
        Assert.Equal(1, answers.Count(a => a.Status == HttpStatusCode.OK));
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from sign_in.transactions where state = 'proven' and id in ('{string.Join("','", transactions)}')"));
        browsers.ForEach(b => b.Dispose());
    }

    [Theory, Trait("Requirement", "IDN-06"), Trait("Requirement", "CLK-01")]
    [InlineData(-1, true), InlineData(0, true), InlineData(1, true), InlineData(-3, false), InlineData(3, false)]
    public async Task A_token_that_is_ninety_seconds_off_is_refused_and_one_step_is_not(int steps, bool accepted)
    {
        var seed = await EnrolBothAsync();
        await broker.SqlAsync("update one_time_codes.tokens set last_step = 0, drift = 0");
        using var browser = new TestBrowser(broker);
        Assert.Equal(accepted ? HttpStatusCode.OK : HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, steps))).Status);
        // What was learnt once is expected the next time.
        if (!accepted) return;
        Assert.Equal([$"{steps}"], await broker.SqlAsync("select drift from one_time_codes.tokens"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed, steps))).Status);
        Assert.Equal("sign-in.code-used", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "LCK-01"), Trait("Requirement", "PWD-02")]
    public async Task Whoever_has_half_is_counted_and_nobody_learns_which_half_was_wrong()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(broker);
        var seen = new List<string>();
        async Task TryWrongAsync(string person, string password, string code, string reason)
        {
            var (status, answer) = await TryAsync(browser, person, password, code);
            seen.Add($"{status} {answer.GetProperty("code").GetString()} {answer.GetProperty("detail").GetString()}");
            Assert.Equal(reason, await ReasonAsync());
        }
        await TryWrongAsync("9999", Password, CodeAt(seed), "sign-in.unknown-person");
        await TryWrongAsync(Person, "まちがい のことば 123", CodeAt(seed, 30), "sign-in.wrong-password-and-code");
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from lockout.counters where subject = 'operator:p-1001'"));
        await TryWrongAsync(Person, Password, CodeAt(seed, 30), "sign-in.wrong-code");
        await TryWrongAsync(Person, "まちがい のことば 123", CodeAt(seed), "sign-in.wrong-password");
        Assert.Equal(["2"], await broker.SqlAsync("select cardinality(failures) from lockout.counters where subject = 'operator:p-1001'"));
        // The right code beside a wrong password is used up.
        await TryWrongAsync(Person, Password, CodeAt(seed), "sign-in.code-used");
        Assert.Single(seen.Distinct());
        // Locked now: the right pair says so, and opens nothing.
        var locked = await TryAsync(browser, Person, Password, CodeAt(seed, 1));
        Assert.Equal(HttpStatusCode.Forbidden, locked.Status);
        Assert.StartsWith("lockout.", await ReasonAsync(), StringComparison.Ordinal);
        // And so does the wrong one: a lock is no oracle for passwords.
        await broker.SqlAsync("update one_time_codes.tokens set last_step = 0");
        var transaction = await ClaimAsync(browser);
        await TypeAsync(browser, transaction, new { person = Person, password = "まちがい のことば 123", code = CodeAt(seed) });
        Assert.Equal("locked", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        // Their owner sees them at the next sign-in.
        await broker.SqlAsync("truncate lockout.counters");
        using var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.NotEqual(["0"], await broker.SqlAsync("select count(*) from history.events where person = 'p-1001' and operation = 'sign-in.typed' and outcome = 'refused'"));
    }

    [Fact, Trait("Requirement", "LCK-04"), Trait("Requirement", "CRD-09")]
    public async Task A_lost_token_locks_nobody_out_and_its_use_is_looked_at()
    {
        var seed = await EnrolBothAsync();
        await broker.SqlAsync("update cards.cards set state = 'lost' where kind = 'otp-token'; delete from incidents.candidates");
        using var browser = new TestBrowser(broker);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, "まちがい のことば 123", CodeAt(seed))).Status);
        Assert.Equal("sign-in.card-lost", await ReasonAsync());
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from lockout.counters where subject = 'operator:p-1001'"));
        Assert.Equal(["unusable-card"], await broker.SqlAsync("select kind from incidents.candidates"));
    }

    /// <summary>Between the proof and the session, or the new password, the person says that somebody knows it.</summary>
    [Fact, Trait("Requirement", "PWD-03"), Trait("Requirement", "PWD-05")]
    public async Task What_was_proven_before_a_leak_or_a_reset_opens_and_sets_nothing_after_it()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(broker);
        var transaction = await ClaimAsync(browser);
        var (_, answer) = await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) });
        await broker.SqlAsync("delete from passwords.current");
        using (var complete = await browser.CompleteAsync(transaction, answer.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.Forbidden, complete.StatusCode);
        Assert.Equal("refused sign-in.password-changed p-1001 t-01", await broker.LastEventAsync("sign-in.complete"));
        // The same in the state that sets one's own: whatever took the temporary value's place stays.
        await broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
        foreach (var meanwhile in (string[])["delete from passwords.current", "update passwords.current set hash = hash || 'x'", "update passwords.current set temporary_until = now() - interval '1 second'"])
        {
            await broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; delete from passwords.current; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
            transaction = await ClaimAsync(browser);
            Assert.True((await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) })).Answer.GetProperty("newPassword").GetBoolean());
            await broker.SqlAsync(meanwhile);
            var before = await broker.SqlAsync("select hash, temporary_until from passwords.current");
            Assert.Equal(HttpStatusCode.NotFound, (await TypeAsync(browser, transaction, new { password = "庭に二羽にわとりがいる朝" }, "new-password")).Status);
            Assert.Equal(before, await broker.SqlAsync("select hash, temporary_until from passwords.current"));
        }
        // Refused at the last step: nothing was set.
        await broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; delete from passwords.current; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
        transaction = await ClaimAsync(browser);
        await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) });
        await broker.SqlAsync("update cards.cards set state = 'lost' where kind = 'otp-token'");
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { password = "庭に二羽にわとりがいる朝" }, "new-password")).Status);
        Assert.Equal(["True"], await broker.SqlAsync("select temporary_until is not null from passwords.current"));
    }

    [Fact]
    public async Task What_no_text_can_be_is_an_entry_that_is_missing()
    {
        using var browser = new TestBrowser(broker);
        var transaction = await ClaimAsync(browser);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await TypeAsync(browser, transaction, new { person = "1", password = "x", code = "\ufffe" })).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { person = "\ufffe", password = "\ufffe", code = "123456" })).Status);
    }

    [Fact, Trait("Requirement", "IDN-01")]
    public async Task A_relying_party_that_needs_a_card_says_so()
    {
        var seed = await EnrolBothAsync();
        await broker.SqlAsync("update terminals.terminals set system = 'juki' where id = 't-01'");
        using var browser = new TestBrowser(broker);
        var transaction = await ClaimAsync(browser, ("client_id", "other-system"), ("redirect_uri", "https://127.0.0.2:9/juki"), ("scope", "openid"));
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) })).Status);
        Assert.Equal("cancelled needs-card", await browser.StateAsync(transaction) is var state ? $"{state.GetProperty("value")} {state.GetProperty("cause")}" : "");
        await broker.SqlAsync("update terminals.terminals set system = 'koseki' where id = 't-01'");
    }

    [Fact, Trait("Requirement", "PWD-05"), Trait("Requirement", "CRD-12"), Trait("Requirement", "PWD-07"), Trait("Requirement", "PWD-01")]
    public async Task A_temporary_password_only_sets_ones_own()
    {
        byte[] seed;
        using (var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato")) seed = await EnrolAsync(me);
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin")) request = await administrator.AskAsync("passwords.reset", "新任のため", ("person", "p-1001"));
        await WitnessAsync(request);
        string temporary;
        using (var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager"))
        {
            var (status, page, _) = await manager.PostAsync($"/password/issue?request={request}", ("Identity", "staff-card"));
            Assert.Equal(HttpStatusCode.OK, status);
            temporary = Regex.Match(page, "<code>([a-z0-9-]{19})</code>").Groups[1].Value;
            Assert.Equal(HttpStatusCode.Conflict, (await manager.PostAsync($"/password/issue?request={request}", ("Identity", "staff-card"))).Status);
            Assert.DoesNotContain(temporary, (await manager.GetAsync($"/password/issue?request={request}")).Page, StringComparison.Ordinal);
        }
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        var transaction = await ClaimAsync(browser);
        var (_, asked) = await TypeAsync(browser, transaction, new { person = Person, password = temporary, code = CodeAt(seed) });
        Assert.True(asked.GetProperty("newPassword").GetBoolean());
        Assert.Equal("new-password", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null and person = 'p-1001'"));
        // Another browser has no part in it, and a weak one, or the temporary one again, is refused.
        using (var stranger = new TestBrowser(broker)) Assert.Equal(HttpStatusCode.NotFound, (await TypeAsync(stranger, transaction, new { password = Password }, "new-password")).Status);
        foreach (var weak in (string[])["short", "password1234567", "試験一子1001abcd", temporary]) Assert.Equal(HttpStatusCode.UnprocessableEntity, (await TypeAsync(browser, transaction, new { password = weak }, "new-password")).Status);
        var (_, done) = await TypeAsync(browser, transaction, new { password = Password }, "new-password");
        using (var complete = await browser.CompleteAsync(transaction, done.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, temporary, CodeAt(seed, 1))).Status);
        Assert.Equal("sign-in.wrong-password", await ReasonAsync());
        // One whose time is over sets nothing.
        await broker.SqlAsync("update passwords.current set temporary_until = now() - interval '1 second'; update one_time_codes.tokens set last_step = 0; truncate lockout.counters");
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        Assert.Equal("sign-in.wrong-password", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "PWD-03"), Trait("Requirement", "PWD-07")]
    public async Task A_suspected_leak_leaves_no_session_and_the_password_is_worthless()
    {
        var seed = await EnrolBothAsync();
        using (var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato"))
        {
            Assert.Contains("前に使った", (await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Page, StringComparison.Ordinal);
            Assert.Equal("/?reported", (await me.PostAsync("/password", ("act", "leak"))).To);
            Assert.Equal(HttpStatusCode.Redirect, (await me.GetAsync("/password")).Status);
        }
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        Assert.Equal(["suspected-leak|p-1001"], await broker.SqlAsync("select kind, reported_by from incidents.candidates order by id desc limit 1"));
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        // The same one is not taken again.
        using var again = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato");
        Assert.Contains("前に使った", (await again.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Page, StringComparison.Ordinal);
    }

    [Fact, Trait("Requirement", "CRD-11"), Trait("Requirement", "IDN-06")]
    public async Task A_vendors_file_becomes_stock_and_a_token_is_handed_over_for_a_request()
    {
        var seed = RandomNumberGenerator.GetBytes(20);
        var container = $"""
            <?xml version="1.0"?><KeyContainer Version="1.0" xmlns="urn:ietf:params:xml:ns:keyprov:pskc"><KeyPackage><DeviceInfo><Manufacturer>Maker</Manufacturer><SerialNo>HW-77</SerialNo></DeviceInfo>
            <Key Id="1" Algorithm="urn:ietf:params:xml:ns:keyprov:pskc:totp"><AlgorithmParameters><ResponseFormat Length="6" Encoding="DECIMAL"/></AlgorithmParameters><Data><Secret><PlainValue>{Convert.ToBase64String(seed)}</PlainValue></Secret><TimeInterval><PlainValue>30</PlainValue></TimeInterval></Data></Key></KeyPackage></KeyContainer>
            """;
        async Task<HttpStatusCode> ImportAsync(ConsoleBrowser manager, string text)
        {
            using var form = new MultipartFormDataContent { { new ByteArrayContent(Encoding.UTF8.GetBytes(text)), "file", "tokens.xml" }, { new StringContent(""), "key" } };
            using var post = new HttpRequestMessage(HttpMethod.Post, "/one-time-codes/stock") { Content = form, Headers = { { "Sec-Fetch-Site", "same-origin" } } };
            using var response = await manager.Http.SendAsync(post);
            return response.StatusCode;
        }
        using (var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "sysman"))
        {
            Assert.Equal(HttpStatusCode.UnprocessableEntity, await ImportAsync(manager, container.Replace("totp", "hotp", StringComparison.Ordinal)));
            Assert.Equal(HttpStatusCode.OK, await ImportAsync(manager, container));
            Assert.Equal(HttpStatusCode.UnprocessableEntity, await ImportAsync(manager, container));
            Assert.Contains("HW-77", (await manager.GetAsync("/one-time-codes/stock")).Page, StringComparison.Ordinal);
        }
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin"))
        {
            Assert.Contains("在庫にありません", (await administrator.PostAsync("/requests/new/one-time-codes.issue", ("Reason", "貸与"), ("Given[person]", "p-1001"), ("Given[serial]", "HW-78"))).Page, StringComparison.Ordinal);
            request = await administrator.AskAsync("one-time-codes.issue", "貸与", ("person", "p-1001"), ("serial", "HW-77"));
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.GetAsync("/one-time-codes/stock")).Status);
        }
        using (var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager")) Assert.NotEqual(HttpStatusCode.Forbidden, (await manager.PostAsync($"/requests/{request}?act=execute", ("Note", ""))).Status);
        Assert.Equal(["p-1001|HW-77|handed-over"], await broker.SqlAsync("select t.person, t.serial, c.state from one_time_codes.tokens t join cards.cards c on c.id = t.card"));
        using (var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato"))
            Assert.Equal(HttpStatusCode.OK, (await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Status);
        await _terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        Assert.Equal(HttpStatusCode.OK, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        await AssertNowhereInClearAsync(seed);
    }

    /// <summary>A dump of the database and the broker's log: no seed, no password, in no usual form; the control is found.</summary>
    private async Task AssertNowhereInClearAsync(byte[] seed)
    {
        var (_, dump, _) = await Place.RunAsync("pg_dump", ["-h", $"{Place.Directory}/sql", "-U", "accessbroker_owner", "--inserts", broker.DatabaseName]);
        var text = dump + broker.Log;
        Assert.Contains("HW-77", text, StringComparison.Ordinal);
        Assert.Contains(Convert.ToHexString((await ReadSealedAsync())), text, StringComparison.OrdinalIgnoreCase);
        foreach (var form in (string[])[Convert.ToHexString(seed), Convert.ToBase64String(seed).TrimEnd('='), Base32.Encode(seed), Password]) Assert.DoesNotContain(form, text, StringComparison.OrdinalIgnoreCase);
    }

    private async Task<byte[]> ReadSealedAsync() => Convert.FromHexString((await broker.SqlAsync("select encode(sealed, 'hex') from one_time_codes.tokens"))[0]);

    [Fact, Trait("Requirement", "PRV-22")]
    public async Task A_contractor_enrols_nothing_and_the_pin_manager_does_it_for_a_request()
    {
        using (var contractor = await ConsoleBrowser.SignInAsync(broker, _terminal, "contractor"))
        {
            Assert.Equal(HttpStatusCode.Forbidden, (await contractor.PostAsync("/one-time-codes", ("act", "begin"))).Status);
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await contractor.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await PasskeySteps.PostAsync(broker, contractor.Http, "/passkeys/options", new { })).Status);
        }
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(broker, _terminal, "admin")) request = await administrator.AskAsync("passkeys.issue", "保守契約", ("person", "p-6001"));
        using var key = new SoftKey(Guid.NewGuid()) { Attestation = "none" };
        async Task<(HttpStatusCode, string)> IssueAsync(ConsoleBrowser who)
        {
            var begun = await PasskeySteps.PostAsync(broker, who.Http, $"/passkeys/options?request={request}", new { });
            if (begun.Status != HttpStatusCode.OK) return (begun.Status, "");
            var (status, answer) = await PasskeySteps.PostAsync(broker, who.Http, $"/passkeys/register?request={request}", new { ceremony = begun.Answer.GetProperty("ceremony").GetString(), credential = key.Create(begun.Answer.GetProperty("options"), broker.Issuer), name = "委託先" });
            return (status, answer.TryGetProperty("code", out var code) ? code.GetString()! : "");
        }
        using (var me = await ConsoleBrowser.SignInAsync(broker, _terminal, "sato")) Assert.Equal((HttpStatusCode.Forbidden, ""), await IssueAsync(me));
        using var manager = await ConsoleBrowser.SignInAsync(broker, _terminal, "manager");
        Assert.Contains("委託 太郎", (await manager.GetAsync($"/passkeys/issue?request={request}")).Page, StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.OK, ""), await IssueAsync(manager));
        Assert.Equal(["p-6001|登録(暗証番号管理者)|done"], await broker.SqlAsync($"select k.person, (select what from registers.entries e where e.register = 'cards' and e.subject = k.card order by id desc limit 1), (select state from approvals.requests where id = {request}) from passkeys.keys k"));
        Assert.NotEqual(HttpStatusCode.OK, (await IssueAsync(manager)).Item1);
        await broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
    }
}
