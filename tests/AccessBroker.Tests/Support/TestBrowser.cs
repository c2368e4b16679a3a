using System.Buffers.Text;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Web;

namespace AccessBroker.Tests.Support;

/// <summary>A browser without a screen: cookies, redirects, and what the sign-in page's script does.</summary>
internal sealed class TestBrowser(BrokerHost broker, string from = "127.0.0.1") : IDisposable
{
    internal const string Verifier = "a-code-verifier-of-the-tests-0123456789-abcdefghij";
    internal const string RedirectUri = "https://127.0.0.2:9/callback";
    private readonly CookieContainer _cookies = new();
    private HttpClient? _client;

    internal HttpClient Http => _client ??= broker.Client(from, _cookies);
    internal CookieContainer Cookies => _cookies;

    internal static Dictionary<string, string> Request(params (string Name, string? Value)[] changes)
    {
        var query = new Dictionary<string, string>
        {
            ["response_type"] = "code",
            ["client_id"] = "public-client",
            ["redirect_uri"] = RedirectUri,
            ["scope"] = "openid profile",
            ["state"] = "the-state",
            ["nonce"] = "the-nonce",
            ["code_challenge"] = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(Verifier))),
            ["code_challenge_method"] = "S256",
        };
        foreach (var (name, value) in changes)
            if (value is null) query.Remove(name);
            else query[name] = value;
        return query;
    }

    internal static string Query(Dictionary<string, string> query) => string.Join('&', query.Select(p => $"{p.Key}={Uri.EscapeDataString(p.Value)}"));

    internal Task<HttpResponseMessage> AuthorizeAsync(params (string Name, string? Value)[] changes) => Http.GetAsync(new Uri("/connect/authorize?" + Query(Request(changes)), UriKind.Relative));

    /// <summary>Opens the sign-in page; returns the transaction's id.</summary>
    internal async Task<string> OpenAsync(params (string Name, string? Value)[] changes)
    {
        using var response = await AuthorizeAsync(changes);
        Assert.Equal(HttpStatusCode.Redirect, response.StatusCode);
        var location = response.Headers.Location!.OriginalString;
        Assert.StartsWith("/sign-in/", location, StringComparison.Ordinal);
        return location["/sign-in/".Length..];
    }

    internal async Task<HttpResponseMessage> PostAsync(string path, object body)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body) };
        request.Headers.Add("Origin", broker.Issuer);
        return await Http.SendAsync(request);
    }

    internal async Task<string> HandleAsync(string transaction)
    {
        using var response = await PostAsync($"/sign-in/{transaction}/handle", new { });
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("handle").GetString()!;
    }

    internal async Task<JsonElement> StateAsync(string transaction, string seen = "") =>
        await Http.GetFromJsonAsync<JsonElement>(new Uri($"/sign-in/{transaction}/state?seen={seen}", UriKind.Relative));

    internal Task<HttpResponseMessage> CompleteAsync(string transaction, string code) => PostAsync($"/sign-in/{transaction}/complete", new { code });

    /// <summary>Everything up to the agent's answer.</summary>
    internal async Task<(string Transaction, HttpResponseMessage Answer)> TryAsync(TestTerminal terminal, params (string Name, string? Value)[] changes)
    {
        var transaction = await OpenAsync(changes);
        return (transaction, await terminal.RedeemAsync(await HandleAsync(transaction)));
    }

    /// <summary>A whole sign-in of the card in the reader; returns the relying party's callback URL.</summary>
    internal async Task<Uri> SignInAsync(TestTerminal terminal, params (string Name, string? Value)[] changes)
    {
        terminal.Types(Place.Pin);
        var (transaction, answer) = await TryAsync(terminal, changes);
        Assert.True(answer.IsSuccessStatusCode, $"{answer.StatusCode} {await answer.Content.ReadAsStringAsync()}");
        using var complete = await CompleteAsync(transaction, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!);
        Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        var next = (await complete.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("next").GetString()!;
        var page = await Http.GetStringAsync(new Uri(next, UriKind.Relative));
        var resume = System.Text.RegularExpressions.Regex.Match(page, "id=\"next\" href=\"([^\"]+)\"").Groups[1].Value;
        using var back = await Http.GetAsync(new Uri(HttpUtility.HtmlDecode(resume), UriKind.Relative));
        return back.Headers.Location!;
    }

    internal Task<HttpResponseMessage> TokenAsync(string? code, params (string Name, string? Value)[] changes)
    {
        var form = new Dictionary<string, string> { ["grant_type"] = "authorization_code", ["code"] = code ?? "", ["redirect_uri"] = RedirectUri, ["code_verifier"] = Verifier, ["client_id"] = "public-client" };
        foreach (var (name, value) in changes)
            if (value is null) form.Remove(name);
            else form[name] = value;
        return Http.PostAsync(new Uri("/connect/token", UriKind.Relative), new FormUrlEncodedContent(form));
    }

    internal async Task<(string Access, string Id)> TokensAsync(TestTerminal terminal)
    {
        var callback = await SignInAsync(terminal);
        using var response = await TokenAsync(Parameter(callback, "code"));
        var body = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.True(response.IsSuccessStatusCode, body.ToString());
        return (body.GetProperty("access_token").GetString()!, body.GetProperty("id_token").GetString()!);
    }

    internal async Task<HttpResponseMessage> UserInfoAsync(string access)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/connect/userinfo") { Headers = { Authorization = new("Bearer", access) } };
        return await Http.SendAsync(request);
    }

    internal static string? Parameter(Uri url, string name) => HttpUtility.ParseQueryString(url.Query)[name];

    public void Dispose() => _client?.Dispose();
}
