using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Operations;

/// <summary>Two nodes share the work of one sign-in, and two of them at once never do it twice.</summary>
public sealed class TwoNodesTests(TwoNodes city) : AtTerminal(city, "sato"), IClassFixture<TwoNodes>
{
    private readonly TwoNodes _city = city;

    private Uri At(int node, string path) => new(_city.NodeUrl(node), path);

    private async Task<HttpResponseMessage> PostAsync(TestBrowser browser, Uri url, object body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = JsonContent.Create(body) };
        request.Headers.Add("Origin", _city.Issuer);
        return await browser.Http.SendAsync(request);
    }

    private static async Task<JsonElement> JsonAsync(HttpResponseMessage response) => await response.Content.ReadFromJsonAsync<JsonElement>();

    [Theory, InlineData(0), InlineData(1)]
    public async Task A_sign_in_may_change_the_node_at_every_step(int first)
    {
        using var browser = new TestBrowser(_city);
        var second = 1 - first;
        using var authorize = await browser.Http.GetAsync(At(first, "/connect/authorize?" + TestBrowser.Query(TestBrowser.Request())));
        var page = authorize.Headers.Location!.OriginalString;
        (await browser.Http.GetAsync(At(second, page))).EnsureSuccessStatusCode().Dispose();
        var handle = (await JsonAsync(await PostAsync(browser, At(first, page + "/handle"), new { }))).GetProperty("handle").GetString()!;
        // The page waits at one node for what the agent brings about at the node it is attached to.
        var told = browser.Http.GetFromJsonAsync<JsonElement>(At(second, page + "/state?seen=handed"));
        Terminal.Types(Place.Pin);
        using var answer = await Terminal.RedeemAsync(handle);
        Assert.NotEqual("handed", (await told).GetProperty("value").GetString());
        using var complete = await PostAsync(browser, At(second, page + "/complete"), new { code = (await JsonAsync(answer)).GetProperty("code").GetString() });
        Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        using var resumed = await browser.Http.GetAsync(At(first, "/connect/authorize?" + TestBrowser.Query(TestBrowser.Request())));
        var code = TestBrowser.Parameter(resumed.Headers.Location!, "code")!;
        var access = await RedeemAsync(browser, second, code);
        Assert.NotNull(access);
        await Terminal.RemoveAsync();
        foreach (var node in (int[])[0, 1]) await Eventually.TrueAsync(async () => await UserInfoAsync(browser, node, access) == HttpStatusCode.Unauthorized, $"card out is known at node {node}", 1);
    }

    private static FormUrlEncodedContent Form(string code) => new(new Dictionary<string, string> { ["grant_type"] = "authorization_code", ["code"] = code, ["redirect_uri"] = TestBrowser.RedirectUri, ["code_verifier"] = TestBrowser.Verifier, ["client_id"] = "public-client" });

    private async Task<string?> RedeemAsync(TestBrowser browser, int node, string code)
    {
        using var form = Form(code);
        using var response = await browser.Http.PostAsync(At(node, "/connect/token"), form);
        return response.IsSuccessStatusCode ? (await JsonAsync(response)).GetProperty("access_token").GetString() : null;
    }

    private async Task<HttpStatusCode> UserInfoAsync(TestBrowser browser, int node, string access)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, At(node, "/connect/userinfo")) { Headers = { Authorization = new("Bearer", access) } };
        using var response = await browser.Http.SendAsync(request);
        return response.StatusCode;
    }

    [Fact]
    public async Task A_code_brought_to_both_nodes_at_once_is_redeemed_at_one_and_taken_back()
    {
        using var browser = new TestBrowser(_city);
        await browser.TokensAsync(Terminal);
        for (var i = 0; i < 20; i++)
        {
            using var authorize = await browser.AuthorizeAsync();
            var code = TestBrowser.Parameter(authorize.Headers.Location!, "code")!;
            var got = (await Task.WhenAll(Enumerable.Range(0, 6).Select(n => RedeemAsync(browser, n % 2, code)))).OfType<string>().ToList();
            // RFC 6749 §4.1.2: one was given, and the replays have revoked it.
            Assert.Single(got);
            Assert.Equal(HttpStatusCode.Unauthorized, await UserInfoAsync(browser, i % 2, got[0]));
        }
    }

    [Fact]
    public async Task A_sign_ins_code_brought_to_both_nodes_at_once_starts_one_session()
    {
        for (var i = 0; i < 6; i++)
        {
            using var browser = new TestBrowser(_city);
            Terminal.Types(Place.Pin);
            var (transaction, answer) = await browser.TryAsync(Terminal, ("prompt", "login"));
            var code = (await JsonAsync(answer)).GetProperty("code").GetString();
            var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(n => PostAsync(browser, At(n % 2, $"/sign-in/{transaction}/complete"), new { code })));
            Assert.Single(answers, a => a.StatusCode == HttpStatusCode.OK);
            Assert.Equal(["1"], await _city.SqlAsync("select count(*) from sessions.sessions where ended_at is null"));
        }
    }

    [Fact]
    public async Task A_handle_is_claimed_once_whichever_node_the_agents_are_at()
    {
        using var browser = new TestBrowser(_city);
        var second = await _city.TerminalAsync("t-02");
        var transaction = await browser.OpenAsync();
        var handle = await browser.HandleAsync(transaction);
        Terminal.Types("cancel");
        second.Types("cancel");
        var answers = await Task.WhenAll(Terminal.RedeemAsync(handle), second.RedeemAsync(handle));
        Assert.Equal(["1"], await _city.SqlAsync("select count(*) from history.events where operation = 'sign-in.cancel' and at > now() - interval '5 seconds'"));
        Assert.Contains(answers, a => a.StatusCode == HttpStatusCode.Forbidden);
    }

    [Fact]
    public async Task A_node_that_stops_sends_its_terminals_on_and_answers_what_is_under_way()
    {
        using var browser = new TestBrowser(_city);
        var (access, _) = await browser.TokensAsync(Terminal);
        for (var node = 0; node < 2; node++)
        {
            // A page that waits for news, on both nodes: one of them is going to stop.
            var transaction = await browser.OpenAsync(("prompt", "login"));
            var waiting = browser.Http.GetAsync(At(node, $"/sign-in/{transaction}/state?seen=open"));
            await Task.Delay(300);
            var took = await _city.Node(node).StopGracefullyAsync();
            Assert.InRange(took.TotalSeconds, 0, 6);
            Assert.Equal(0, _city.Node(node).ExitCode);
            using var told = await waiting;
            Assert.Equal(HttpStatusCode.OK, told.StatusCode);
            Assert.Equal(HttpStatusCode.OK, await UserInfoAsync(browser, 1 - node, access));
            await Terminal.AttachedAsync();
            await Task.Delay(TimeSpan.FromSeconds(6));
            Assert.Equal(HttpStatusCode.OK, await UserInfoAsync(browser, 1 - node, access));
            _city.Node(node).Start();
            await _city.AnswersAsync(node);
        }
        await Terminal.RemoveAsync();
        await Eventually.TrueAsync(async () => await UserInfoAsync(browser, 0, access) == HttpStatusCode.Unauthorized, "card out still counts", 1);
    }
}
