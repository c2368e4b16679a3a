using System.Net;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Passkeys;

/// <summary>Segment lgwan: a key without attestation is enough, unless something is odd; then it is not, and the page says what is.</summary>
public sealed class RiskTests(RiskTests.NewTerminals broker) : IClassFixture<RiskTests.NewTerminals>, IAsyncLifetime
{
    public sealed class NewTerminals : Lgwan
    {
        // The hour of the test is no sign here; odd hours have a test of their own.
        protected override void ChangePolicies(string directory) => ByDay.Change(directory, ("new-terminal: false", "new-terminal: true"));
    }

    private TestTerminal _terminal = null!;

    public async ValueTask InitializeAsync()
    {
        await broker.ClearAsync();
        _terminal = await broker.TerminalAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await broker.SqlAsync("delete from passkeys.keys; delete from cards.cards where kind = 'fido-key'");
        await broker.ClearAsync();
    }

    private async Task<string> TryAsync(SoftKey key)
    {
        await _terminal.RemoveAsync();
        key.Counter++;
        using var browser = new TestBrowser(broker);
        var (code, state, transaction) = await PasskeySteps.AnswerAsync(broker, _terminal, browser, key, null);
        if (code is null) return $"{state} {(await browser.StateAsync(transaction)).GetProperty("cause").GetString()}";
        using var complete = await browser.CompleteAsync(transaction, code);
        return $"{complete.StatusCode} {(await broker.SqlAsync("select acr, attested from sessions.sessions where ended_at is null"))[0]}";
    }

    /// <summary>Segment lgwan at an odd hour, from an hour ago until in two hours, and with a time source that does not answer.</summary>
    public sealed class AtNight : BrokerHost
    {
        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__Segment", "lgwan"), new("Broker__TimeSource", "127.0.0.1:9")];

        protected override void ChangePolicies(string directory)
        {
            var now = TimeOnly.FromDateTime(AccessBroker.Web.JapaneseTime.ToLocal(DateTimeOffset.UtcNow).DateTime);
            var file = Path.Combine(directory, "assurance.yaml");
            File.WriteAllText(file, File.ReadAllText(file).Replace("22:00-06:00", $"{now.AddHours(-1):HH:mm}-{now.AddHours(2):HH:mm}", StringComparison.Ordinal));
        }
    }

    /// <summary>A software key that says it is a model nobody has imported yet, with a chain of its own making.</summary>
    [Fact, Trait("Requirement", "IDN-03")]
    public async Task A_forged_attestation_does_not_become_trusted_when_its_model_is_imported()
    {
        var model = Guid.NewGuid();
        using var key = new SoftKey(model);
        Assert.Equal((HttpStatusCode.OK, ""), await PasskeySteps.EnrolAsync(broker, _terminal, key));
        await using var services = CityServices.Of(broker, TimeProvider.System);
        await using var owner = new AccessBroker.Database.Store(Npgsql.NpgsqlDataSource.Create(broker.Environment()["Broker__DatabaseOwner"]));
        // The real vendor has another root.
        await AccessBroker.Passkeys.ImportMetadata.RunAsync(owner, services.GetRequiredService<AccessBroker.Cards.CardChange>(), services.GetRequiredService<AccessBroker.Sessions.LiveSessions>(), TestMetadata.Write(1, [(model, TestMetadata.Publisher.Root.RawData, ["FIDO_CERTIFIED"])]), TestMetadata.Publisher.Root, TestMetadata.Signer, TimeProvider.System, default);
        Assert.Equal(["False"], await broker.SqlAsync("select trusted from passkeys.keys"));
        Assert.Equal("OK urn:accessbroker:acr:multi|False", await TryAsync(key));
    }

    [Fact, Trait("Requirement", "IDN-02")]
    public async Task A_new_terminal_or_many_failures_raise_the_bar_and_never_lower_it()
    {
        using var key = new SoftKey(Guid.NewGuid()) { Attestation = "none" };
        Assert.Equal((HttpStatusCode.OK, ""), await PasskeySteps.EnrolAsync(broker, _terminal, key));
        Assert.Equal("OK urn:accessbroker:acr:multi|False", await TryAsync(key));
        await broker.SqlAsync("insert into lockout.counters (subject, failures, failed_by) select 'operator:p-1001', array_agg(clock_timestamp()), array_agg('p-1001'::text) from generate_series(1, 3)");
        Assert.Equal("cancelled needs-card-now", await TryAsync(key));
        await broker.SqlAsync("truncate lockout.counters");
        Assert.Equal("OK urn:accessbroker:acr:multi|False", await TryAsync(key));
        // As if they had never sat here.
        await broker.SqlAsync("update sessions.sessions set terminal = 't-09' where person = 'p-1001' and ended_at is not null; update sessions.sessions set ended_at = now(), end_reason = 'test', terminal = 't-09' where ended_at is null");
        Assert.Equal("cancelled needs-card-now", await TryAsync(key));
    }
}

/// <summary>The same key by day would be enough.</summary>
public sealed class OddHoursTests(RiskTests.AtNight broker) : IClassFixture<RiskTests.AtNight>
{
    [Fact, Trait("Requirement", "IDN-02")]
    public async Task An_odd_hour_asks_for_a_card_and_a_card_is_enough()
    {
        var terminal = await broker.TerminalAsync();
        using var key = new SoftKey(Guid.NewGuid()) { Attestation = "none" };
        Assert.Equal((HttpStatusCode.OK, ""), await PasskeySteps.EnrolAsync(broker, terminal, key));
        await terminal.RemoveAsync();
        key.Counter++;
        using var browser = new TestBrowser(broker);
        var (code, state, transaction) = await PasskeySteps.AnswerAsync(broker, terminal, browser, key, null);
        Assert.Equal((null, "cancelled", "needs-card-now"), (code, state, (await browser.StateAsync(transaction)).GetProperty("cause").GetString()));
    }

    [Fact, Trait("Requirement", "CLK-01"), Trait("Requirement", "IDN-06")]
    public async Task Without_exact_time_no_code_is_looked_at_none_enrolled_and_nobody_counted()
    {
        var terminal = await broker.TerminalAsync();
        using (var me = await ConsoleBrowser.SignInAsync(broker, terminal, "sato")) Assert.Contains("時計がずれている", (await me.PostAsync("/one-time-codes", ("act", "begin"))).Page, StringComparison.Ordinal);
        await terminal.RemoveAsync();
        using var browser = new TestBrowser(broker);
        var transaction = await browser.OpenAsync();
        using (var seat = await terminal.SeatAsync(await browser.HandleAsync(transaction))) Assert.Equal(HttpStatusCode.OK, seat.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await PasskeySteps.PostAsync(broker, browser.Http, $"/sign-in/{transaction}/typed", new { person = "1001", password = "x", code = "123456" })).Status);
        Assert.Equal(["sign-in.clock-not-exact"], await broker.SqlAsync("select reason from history.events where operation = 'sign-in.typed'"));
        Assert.Equal(["0"], await broker.SqlAsync("select count(*) from lockout.counters"));
    }
}
