using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace AccessBroker.Tests.Support;

/// <summary>Somebody at the console without a screen: signs in with the card in the reader, fills forms, follows links.</summary>
internal sealed class ConsoleBrowser(BrokerHost broker, TestTerminal terminal) : IDisposable
{
    private readonly TestBrowser _browser = new(broker);
    internal HttpClient Http => _browser.Http;
    internal System.Net.CookieContainer Cookies => _browser.Cookies;

    /// <summary>Exchanges the card and signs in to the console.</summary>
    internal static async Task<ConsoleBrowser> SignInAsync(BrokerHost broker, TestTerminal terminal, string card, params string[] types)
    {
        await terminal.RemoveAsync();
        await terminal.InsertAsync(card);
        var me = new ConsoleBrowser(broker, terminal);
        terminal.Types(types.Length == 0 ? [Place.Pin] : types);
        using var opened = await me.Http.GetAsync(new Uri("/sign-in", UriKind.Relative));
        var transaction = opened.Headers.Location!.OriginalString["/sign-in/".Length..];
        using var answer = await terminal.RedeemAsync(await me._browser.HandleAsync(transaction));
        Assert.True(answer.IsSuccessStatusCode, $"{card}: {answer.StatusCode} {await broker.LastEventAsync("sign-in.possession")} {await broker.LastEventAsync("sign-in.proof")}");
        using var complete = await me._browser.CompleteAsync(transaction, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!);
        Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        return me;
    }

    internal async Task<(HttpStatusCode Status, string Page)> GetAsync(string path)
    {
        using var response = await Http.GetAsync(new Uri(path, UriKind.Relative));
        return (response.StatusCode, WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync()));
    }

    /// <summary>Posts a form; where it redirects to, or the page.</summary>
    internal async Task<(HttpStatusCode Status, string Page, string? To)> PostAsync(string path, params (string Name, string Value)[] form)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new FormUrlEncodedContent(form.Select(f => KeyValuePair.Create(f.Name, f.Value))) };
        request.Headers.Add("Sec-Fetch-Site", "same-origin");
        using var response = await Http.SendAsync(request);
        return (response.StatusCode, WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync()), response.Headers.Location?.OriginalString);
    }

    /// <summary>Follows an act that wants to be confirmed: card and PIN at the terminal, for exactly this. The proof's id.</summary>
    internal async Task<string> ConfirmAsync(string? to)
    {
        Assert.StartsWith("/sign-in/", to, StringComparison.Ordinal);
        var transaction = to!["/sign-in/".Length..];
        terminal.Types(Place.Pin);
        using var answer = await terminal.RedeemAsync(await _browser.HandleAsync(transaction));
        Assert.True(answer.IsSuccessStatusCode, $"{answer.StatusCode} {await broker.LastEventAsync("sign-in.proof")}");
        using var complete = await _browser.CompleteAsync(transaction, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("code").GetString()!);
        Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        return transaction;
    }

    /// <summary>The same with a passkey in place of the card.</summary>
    internal async Task<string> ConfirmAsync(string? to, SoftKey key)
    {
        Assert.StartsWith("/sign-in/", to, StringComparison.Ordinal);
        key.Counter++;
        var (code, state, transaction) = await PasskeySteps.AnswerOpenAsync(broker, terminal, _browser, key, to!["/sign-in/".Length..]);
        Assert.True(code is not null, $"{state} {await broker.LastEventAsync("sign-in.passkey")}");
        using var complete = await _browser.CompleteAsync(transaction, code!);
        Assert.Equal(HttpStatusCode.OK, complete.StatusCode);
        return transaction;
    }

    /// <summary>Approves a request of a kind that wants to be confirmed; the page, or what refused it.</summary>
    internal async Task<(HttpStatusCode Status, string Page, string? To)> ApproveConfirmedAsync(long request, string step = "approve-it")
    {
        var (status, page, to) = await PostAsync($"/requests/{request}?act=approve", ("Step", step));
        return to is null ? (status, page, null) : await PostAsync($"/requests/{request}?act=approve", ("Step", step), ("Confirmed", await ConfirmAsync(to)));
    }

    /// <summary>Files a request; its number.</summary>
    internal async Task<long> AskAsync(string kind, string reason, params (string Name, string Value)[] fields)
    {
        var (status, page, to) = await PostAsync($"/requests/new/{kind}", [("Reason", reason), .. fields.Select(f => ($"Given[{f.Name}]", f.Value))]);
        Assert.True(to is not null, $"{kind}: {status} {Notice(page)}");
        to = to!.Split('?')[0];
        return long.Parse(to[(to.LastIndexOf('/') + 1)..], System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Runs the work on a card that a page led to; what the page is told at the end.</summary>
    internal async Task<string> WorkAsync(string path)
    {
        path = path.Split('?')[0];
        using var made = await _browser.PostAsync($"{path}/handle", new { });
        Assert.True(made.IsSuccessStatusCode, $"{made.StatusCode} {await made.Content.ReadAsStringAsync()}");
        using var answer = await terminal.WorkAsync((await made.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("handle").GetString()!);
        return (await Http.GetFromJsonAsync<JsonElement>(new Uri($"{path}/state", UriKind.Relative))).GetProperty("told").GetString()!;
    }

    internal static string Notice(string page) => Regex.Match(page, "class=\"notice[^>]*>(.*?)</", RegexOptions.Singleline).Groups[1].Value;

    public void Dispose() => _browser.Dispose();
}
