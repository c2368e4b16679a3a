using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Tests.Support;
using AccessBroker.TimeSource;
using AccessBroker.Web;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace AccessBroker.Tests.TimeSource;

/// <summary>The check of this node's clock against a time server whose clock the test sets.</summary>
public sealed class TimeSourceTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(400);
    private static readonly DateTime Era = new(1900, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    /// <summary>A server of RFC 5905 whose clock is ahead by so much, and whose packets can be spoilt.</summary>
    private sealed class TimeServer : IAsyncDisposable
    {
        private readonly UdpClient _udp = new(new IPEndPoint(IPAddress.Loopback, 0));
        private readonly Task _serving;
        internal TimeSpan Ahead { get; set; }
        internal Func<byte[], byte[]?> Spoil { get; set; } = packet => packet;
        internal string Name => $"127.0.0.1:{((IPEndPoint)_udp.Client.LocalEndPoint!).Port}";
        internal TimeServer() => _serving = ServeAsync();

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    var asked = await _udp.ReceiveAsync();
                    var packet = new byte[48];
                    (packet[0], packet[1]) = (0x24, 2);
                    asked.Buffer.AsSpan(40, 8).CopyTo(packet.AsSpan(24));
                    Write(packet.AsSpan(32), DateTime.UtcNow + Ahead);
                    Write(packet.AsSpan(40), DateTime.UtcNow + Ahead);
                    if (Spoil(packet) is { } answer) await _udp.SendAsync(answer, asked.RemoteEndPoint);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException) { /* the test is over */ }
        }

        public async ValueTask DisposeAsync()
        {
            _udp.Dispose();
            await _serving;
        }
    }

    private static void Write(Span<byte> to, DateTime at)
    {
        var span = at - Era;
        BinaryPrimitives.WriteUInt32BigEndian(to, (uint)(long)span.TotalSeconds);
        BinaryPrimitives.WriteUInt32BigEndian(to[4..], (uint)((span.TotalSeconds - Math.Floor(span.TotalSeconds)) * 4294967296.0));
    }

    [Theory, Trait("Requirement", "CLK-01")]
    [InlineData(0), InlineData(90), InlineData(-90), InlineData(0.8)]
    public async Task The_offset_is_measured(double ahead)
    {
        await using var server = new TimeServer { Ahead = TimeSpan.FromSeconds(ahead) };
        var answer = await Sntp.AskAsync(server.Name, TimeSpan.FromSeconds(2), TimeProvider.System, default);
        Assert.NotNull(answer);
        Assert.InRange(answer.Offset.TotalSeconds, ahead - 0.2, ahead + 0.2);
        Assert.Equal(2, answer.Stratum);
    }

    /// <summary>The era that ends in 2036: a time after it is after it.</summary>
    [Fact]
    public void The_next_era_is_read()
    {
        var packet = new byte[48];
        (packet[0], packet[1]) = (0x24, 1);
        var at = new DateTime(2037, 5, 6, 7, 8, 9, DateTimeKind.Utc);
        Write(packet.AsSpan(32), at.AddSeconds(-4294967296.0));
        Write(packet.AsSpan(40), at.AddSeconds(-4294967296.0));
        Assert.InRange(Sntp.Read(packet, at, TimeSpan.Zero)!.Offset.TotalSeconds, -0.01, 0.01);
    }

    [Fact, Trait("Requirement", "CLK-01")]
    public async Task What_is_no_answer_to_our_question_or_from_a_server_that_does_not_know_is_not_believed()
    {
        await using var server = new TimeServer();
        async Task SilentAsync(Action<byte[]> spoil)
        {
            server.Spoil = packet => { spoil(packet); return packet; };
            Assert.Null(await Sntp.AskAsync(server.Name, Patience, TimeProvider.System, default));
        }
        await SilentAsync(p => p[24] ^= 1);                                  // another's question
        await SilentAsync(p => p[0] = 0xE4);                                 // not synchronised
        await SilentAsync(p => p[1] = 0);                                    // kiss of death
        await SilentAsync(p => p[0] = 0x23);                                 // a client
        await SilentAsync(p => p.AsSpan(32, 16).Clear());                    // no time
        server.Spoil = _ => null;
        Assert.Null(await Sntp.AskAsync(server.Name, Patience, TimeProvider.System, default));
        server.Spoil = _ => [1, 2, 3];
        Assert.Null(await Sntp.AskAsync(server.Name, Patience, TimeProvider.System, default));
        Assert.Null(await Sntp.AskAsync("127.0.0.1:9", Patience, TimeProvider.System, default));
    }

    [Fact, Trait("Requirement", "CLK-01")]
    public async Task Drift_beyond_policy_is_recorded_once_told_on_the_health_page_and_stops_what_needs_exact_time()
    {
        await using var server = new TimeServer();
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        var policy = PolicyFiles.Load<TimePolicy>(broker.PolicyDirectory, "time");
        using var check = new ClockCheck(new BrokerOptions { TimeSource = server.Name, Node = "clock-test" }, new Active<TimePolicy>(policy), store, TimeProvider.System, NullLogger<ClockCheck>.Instance);
        // Until the source has answered nobody knows.
        Assert.False(check.IsExact);
        await check.MeasureAsync(default);
        Assert.Equal(("ok", true), ((await check.ReportAsync(default)).State, check.IsExact));
        server.Ahead = TimeSpan.FromSeconds(3);
        for (var i = 0; i < 3; i++) await check.MeasureAsync(default);
        Assert.Equal(("broken", false), ((await check.ReportAsync(default)).State, check.IsExact));
        Assert.Equal(["refused|time.not-exact"], await broker.SqlAsync("select outcome, reason from history.events where operation = 'time.drift' and details->>'node' = 'clock-test'"));
        server.Ahead = TimeSpan.Zero;
        await check.MeasureAsync(default);
        Assert.True(check.IsExact);
        Assert.Equal(2, (await broker.SqlAsync("select 1 from history.events where operation = 'time.drift' and details->>'node' = 'clock-test'")).Count);
        // The source falls silent: the last measurement holds for a while, not for ever.
        server.Spoil = _ => null;
        var later = new TestClock();
        using var silent = new ClockCheck(new BrokerOptions { TimeSource = server.Name, Node = "silent" }, new Active<TimePolicy>(policy with { Believed = TimeSpan.FromMilliseconds(1) }), store, later, NullLogger<ClockCheck>.Instance);
        await Task.Delay(10);
        Assert.False(silent.IsExact);
        using var none = new ClockCheck(new BrokerOptions(), new Active<TimePolicy>(policy), store, TimeProvider.System, NullLogger<ClockCheck>.Instance);
        Assert.True(none.IsExact);
    }

    [Fact, Trait("Requirement", "CLK-01")]
    public async Task A_terminal_says_what_its_clock_shows_when_it_attaches()
    {
        await (await broker.TerminalAsync()).AttachedAsync();
        Assert.InRange(double.Parse((await broker.SqlAsync("select clock_offset_ms from terminals.terminals where id = 't-01'"))[0], System.Globalization.CultureInfo.InvariantCulture), -2000, 2000);
    }
}
