using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Web;
using AccessBroker.TerminalAgent;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;
using Microsoft.Extensions.Logging.Abstractions;

namespace AccessBroker.Tests.Support;

/// <summary>An operation of a crowd that did not work, as the person or program was told. <see cref="Code"/> is what they were told.</summary>
internal sealed class NotDone(string code, string detail = "", Exception? inner = null) : Exception($"{code} {detail}", inner)
{
    internal string Code => code;
}

/// <summary>One person at one terminal: browser, agent, reader and card of their own.</summary>
internal sealed partial class CrowdMember(BrokerHost broker, AgentOptions options, MemoryReader reader) : IAsyncDisposable
{
    /// <summary>The person always knows the PIN, and takes a while to type it.</summary>
    private sealed class KnowsPin(CrowdMember member) : IPinPrompt
    {
        public async Task<byte[]?> AskAsync(PinQuestion question, CancellationToken ct)
        {
            await Task.Delay(member.Typing, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return ct.IsCancellationRequested ? null : "73918264"u8.ToArray();
        }
    }

    /// <summary>How long this person types the PIN. Default: no time.</summary>
    internal TimeSpan Typing { get; set; }

    private readonly HttpClient _http = broker.Client();
    private readonly CardReader _watch = new(reader, "", NullLogger<CardReader>.Instance);
    private readonly Dictionary<string, string> _cookies = [];
    private BrokerStream? _stream;
    private CardSignIn? _signIn;

    internal string Terminal => Path.GetFileName(options.DataDirectory);
    internal MemoryReader Reader => reader;
    internal AgentOptions Options => options;
    /// <summary>The card itself, inside the reader, for somebody who speaks to it directly.</summary>
    internal PivCard OpenCard()
    {
        reader.Insert();
        return new(reader, 1, PcscConstants.ProtocolT1);
    }

    /// <summary>The agent leaves; its terminal is free for another stream.</summary>
    internal Task StopAsync() => _stream!.StopAsync(default);

    internal HttpClient Http => _http;
    internal bool Attached => _stream?.Terminal is not null;

    internal async Task StartAsync(CancellationToken ct = default)
    {
        _stream = new(options, _watch, new(options, NullLogger<NoticeBoard>.Instance), TimeProvider.System, NullLogger<BrokerStream>.Instance);
        _signIn = new(_watch, _stream, new KnowsPin(this), new(), NullLogger<CardSignIn>.Instance);
        await _watch.StartAsync(ct);
        await _stream.StartAsync(ct);
    }

    internal async Task CardAsync(bool inside)
    {
        if (inside) reader.Insert(); else reader.Remove();
        await Eventually.TrueAsync(() => Task.FromResult(_watch.CardInside == inside), "the reader notices");
    }

    /// <summary>From the relying party's request to its tokens, as browser, page and agent do it. Throws <see cref="NotDone"/>.</summary>
    internal Task<(string Access, TimeSpan Elapsed)> SignInAsync(CancellationToken ct = default) => SignInAsync(async (page, handle) =>
    {
        var (outcome, code) = await _signIn!.RunAsync(handle, ct);
        return code ?? throw new NotDone($"agent.{outcome}", $"page says {await StateAsync(page, ct)}");
    }, ct);

    /// <summary>The same with a passkey: the agent claims, the key answers the page.</summary>
    internal Task<(string Access, TimeSpan Elapsed)> SignInAsync(SoftKey key, CancellationToken ct = default) => SignInAsync(async (page, handle) =>
    {
        if (await _signIn!.ClaimAsync(handle, ct) is not CardSignIn.Outcome.Claimed) throw new NotDone("agent.not-claimed");
        using var begun = await SendAsync(HttpMethod.Post, $"{page}/passkey/options", JsonContent.Create(new { }), ct);
        var made = await ReadAsync(begun, ct);
        key.Counter++;
        using var answer = await SendAsync(HttpMethod.Post, $"{page}/passkey", JsonContent.Create(new { ceremony = made.GetProperty("ceremony").GetString(), credential = key.Get(made.GetProperty("options"), broker.Issuer) }), ct);
        return (await ReadAsync(answer, ct)).GetProperty("code").GetString()!;
    }, ct);

