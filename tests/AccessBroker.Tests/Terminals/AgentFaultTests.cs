using System.Net;
using System.Net.Http.Json;
using System.Runtime.CompilerServices;
using System.Text;
using AccessBroker.TerminalAgent.Platform;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Terminals;

/// <summary>Garbage from the card, card pulled in mid-command, reader gone, pcscd restarted: a clear message, and a working agent afterwards.</summary>
public sealed class AgentFaultTests(BrokerHost broker) : AtTerminal(broker, "sato"), IClassFixture<BrokerHost>
{
    private readonly BrokerHost _broker = broker;

    private async Task WorksAsync()
    {
        await _broker.SqlAsync("truncate lockout.counters");
        await Terminal.RemoveAsync();
        await Terminal.InsertAsync("sato");
        using var browser = new TestBrowser(_broker);
        await browser.SignInAsync(Terminal);
    }

    [Theory]
    [InlineData("Garbage", 0, "card-unreadable"), InlineData("Garbage", 1, "card-unreadable"), InlineData("Garbage", 3, "card-unreadable")]
    [InlineData("CutMidCommand", 0, "card-removed"), InlineData("CutMidCommand", 2, "card-removed"), InlineData("CutMidCommand", 5, "card-removed")]
    public async Task A_bad_card_is_told_and_the_next_one_works(string fault, int after, string cause)
    {
        using var browser = new TestBrowser(_broker);
        await Desk.FaultAsync(0, fault, after);
        Terminal.Types(Place.Pin);
        var (transaction, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Gone, answer.StatusCode);
        var state = await browser.StateAsync(transaction);
        Assert.Equal("cancelled", state.GetProperty("value").GetString());
        Assert.Equal(cause, state.GetProperty("cause").GetString());
        Assert.Empty(await _broker.SqlAsync("select id from sessions.sessions where ended_at is null"));
        await WorksAsync();
    }

