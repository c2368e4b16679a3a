using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using AccessBroker.Tests.Support;
using AccessBroker.Web;

namespace AccessBroker.Tests.Operations;

/// <summary>What monitoring sees: metrics, traces, logs. And what it must not see.</summary>
public sealed partial class TelemetryTests(TelemetryTests.Observed broker) : AtTerminal(broker, "sato"), IClassFixture<TelemetryTests.Observed>
{
    /// <summary>A collector that keeps what it is sent.</summary>
    public sealed class Observed : BrokerHost
    {
        private readonly HttpListener _collector = new();
        private readonly int _port = Place.FreePort();
        private readonly MemoryStream _received = new();

        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__OtlpTraces", $"http://127.0.0.1:{_port}/v1/traces"), new("OTEL_BSP_SCHEDULE_DELAY", "200")];

        protected override Task ArrangeAsync()
        {
            _collector.Prefixes.Add($"http://127.0.0.1:{_port}/");
            _collector.Start();
            _ = Task.Run(async () =>
            {
                while (_collector.IsListening)
                {
                    try
                    {
                        var context = await _collector.GetContextAsync();
                        var body = new MemoryStream();
                        await context.Request.InputStream.CopyToAsync(body);
                        lock (_received) body.WriteTo(_received);
                        context.Response.Close();
                    }
                    catch (Exception e) when (e is HttpListenerException or ObjectDisposedException) { return; }
                }
            });
            return Task.CompletedTask;
        }

        /// <summary>Everything received, as far as it is text: span names and tags are UTF-8 in the protobuf.</summary>
        internal string Received { get { lock (_received) return Encoding.UTF8.GetString(_received.ToArray()); } }

        protected override Task EndAsync()
        {
            _collector.Close();
            return Task.CompletedTask;
        }
    }

    private async Task<string> MetricsAsync()
    {
        using var http = new HttpClient();
        return await http.GetStringAsync(new Uri(broker.OperationsUrl(0), "/metrics"));
    }

    [GeneratedRegex(@"^[a-z_:][a-z0-9_:]*(\{([a-z_][a-z0-9_]*=""(\\.|[^""\\])*"",?)*\})? [0-9eE+.\-]+(NaN|Inf)?$")] private static partial Regex Line();

