using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Operations;

/// <summary>A node starts whatever is away, and works as soon as it comes; a database that is wrong stops it, also late.</summary>
public sealed class StartOrderTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    protected override async Task EndAsync()
    {
        await Place.HsmAsync("start");
        await _broker.StartAsync();
        await Terminal.AttachedAsync();
    }

    private static async Task<Dictionary<string, string>> HealthAsync(TestBrowser browser)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/health") { Headers = { { "Accept", "application/json" } } };
        using var response = await browser.Http.SendAsync(request);
        return (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("components").EnumerateArray().ToDictionary(c => c.GetProperty("name").GetString()!, c => c.GetProperty("state").GetString()!);
    }

    [Fact, Trait("Requirement", "AVL-10")]
    public async Task A_node_starts_before_its_neighbours_names_them_and_works_when_they_come()
    {
        await _broker.StopAsync();
        foreach (var part in (string[])["postgres", "redis"]) await Place.PartAsync("kill", part);
        await Place.HsmAsync("kill");
        await _broker.StartAsync();
        using var browser = new TestBrowser(_broker);
        var health = await HealthAsync(browser);
        Assert.Equal(("broken", "broken", "degraded"), (health["database"], health["hsm"], health["redis"]));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await browser.AuthorizeAsync()).StatusCode);
        await Place.HsmAsync("start");
        await Place.PartAsync("start", "redis");
        await Place.PartAsync("start", "postgres");
        await Eventually.TrueAsync(async () => (await HealthAsync(browser)).Values.All(s => s == "ok"), "all is well", 15);
        await Terminal.AttachedAsync();
        await browser.TokensAsync(Terminal);
    }

    [Fact]
    public async Task A_database_that_comes_late_and_is_wrong_stops_the_node()
    {
        await _broker.SqlAsync("update migrations.applied set sha256 = 'x' || sha256");
        await _broker.StopAsync();
        await Place.PartAsync("kill", "postgres");
        try
        {
            await _broker.StartAsync();
            await Place.PartAsync("start", "postgres");
            await Eventually.TrueAsync(() => Task.FromResult(!_broker.Node(0).Running), "it stops by itself", 15);
            Assert.Equal(1, _broker.Node(0).ExitCode);
            Assert.Contains("is not applied; run ", _broker.Log, StringComparison.Ordinal);
        }
        finally { await Eventually.TrueAsync(async () => { try { await _broker.SqlAsync("update migrations.applied set sha256 = substr(sha256, 2) where sha256 like 'x%'"); return true; } catch (Npgsql.NpgsqlException) { return false; } }, "put right"); }
    }
}