    /// <summary>Enrols a key in the session that has just begun.</summary>
    internal async Task EnrolAsync(SoftKey key, CancellationToken ct = default)
    {
        using var begun = await SendAsync(HttpMethod.Post, "/passkeys/options", JsonContent.Create(new { }), ct);
        var made = await ReadAsync(begun, ct);
        (await SendAsync(HttpMethod.Post, "/passkeys/register", JsonContent.Create(new { ceremony = made.GetProperty("ceremony").GetString(), credential = key.Create(made.GetProperty("options"), broker.Issuer), name = "群衆" }), ct)).Dispose();
    }

    private async Task<(string Access, TimeSpan Elapsed)> SignInAsync(Func<string, string, Task<string>> prove, CancellationToken ct)
    {
        var began = Stopwatch.GetTimestamp();
        lock (_cookies) _cookies.Clear();
        using var authorize = await SendAsync(HttpMethod.Get, "/connect/authorize?" + TestBrowser.Query(TestBrowser.Request()), null, ct);
        var page = Location(authorize);
        if (!page.StartsWith("/sign-in/", StringComparison.Ordinal)) throw new NotDone("unexpected-redirect", page);
        (await SendAsync(HttpMethod.Get, page, null, ct)).Dispose();
        using var followed = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var following = FollowAsync(page, followed.Token);
        try
        {
            using var made = await SendAsync(HttpMethod.Post, $"{page}/handle", JsonContent.Create(new { }), ct);
            var handle = (await ReadAsync(made, ct)).GetProperty("handle").GetString()!;
            var code = await prove(page, handle);
            using var complete = await SendAsync(HttpMethod.Post, $"{page}/complete", JsonContent.Create(new { code }), ct);
            var next = (await ReadAsync(complete, ct)).GetProperty("next").GetString()!;
            using var signedIn = await SendAsync(HttpMethod.Get, next, null, ct);
            var resume = Resume().Match(await signedIn.Content.ReadAsStringAsync(ct)) is { Success: true } found ? HttpUtility.HtmlDecode(found.Groups[1].Value) : throw new NotDone("session-gone-before-resume");
            using var back = await SendAsync(HttpMethod.Get, resume, null, ct);
            var callback = Location(back);
            if (!callback.StartsWith(TestBrowser.RedirectUri, StringComparison.Ordinal)) throw new NotDone("session-gone-before-code", callback.Split('?')[0]);
            return (await TokenAsync(new Uri(callback), ct), Stopwatch.GetElapsedTime(began));
        }
        finally
        {
            await followed.CancelAsync();
            await following;
        }
    }

