using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Cards;

/// <summary>The desk under bad input: strangers' pages, two people on one card, damaged card files.</summary>
public sealed class DeskTests : IAsyncLifetime
{
    private static readonly string Origin = Support.Desk.Origin;
    private static readonly string Drawer = Path.Combine(Place.Directory, "cards/drawer");
    private readonly HttpClient _http = new() { BaseAddress = new Uri(Origin) };

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        foreach (var reader in (int[])[7, 8]) await Support.Desk.RemoveAsync(reader);
        foreach (var file in Directory.GetFiles(Drawer, "spare-*.json")) File.Delete(file);
        _http.Dispose();
    }

    private async Task<(HttpStatusCode Status, string Code)> PostAsync(string path, object body, string? origin = null, string? host = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/" + path) { Content = JsonContent.Create(body) };
        request.Headers.Add("Origin", origin ?? Origin);
        if (host is not null) request.Headers.Host = host;
        using var response = await _http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, text.Length > 0 ? JsonElement.Parse(text).GetProperty("code").GetString()! : "");
    }

    private async Task<JsonElement> StateAsync() => await _http.GetFromJsonAsync<JsonElement>("/api/state");

    [Fact]
    public async Task A_page_of_another_origin_plays_nothing_and_sees_nothing()
    {
        await Support.Desk.AddBlankAsync("spare-1");
        foreach (var origin in (string[])["http://evil.example", "null", "http://127.0.0.1:1", Origin + ".evil.example", Origin.Replace("127.0.0.1", "localhost", StringComparison.Ordinal)])
            Assert.Equal((HttpStatusCode.Forbidden, "foreign-origin"), await PostAsync("readers/7/insert", new { card = "spare-1" }, origin));
        // A name that an attacker points at this machine (DNS rebinding).
        Assert.Equal((HttpStatusCode.Forbidden, "foreign-origin"), await PostAsync("readers/7/insert", new { card = "spare-1" }, host: "evil.example"));
        using var rebound = new HttpRequestMessage(HttpMethod.Get, "/api/state") { Headers = { Host = "evil.example" } };
        Assert.Equal(HttpStatusCode.Forbidden, (await _http.SendAsync(rebound)).StatusCode);
        Assert.Equal(JsonValueKind.Null, (await StateAsync()).GetProperty("readers")[7].GetProperty("card").ValueKind);
        Assert.Equal(HttpStatusCode.NoContent, (await PostAsync("readers/7/insert", new { card = "spare-1" })).Status);
        // Who asks for a PIN gets the digits: never by the page's way in.
        using var prompt = new HttpRequestMessage(HttpMethod.Post, "/api/readers/7/prompt") { Content = JsonContent.Create(new { title = "t", description = "d", confirm = false }), Headers = { { "Origin", Origin } } };
        Assert.Equal(HttpStatusCode.NotFound, (await _http.SendAsync(prompt)).StatusCode);
    }

    [Fact]
    public async Task Two_people_on_one_card_one_gets_it_and_the_others_are_told()
    {
        await Support.Desk.AddBlankAsync("spare-1");
        await Support.Desk.AddBlankAsync("spare-2");
        for (var round = 0; round < 10; round++)
        {
            var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(n => PostAsync($"readers/{7 + (n % 2)}/insert", new { card = "spare-1" })));
            Assert.Single(answers, a => a.Status == HttpStatusCode.NoContent);
            Assert.All(answers.Where(a => a.Status != HttpStatusCode.NoContent), a => Assert.Equal((HttpStatusCode.Conflict, true), (a.Status, a.Code is "card-elsewhere" or "reader-full")));
            var holders = (await StateAsync()).GetProperty("readers").EnumerateArray().Where(r => r.GetProperty("card").GetString() == "spare-1").ToList();
            var other = 15 - holders.Single().GetProperty("index").GetInt32();
            // The other reader is free for another card.
            Assert.Equal(HttpStatusCode.NoContent, (await PostAsync($"readers/{other}/insert", new { card = "spare-2" })).Status);
            Assert.Equal((HttpStatusCode.Conflict, "card-elsewhere"), await PostAsync($"readers/{other}/insert", new { card = "spare-1" }));
            foreach (var reader in (int[])[7, 8]) await Support.Desk.RemoveAsync(reader);
        }
    }

    [Theory]
    [InlineData(""), InlineData("{"), InlineData("null"), InlineData("[]"), InlineData("{}"), InlineData("{\"Label\":\"spare-1\",\"Serial\":1,\"CardId\":\"not base64\"}"), InlineData("\0\0\0\0"), InlineData("{\"Label\":1}")]
    public async Task A_damaged_card_file_is_named_and_nothing_else_is_affected(string content)
    {
        await Support.Desk.AddBlankAsync("spare-1");
        await Support.Desk.AddBlankAsync("spare-2");
        await File.WriteAllTextAsync(Path.Combine(Drawer, "spare-1.json"), content, TestContext.Current.CancellationToken);
        var cards = (await StateAsync()).GetProperty("cards").EnumerateArray().ToDictionary(c => c.GetProperty("name").GetString()!, c => c.GetProperty("damaged").GetBoolean());
        Assert.Equal((true, false, false), (cards["spare-1"], cards["spare-2"], cards["sato"]));
        Assert.Equal((HttpStatusCode.Conflict, "card-damaged"), await PostAsync("readers/7/insert", new { card = "spare-1" }));
        Assert.Equal(HttpStatusCode.NoContent, (await PostAsync("readers/7/insert", new { card = "spare-2" })).Status);
    }

    [Theory]
    [InlineData("readers/7/insert", "{\"card\":\"../../etc/passwd\"}", "bad-card-name"), InlineData("readers/7/insert", "{\"card\":\"nobody\"}", "no-such-card"), InlineData("readers/7/insert", "{", "malformed"), InlineData("readers/7/insert", "{\"card\":7}", "malformed"),
     InlineData("readers/7/pin", "{\"pin\":\"1234\"}", "nobody-asks"), InlineData("readers/99/insert", "{\"card\":\"sato\"}", "no-such-reader"), InlineData("cards", "{\"card\":\"sato\"}", "card-exists")]
    public async Task What_cannot_be_done_is_told_with_a_code(string path, string body, string code)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/" + path) { Content = new StringContent(body, System.Text.Encoding.UTF8, "application/json"), Headers = { { "Origin", Origin } } };
        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.InRange((int)response.StatusCode, 400, 499);
        Assert.Equal(code, JsonElement.Parse(await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).GetProperty("code").GetString());
    }
}
