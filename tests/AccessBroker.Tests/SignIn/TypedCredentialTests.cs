using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using AccessBroker.OneTimeCodes;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

/// <summary>How tokens and passwords come about, and how they become worthless.</summary>
public sealed class TypedCredentialTests(TypedCity.City broker) : TypedCity(broker)
{
    [Fact, Trait("Requirement", "PWD-03"), Trait("Requirement", "PWD-05")]
    public async Task What_was_proven_before_a_leak_or_a_reset_opens_and_sets_nothing_after_it()
    {
        var seed = await EnrolBothAsync();
        using var browser = new TestBrowser(Broker);
        var transaction = await ClaimAsync(browser);
        var (_, answer) = await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) });
        await Broker.SqlAsync("delete from passwords.current");
        using (var complete = await browser.CompleteAsync(transaction, answer.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.Forbidden, complete.StatusCode);
        Assert.Equal("refused sign-in.password-changed p-1001 t-01", await Broker.LastEventAsync("sign-in.complete"));
        // The same in the state that sets one's own: whatever took the temporary value's place stays.
        await Broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
        foreach (var meanwhile in (string[])["delete from passwords.current", "update passwords.current set hash = hash || 'x'", "update passwords.current set temporary_until = now() - interval '1 second'"])
        {
            await Broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; delete from passwords.current; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
            transaction = await ClaimAsync(browser);
            Assert.True((await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) })).Answer.GetProperty("newPassword").GetBoolean());
            await Broker.SqlAsync(meanwhile);
            var before = await Broker.SqlAsync("select hash, temporary_until from passwords.current");
            Assert.Equal(HttpStatusCode.NotFound, (await TypeAsync(browser, transaction, new { password = "庭に二羽にわとりがいる朝" }, "new-password")).Status);
            Assert.Equal(before, await Broker.SqlAsync("select hash, temporary_until from passwords.current"));
        }
        // Refused at the last step: nothing was set.
        await Broker.SqlAsync($"update one_time_codes.tokens set last_step = 0; delete from passwords.current; insert into passwords.current (person, hash, set_at, temporary_until) values ('p-1001', '{await AccessBroker.Passwords.PasswordHash.MakeAsync(Password, default)}', now(), now() + interval '1 hour')");
        transaction = await ClaimAsync(browser);
        await TypeAsync(browser, transaction, new { person = Person, password = Password, code = CodeAt(seed) });
        await Broker.SqlAsync("update cards.cards set state = 'lost' where kind = 'otp-token'");
        Assert.Equal(HttpStatusCode.Forbidden, (await TypeAsync(browser, transaction, new { password = "庭に二羽にわとりがいる朝" }, "new-password")).Status);
        Assert.Equal(["True"], await Broker.SqlAsync("select temporary_until is not null from passwords.current"));
    }

    [Fact, Trait("Requirement", "PWD-05"), Trait("Requirement", "CRD-12"), Trait("Requirement", "PWD-07"), Trait("Requirement", "PWD-01")]
    public async Task A_temporary_password_only_sets_ones_own()
    {
        byte[] seed;
        using (var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato")) seed = await EnrolAsync(me);
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(Broker, Terminal, "admin")) request = await administrator.AskAsync("passwords.reset", "新任のため", ("person", "p-1001"));
        await WitnessAsync(request);
        string temporary;
        using (var manager = await ConsoleBrowser.SignInAsync(Broker, Terminal, "manager"))
        {
            var (status, page, _) = await manager.PostAsync($"/password/issue?request={request}", ("Identity", "staff-card"));
            Assert.Equal(HttpStatusCode.OK, status);
            temporary = Regex.Match(page, "<code>([a-z0-9-]{19})</code>").Groups[1].Value;
            Assert.Equal(HttpStatusCode.Conflict, (await manager.PostAsync($"/password/issue?request={request}", ("Identity", "staff-card"))).Status);
            Assert.DoesNotContain(temporary, (await manager.GetAsync($"/password/issue?request={request}")).Page, StringComparison.Ordinal);
        }
        await Terminal.RemoveAsync();
        using var browser = new TestBrowser(Broker);
        var transaction = await ClaimAsync(browser);
        var (_, asked) = await TypeAsync(browser, transaction, new { person = Person, password = temporary, code = CodeAt(seed) });
        Assert.True(asked.GetProperty("newPassword").GetBoolean());
        Assert.Equal("new-password", (await browser.StateAsync(transaction)).GetProperty("value").GetString());
        Assert.Equal(["0"], await Broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null and person = 'p-1001'"));
        // Another browser has no part in it, and a weak one, or the temporary one again, is refused.
        using (var stranger = new TestBrowser(Broker)) Assert.Equal(HttpStatusCode.NotFound, (await TypeAsync(stranger, transaction, new { password = Password }, "new-password")).Status);
        foreach (var weak in (string[])["short", "password1234567", "試験一子1001abcd", temporary]) Assert.Equal(HttpStatusCode.UnprocessableEntity, (await TypeAsync(browser, transaction, new { password = weak }, "new-password")).Status);
        var (_, done) = await TypeAsync(browser, transaction, new { password = Password }, "new-password");
        using (var complete = await browser.CompleteAsync(transaction, done.GetProperty("code").GetString()!)) Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, temporary, CodeAt(seed, 1))).Status);
        Assert.Equal("sign-in.wrong-password", await ReasonAsync());
        // One whose time is over sets nothing.
        await Broker.SqlAsync("update passwords.current set temporary_until = now() - interval '1 second'; update one_time_codes.tokens set last_step = 0; truncate lockout.counters");
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        Assert.Equal("sign-in.wrong-password", await ReasonAsync());
    }

    [Fact, Trait("Requirement", "PWD-03"), Trait("Requirement", "PWD-07")]
    public async Task A_suspected_leak_leaves_no_session_and_the_password_is_worthless()
    {
        var seed = await EnrolBothAsync();
        using (var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato"))
        {
            Assert.Contains("前に使った", (await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Page, StringComparison.Ordinal);
            Assert.Equal("/?reported", (await me.PostAsync("/password", ("act", "leak"))).To);
            Assert.Equal(HttpStatusCode.Redirect, (await me.GetAsync("/password")).Status);
        }
        Assert.Equal(["0"], await Broker.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        Assert.Equal(["suspected-leak|p-1001"], await Broker.SqlAsync("select kind, reported_by from incidents.candidates order by id desc limit 1"));
        await Terminal.RemoveAsync();
        using var browser = new TestBrowser(Broker);
        Assert.Equal(HttpStatusCode.Forbidden, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        // The same one is not taken again.
        using var again = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato");
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
        using (var manager = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sysman"))
        {
            Assert.Equal(HttpStatusCode.UnprocessableEntity, await ImportAsync(manager, container.Replace("totp", "hotp", StringComparison.Ordinal)));
            Assert.Equal(HttpStatusCode.OK, await ImportAsync(manager, container));
            Assert.Equal(HttpStatusCode.UnprocessableEntity, await ImportAsync(manager, container));
            Assert.Contains("HW-77", (await manager.GetAsync("/one-time-codes/stock")).Page, StringComparison.Ordinal);
        }
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(Broker, Terminal, "admin"))
        {
            Assert.Contains("在庫にありません", (await administrator.PostAsync("/requests/new/one-time-codes.issue", ("Reason", "貸与"), ("Given[person]", "p-1001"), ("Given[serial]", "HW-78"))).Page, StringComparison.Ordinal);
            request = await administrator.AskAsync("one-time-codes.issue", "貸与", ("person", "p-1001"), ("serial", "HW-77"));
            Assert.Equal(HttpStatusCode.Forbidden, (await administrator.GetAsync("/one-time-codes/stock")).Status);
        }
        using (var manager = await ConsoleBrowser.SignInAsync(Broker, Terminal, "manager")) Assert.NotEqual(HttpStatusCode.Forbidden, (await manager.PostAsync($"/requests/{request}?act=execute", ("Note", ""))).Status);
        Assert.Equal(["p-1001|HW-77|handed-over"], await Broker.SqlAsync("select t.person, t.serial, c.state from one_time_codes.tokens t join cards.cards c on c.id = t.card"));
        using (var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato"))
            Assert.Equal(HttpStatusCode.OK, (await me.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Status);
        await Terminal.RemoveAsync();
        using var browser = new TestBrowser(Broker);
        Assert.Equal(HttpStatusCode.OK, (await TryAsync(browser, Person, Password, CodeAt(seed))).Status);
        await AssertNowhereInClearAsync(seed);
    }

    /// <summary>A dump of the database and the broker's log: no seed, no password, in no usual form; the control is found.</summary>
    private async Task AssertNowhereInClearAsync(byte[] seed)
    {
        var (_, dump, _) = await Place.RunAsync("pg_dump", ["-h", $"{Place.Directory}/sql", "-U", "accessbroker_owner", "--inserts", Broker.DatabaseName]);
        var text = dump + Broker.Log;
        Assert.Contains("HW-77", text, StringComparison.Ordinal);
        Assert.Contains(Convert.ToHexString((await ReadSealedAsync())), text, StringComparison.OrdinalIgnoreCase);
        foreach (var form in (string[])[Convert.ToHexString(seed), Convert.ToBase64String(seed).TrimEnd('='), Base32.Encode(seed), Password]) Assert.DoesNotContain(form, text, StringComparison.OrdinalIgnoreCase);
    }

    private async Task<byte[]> ReadSealedAsync() => Convert.FromHexString((await Broker.SqlAsync("select encode(sealed, 'hex') from one_time_codes.tokens"))[0]);

    [Fact, Trait("Requirement", "PRV-22")]
    public async Task A_contractor_enrols_nothing_and_the_pin_manager_does_it_for_a_request()
    {
        using (var contractor = await ConsoleBrowser.SignInAsync(Broker, Terminal, "contractor"))
        {
            Assert.Equal(HttpStatusCode.Forbidden, (await contractor.PostAsync("/one-time-codes", ("act", "begin"))).Status);
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await contractor.PostAsync("/password", ("act", "set"), ("New", Password), ("Again", Password))).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await PasskeySteps.PostAsync(Broker, contractor.Http, "/passkeys/options", new { })).Status);
        }
        long request;
        using (var administrator = await ConsoleBrowser.SignInAsync(Broker, Terminal, "admin")) request = await administrator.AskAsync("passkeys.issue", "保守契約", ("person", "p-6001"));
        using var key = new SoftKey(Guid.NewGuid()) { Attestation = "none" };
        async Task<(HttpStatusCode, string)> IssueAsync(ConsoleBrowser who)
        {
            var begun = await PasskeySteps.PostAsync(Broker, who.Http, $"/passkeys/options?request={request}", new { });
            if (begun.Status != HttpStatusCode.OK) return (begun.Status, "");
            var (status, answer) = await PasskeySteps.PostAsync(Broker, who.Http, $"/passkeys/register?request={request}", new { ceremony = begun.Answer.GetProperty("ceremony").GetString(), credential = key.Create(begun.Answer.GetProperty("options"), Broker.Issuer), name = "委託先" });
            return (status, answer.TryGetProperty("code", out var code) ? code.GetString()! : "");
        }
        using (var me = await ConsoleBrowser.SignInAsync(Broker, Terminal, "sato")) Assert.Equal((HttpStatusCode.Forbidden, ""), await IssueAsync(me));
        using var manager = await ConsoleBrowser.SignInAsync(Broker, Terminal, "manager");
        Assert.Contains("委託 太郎", (await manager.GetAsync($"/passkeys/issue?request={request}")).Page, StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.OK, ""), await IssueAsync(manager));
        Assert.Equal(["p-6001|登録(暗証番号管理者)|done"], await Broker.SqlAsync($"select k.person, (select what from registers.entries e where e.register = 'cards' and e.subject = k.card order by id desc limit 1), (select state from approvals.requests where id = {request}) from passkeys.keys k"));
        Assert.NotEqual(HttpStatusCode.OK, (await IssueAsync(manager)).Item1);
        await Broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
    }
}