    [Fact]
    public async Task A_restart_of_pcscd_ends_the_session_and_the_agent_finds_its_reader_again()
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var readers = Path.Combine(Place.Root, "hsm-sim/readers");
        await Place.RunAsync(readers, ["stop-pcscd", Path.Combine(Place.Directory, "cards")]);
        await Eventually.TrueAsync(async () => (await browser.UserInfoAsync(access)).StatusCode == HttpStatusCode.Unauthorized, "no reader, no session", 3);
        Assert.Equal("ended sessions.reader-lost p-1001 t-01", await _broker.EventAsync("sessions.end", "ended sessions.reader-lost p-1001 t-01"));
        var (transaction, _) = await browser.TryAsync(Terminal);
        Assert.Equal("no-reader", (await browser.StateAsync(transaction)).GetProperty("cause").GetString());
        await Place.RunAsync(readers, ["start-pcscd", Path.Combine(Place.Directory, "cards")]);
        await Eventually.TrueAsync(() => Task.FromResult(Terminal.Watch.CardInside), "the agent sees the card again");
        await WorksAsync();
    }

    [Fact]
    public async Task The_card_is_held_exclusively_while_it_is_inside()
    {
        var (exit, output, error) = await Place.RunAsync("opensc-tool", ["-r", Desk.Reader(0), "-s", "00A4040005A000000308"], mayFail: true);
        Assert.True(exit != 0 || (output + error).Contains("in use", StringComparison.OrdinalIgnoreCase), output + error);
        await Terminal.RemoveAsync();
    }

    [Fact]
    public async Task After_a_sign_in_the_card_has_forgotten_its_pin()
    {
        using var browser = new TestBrowser(_broker);
        await browser.SignInAsync(Terminal);
        await Terminal.StopAsync();
        // The card was not taken out; without the agent another program may talk to it, and must find it locked.
        var (_, output, _) = await Place.RunAsync("opensc-tool", ["-r", Desk.Reader(0), "-s", "00A404000BA000000308000010000100", "-s", "0020008000"], mayFail: true);
        Assert.Contains("SW1=0x63, SW2=0xC6", output, StringComparison.Ordinal);
        await Terminal.StartAsync();
    }

    [Fact]
    public async Task The_loopback_endpoint_takes_json_of_its_form_only()
    {
        using var client = new HttpClient { DefaultRequestHeaders = { { "Origin", _broker.Issuer } } };
        var url = new Uri(Terminal.Origin + "/sign-in");
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await client.PostAsync(url, new StringContent("handle=x", Encoding.UTF8, "application/x-www-form-urlencoded"))).StatusCode);
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, (await client.PostAsync(url, new StringContent("{\"handle\":\"x\"}", Encoding.UTF8, "text/plain"))).StatusCode);
        foreach (var body in (string[])["", "{", "[]", "{}", "{\"handle\":1}", "{\"handle\":\"short\"}", "{\"handle\":\"" + new string('a', 100) + "\"}"])
            Assert.Equal(HttpStatusCode.BadRequest, (await client.PostAsync(url, new StringContent(body, Encoding.UTF8, "application/json"))).StatusCode);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await client.PostAsync(url, new StringContent(new string(' ', 5_000), Encoding.UTF8, "application/json"))).StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.PostAsJsonAsync(url, new { handle = new string('a', 22) })).StatusCode);
    }

    [Fact]
    public async Task A_stream_without_a_certificate_of_ours_is_refused()
    {
        using var handler = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = (_, _, _, _) => true } };
        using var client = new HttpClient(handler);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.GetAsync(new Uri($"https://localhost:{_broker.TerminalsPort}/terminals/stream"))).StatusCode);
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        using var own = new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=t-01", key, System.Security.Cryptography.HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var withOwn = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = (_, _, _, _) => true, ClientCertificates = [own] } };
        using var stranger = new HttpClient(withOwn);
        Assert.Equal(HttpStatusCode.Forbidden, (await stranger.GetAsync(new Uri($"https://localhost:{_broker.TerminalsPort}/terminals/stream"))).StatusCode);
        using var code = await client.PostAsJsonAsync(new Uri($"https://localhost:{_broker.TerminalsPort}/terminals/enrol"), new { code = new string('a', 22), certificationRequest = "x" });
        Assert.Equal(HttpStatusCode.Forbidden, code.StatusCode);
    }

    [Theory]
    [InlineData("{\"type\":\"hello\",\"version\":1,\"epoch\":\"abcdefgh\\u0000\"}"), InlineData("{\"type\":\"hello\",\"version\":1,\"epoch\":\"\\ud800abcdefgh\"}"), InlineData("{\"type\":\"\\ud800\"}"), InlineData("[]"), InlineData("{\"type\":\"hello\",\"type\":\"hello\"}"), InlineData("{\"type\":\"beat\"}")]
    public async Task ATerminal_that_speaks_nonsense_is_cut_off_and_harms_nobody(string frame)
    {
        using var browser = new TestBrowser(_broker);
        var (access, _) = await browser.TokensAsync(Terminal);
        var second = await _broker.TerminalAsync("t-02");
        await second.StopAsync();
        using var socket = new System.Net.WebSockets.ClientWebSocket();
        using var certificate = TerminalKey.Load(second.Options.DataDirectory)!;
        socket.Options.ClientCertificates = [certificate];
        socket.Options.RemoteCertificateValidationCallback = (_, _, _, _) => true;
        await socket.ConnectAsync(new Uri($"wss://localhost:{_broker.TerminalsPort}/terminals/stream"), default);
        await socket.SendAsync(Encoding.UTF8.GetBytes(frame), System.Net.WebSockets.WebSocketMessageType.Text, true, default);
        await Assert.ThrowsAnyAsync<Exception>(async () => { if ((await socket.ReceiveAsync(new byte[100], default)).MessageType == System.Net.WebSockets.WebSocketMessageType.Close) throw new IOException("closed"); });
        Assert.Equal(HttpStatusCode.OK, (await browser.UserInfoAsync(access)).StatusCode);
        await second.StartAsync();
    }

    [Fact, Trait("Requirement", "TRM-15")]
    public async Task A_disabledTerminal_signs_nobody_in()
    {
        await _broker.SqlAsync("update terminals.terminals set state = 'lost' where id = 't-01'");
        using var browser = new TestBrowser(_broker);
        var (_, answer) = await browser.TryAsync(Terminal);
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);
        Assert.Equal("refused sign-in.terminal-not-in-use - t-01", await _broker.LastEventAsync("sign-in.claim"));
    }

    [Fact]
    public unsafe void The_layouts_of_both_platforms_are_those_of_their_headers()
    {
        Assert.Equal(80, Unsafe.SizeOf<PcscLite.ReaderState>());
        Assert.Equal(16, Unsafe.SizeOf<PcscLite.IoRequest>());
#pragma warning disable CA1416 // Sizes only: nothing of Windows is called.
        Assert.Equal(64, Unsafe.SizeOf<WinScard.ReaderState>());
        Assert.Equal(8, Unsafe.SizeOf<WinScard.IoRequest>());
        Assert.Equal(40, Unsafe.SizeOf<WindowsCredentialPrompt.UiInfo>());
        var state = new WinScard.ReaderState();
        Assert.Equal(28, (int)((byte*)state.Atr - (byte*)&state));
#pragma warning restore CA1416
        var lite = new PcscLite.ReaderState();
        Assert.Equal(40, (int)(lite.Atr - (byte*)&lite));
    }

    [Fact]
    public void The_caller_of_a_loopback_connection_is_found_by_the_kernels_table()
    {
        string[] table = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "   0: 0100007F:D431 0100007F:B953 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 20 4 30 10 -1"];
        Assert.Equal(1000u, LoopbackCaller.FindUser(table, new(IPAddress.Loopback, 0xD431), new(IPAddress.Loopback, 0xB953)));
        Assert.Null(LoopbackCaller.FindUser(table, new(IPAddress.Loopback, 0xD432), new(IPAddress.Loopback, 0xB953)));
        Assert.Equal(0u, LoopbackCaller.IdOf("root"));
        Assert.Null(LoopbackCaller.IdOf("no-such-user"));
    }
}
