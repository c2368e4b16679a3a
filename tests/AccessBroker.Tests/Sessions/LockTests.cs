using System.Net;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Sessions;

/// <summary>A system whose policy says "lock": the card's removal locks the session; the same person unlocks it, everyone else ends it.</summary>
public sealed class LockTests(LockTests.City broker) : AtTerminal(broker, "sato"), IClassFixture<LockTests.City>
{
    public sealed class City : BrokerHost
    {
        protected override void ChangePolicies(string directory)
        {
            var file = Path.Combine(directory, "sessions.yaml");
            File.WriteAllText(file, File.ReadAllText(file).Replace("card-out-by-system: {}", "card-out-by-system: { zaimu: lock }", StringComparison.Ordinal));
        }

        protected override async Task ArrangeAsync() => await SqlAsync("update terminals.terminals set system = 'zaimu'; update oidc.clients set configuration = configuration - 'system'");
    }

    private async Task<(TestBrowser Browser, string Access)> LockedAsync()
    {
        var browser = new TestBrowser(broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        await Terminal.RemoveAsync();
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "card out locks", 1);
        Assert.Equal("ended sessions.card-removed p-1001 t-01", await broker.EventAsync("sessions.lock", "ended sessions.card-removed p-1001 t-01"));
        Assert.Null(await broker.LastEventAsync("sessions.end"));
        return (browser, access);
    }

    [Fact, Trait("Requirement", "SES-02")]
    public async Task The_same_person_unlocks_with_full_factors_and_works_on()
    {
        await broker.SqlAsync("truncate history.events; delete from sessions.sessions");
        var (browser, access) = await LockedAsync();
        using var _ = browser;
        await Terminal.InsertAsync("sato");
        // The card alone unlocks nothing.
        await Task.Delay(1200);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.Http.GetAsync(new Uri("/session", UriKind.Relative))).StatusCode);
        using var again = new TestBrowser(broker);
        await again.SignInAsync(Terminal);
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        Assert.Equal("done  p-1001 t-01", await broker.LastEventAsync("sessions.unlock"));
        Assert.Equal(["1"], await broker.SqlAsync("select count(*) from sessions.sessions where started_at > now() - interval '1 minute'"));
        // The cookie from before the lock is worth nothing.
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.Http.GetAsync(new Uri("/session", UriKind.Relative))).StatusCode);
    }

    [Fact, Trait("Requirement", "SES-06")]
    public async Task Somebody_else_ends_it_and_inherits_nothing()
    {
        await broker.SqlAsync("truncate history.events; delete from sessions.sessions");
        var (browser, access) = await LockedAsync();
        using var _ = browser;
        await Terminal.InsertAsync("chief");
        using var other = new TestBrowser(broker);
        await other.SignInAsync(Terminal);
        await broker.EventAsync("sessions.end", "ended sessions.replaced p-1001 t-01");
        Assert.Equal(["p-2001"], await broker.SqlAsync("select person from sessions.sessions where ended_at is null"));
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        using var again = new TestBrowser(broker);
        await again.SignInAsync(Terminal);
        Assert.Equal(HttpStatusCode.Unauthorized, (await browser.UserInfoAsync(access)).StatusCode);
    }

    [Fact, Trait("Requirement", "SES-03")]
    public async Task A_lock_does_not_outlive_the_idle_time()
    {
        await broker.SqlAsync("truncate history.events; delete from sessions.sessions");
        var (browser, _) = await LockedAsync();
        browser.Dispose();
        await broker.SqlAsync("update sessions.sessions set seen_at = now() - interval '31 minutes' where ended_at is null");
        await broker.EventAsync("sessions.end", "ended sessions.idle-time-out p-1001 t-01");
    }
}