    [Fact]
    public async Task Metrics_are_prometheus_text_and_count_what_happened()
    {
        using var browser = new TestBrowser(broker);
        await browser.TokensAsync(Terminal);
        var text = await MetricsAsync();
        Assert.All(text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !l.StartsWith('#')), l => Assert.Matches(Line(), l));
        foreach (var name in (string[])["accessbroker_operations_total{operation=\"sign-in.complete\",outcome=\"done\",reason=\"\"} ", "accessbroker_terminals_attached 1", "accessbroker_hsm_call_duration_seconds_bucket{outcome=\"done\",le=\"", "accessbroker_clock_offset_seconds ",
            "accessbroker_redis_connected 1", "accessbroker_history_spool 0", "accessbroker_presence_duration_seconds_count{cause=\"inserted\"}", "http_server_request_duration_seconds_bucket{", "http_route=\"/connect/token\"", "dotnet_gc_last_collection_memory_committed_size_bytes"])
            Assert.Contains(name, text, StringComparison.Ordinal);
        // Buckets are cumulative and end with the count.
        var buckets = Regex.Matches(text, "accessbroker_hsm_call_duration_seconds_bucket\\{outcome=\"done\",le=\"[^\"]+\"\\} (\\d+)").Select(m => long.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(buckets.Order(), buckets);
        Assert.Contains($"accessbroker_hsm_call_duration_seconds_count{{outcome=\"done\"}} {buckets[^1]}", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Metrics_are_served_on_the_operations_listener_only_and_nothing_else_there()
    {
        using var http = new HttpClient();
        using var browser = new TestBrowser(broker);
        Assert.Equal(HttpStatusCode.NotFound, (await browser.Http.GetAsync(new Uri("/metrics", UriKind.Relative))).StatusCode);
        foreach (var path in (string[])["/", "/connect/token", "/sign-in", "/.well-known/openid-configuration", "/metrics/x", "/terminals/stream"])
            Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync(new Uri(broker.OperationsUrl(0), path))).StatusCode);
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(broker.OperationsUrl(0), "/health")) { Headers = { { "Accept", "application/json" } } };
        Assert.Contains("\"name\":\"hsm\"", await (await http.SendAsync(request)).Content.ReadAsStringAsync(), StringComparison.Ordinal);
        // A Host header does not make one listener the other.
        using var lying = new HttpRequestMessage(HttpMethod.Get, new Uri("/metrics", UriKind.Relative)) { Headers = { Host = broker.OperationsUrl(0).Authority } };
        Assert.Equal(HttpStatusCode.NotFound, (await browser.Http.SendAsync(lying)).StatusCode);
    }

    [Fact]
    public async Task Traces_show_every_part_and_no_secret()
    {
        using var browser = new TestBrowser(broker);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        var code = System.Text.Json.JsonElement.Parse(await answer.Content.ReadAsStringAsync()).GetProperty("code").GetString()!;
        using var complete = await browser.CompleteAsync(transaction, code);
        using var authorize = await browser.AuthorizeAsync();
        var grant = TestBrowser.Parameter(authorize.Headers.Location!, "code")!;
        using var token = await browser.TokenAsync(grant);
        var access = System.Text.Json.JsonElement.Parse(await token.Content.ReadAsStringAsync()).GetProperty("access_token").GetString()!;
        string[] spans = ["POST /connect/token", "POST /sign-in/{id}/handle", "terminal claim", "terminal proof", "hsm call", "oidc.codes", "http.response.status_code", "accessbroker"];
        await Eventually.TrueAsync(() => Task.FromResult(spans.All(s => broker.Received.Contains(s, StringComparison.Ordinal))), "all spans arrive", 15);
        foreach (var secret in (string[])[transaction, code, grant, access, Place.Pin, TestBrowser.Verifier, "試験 一子"])
        {
            Assert.DoesNotContain(secret, broker.Received, StringComparison.Ordinal);
            Assert.DoesNotContain(secret, await MetricsAsync(), StringComparison.Ordinal);
            Assert.DoesNotContain(secret, broker.Log, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Every_line_of_the_log_is_json() =>
        Assert.All(broker.Log.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l.Trim().Length > 0), l => Assert.True(l.StartsWith('{') && System.Text.Json.JsonElement.Parse(l).TryGetProperty("Category", out _), l));

    [Theory]
    [InlineData("PROXY TCP4 192.0.2.7 10.0.0.1 5000 443", "192.0.2.7:5000"), InlineData("PROXY TCP6 2001:db8::7 ::1 5000 443", "[2001:db8::7]:5000"), InlineData("PROXY UNKNOWN", ""), InlineData("PROXY UNKNOWN ffff::1 ffff::2 1 2", "")]
    [InlineData("PROXY TCP4 192.0.2.7 10.0.0.1 5000", null), InlineData("PROXY TCP4 x 10.0.0.1 5000 443", null), InlineData("PROXY TCP4 192.0.2.7 10.0.0.1 65536 443", null), InlineData("PROXY TCP4 192.0.2.7 10.0.0.1 -1 443", null), InlineData("GET / HTTP/1.1", null), InlineData("", null), InlineData("PROXY", null), InlineData("proxy UNKNOWN", null)]
    public void The_proxy_protocols_line_is_read_strictly(string line, string? source)
    {
        Assert.Equal(source is not null, ProxyProtocol.TryParse(line, out var found));
        Assert.Equal(source is null or "" ? null : source, found?.ToString());
    }

    [Fact]
    public async Task A_trusted_proxy_must_tell_the_address_and_nobody_else_can()
    {
        async Task<string?> AddressSeenAsync(string from, string firstLine)
        {
            await broker.SqlAsync("truncate sign_in.transactions");
            using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
            await socket.ConnectAsync(IPAddress.Loopback, broker.Port);
            await using var raw = new System.Net.Sockets.NetworkStream(socket, ownsSocket: false);
            await raw.WriteAsync(Encoding.ASCII.GetBytes(firstLine));
            using var tls = new System.Net.Security.SslStream(raw, false, (_, _, _, _) => true);
            try
            {
                await tls.AuthenticateAsClientAsync("localhost").WaitAsync(TimeSpan.FromSeconds(5));
                await tls.WriteAsync(Encoding.ASCII.GetBytes("GET /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
                using var reader = new StreamReader(tls);
                await reader.ReadToEndAsync();
            }
            catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException or TimeoutException) { return null; }
            return (await broker.SqlAsync("select address from sign_in.transactions")).FirstOrDefault();
        }
        Assert.Equal("192.0.2.7", await AddressSeenAsync(HaProxy.Address, "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n"));
        Assert.Equal(HaProxy.Address, await AddressSeenAsync(HaProxy.Address, "PROXY UNKNOWN\r\n"));
        Assert.Null(await AddressSeenAsync(HaProxy.Address, ""));
        Assert.Null(await AddressSeenAsync(HaProxy.Address, "PROXY TCP4 " + new string('1', 200) + "\r\n"));
        Assert.Null(await AddressSeenAsync("127.0.0.1", "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n"));
        Assert.Equal("127.0.0.1", await AddressSeenAsync("127.0.0.1", ""));
    }
}