    private async Task<string> TokenAsync(Uri callback, CancellationToken ct)
    {
        if (TestBrowser.Parameter(callback, "error") is { } error) throw new NotDone(error);
        using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["grant_type"] = "authorization_code", ["code"] = TestBrowser.Parameter(callback, "code")!, ["redirect_uri"] = TestBrowser.RedirectUri, ["code_verifier"] = TestBrowser.Verifier, ["client_id"] = "public-client" });
        using var token = await SendAsync(HttpMethod.Post, "/connect/token", form, ct);
        return (await ReadAsync(token, ct)).GetProperty("access_token").GetString()!;
    }

    /// <summary>Whether the token still opens anything. <paramref name="at"/>: a node, past the proxy.</summary>
    internal async Task<bool> HasAccessAsync(string access, Uri? at = null, CancellationToken ct = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, at is null ? new Uri("/connect/userinfo", UriKind.Relative) : new Uri(at, "/connect/userinfo")) { Headers = { Authorization = new("Bearer", access) } };
        try
        {
            using var response = await _http.SendAsync(request, ct);
            return response.StatusCode switch { HttpStatusCode.OK => true, HttpStatusCode.Unauthorized => false, _ => throw await NotDoneAsync(response, ct) };
        }
        catch (HttpRequestException e) { throw new NotDone("no-connection", e.Message, e); }
    }

    /// <summary>What a signed-in page asks all the time: does the session live?</summary>
    internal async Task<bool> AskSessionAsync()
    {
        try { (await SendAsync(HttpMethod.Get, "/session", null, CancellationToken.None)).Dispose(); return true; }
        catch (NotDone) { return false; }
    }

    /// <summary>What the page's script does meanwhile: asks for the state, over and over.</summary>
    private async Task FollowAsync(string page, CancellationToken ct)
    {
        try
        {
            for (var seen = ""; seen is not ("completed" or "refused" or "locked" or "cancelled");)
            {
                using var response = await SendAsync(HttpMethod.Get, $"{page}/state?seen={seen}", null, ct);
                seen = (await ReadAsync(response, ct)).GetProperty("value").GetString()!;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or NotDone) { /* the page shows "unavailable" and asks again; the sign-in itself reports */ }
    }

    private async Task<string> StateAsync(string page, CancellationToken ct)
    {
        using var response = await SendAsync(HttpMethod.Get, $"{page}/state", null, ct);
        return (await ReadAsync(response, ct)).ToString();
    }

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, HttpContent? content, CancellationToken ct)
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        lock (_cookies) if (_cookies.Count > 0) request.Headers.Add("Cookie", string.Join("; ", _cookies.Select(c => $"{c.Key}={c.Value}")));
        if (method == HttpMethod.Post) request.Headers.Add("Origin", broker.Issuer);
        HttpResponseMessage response;
        try { response = await _http.SendAsync(request, ct); }
        catch (HttpRequestException e) { throw new NotDone("no-connection", e.Message, e); }
        catch (TaskCanceledException e) when (!ct.IsCancellationRequested) { throw new NotDone("no-answer", path.Split('?')[0], e); }
        if (response.Headers.TryGetValues("Set-Cookie", out var set))
            foreach (var cookie in set) lock (_cookies) _cookies[cookie.Split('=')[0]] = cookie.Split(';')[0][(cookie.IndexOf('=', StringComparison.Ordinal) + 1)..];
        return (int)response.StatusCode < 400 ? response : throw await NotDoneAsync(response, ct);
    }

    /// <summary>The stable code that came with a refusal; what has none is told as "unclear".</summary>
    private static async Task<NotDone> NotDoneAsync(HttpResponseMessage response, CancellationToken ct)
    {
        var body = await response.Content.ReadAsStringAsync(ct);
        try
        {
            var json = JsonElement.Parse(body);
            return new(json.TryGetProperty("code", out var code) ? code.GetString()! : json.GetProperty("error").GetString()!, $"{(int)response.StatusCode}");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException) { return new("unclear", $"{(int)response.StatusCode} {response.RequestMessage?.RequestUri?.AbsolutePath} {body}", e); }
    }

    private static async Task<JsonElement> ReadAsync(HttpResponseMessage response, CancellationToken ct)
    {
        try { return await response.Content.ReadFromJsonAsync<JsonElement>(ct); }
        catch (Exception e) when (e is JsonException or HttpRequestException) { throw new NotDone("no-connection", "cut while reading", e); }
    }

    private static string Location(HttpResponseMessage response) => response.Headers.Location?.OriginalString ?? throw new NotDone("unclear", $"{(int)response.StatusCode} without a location");

    public async ValueTask DisposeAsync()
    {
        if (_stream is not null) await _stream.StopAsync(default);
        await _watch.StopAsync(default);
        _stream?.Dispose();
        _watch.Dispose();
        _http.Dispose();
    }

    [GeneratedRegex("id=\"next\" href=\"([^\"]+)\"")] private static partial Regex Resume();
}
