using System.Net;
using System.Net.Sockets;
using System.Text;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Npgsql;

namespace AccessBroker.Tests.Notices;

/// <summary>Notices by their three ways, each with its own state.</summary>
public sealed class NoticeTests(NoticeTests.Host broker) : AtTerminal(broker), IClassFixture<NoticeTests.Host>
{
    /// <summary>A relay that takes mail as RFC 5321 has it, when it is up.</summary>
    public sealed class Host : BrokerHost
    {
        private TcpListener? _listener;
        public int RelayPort { get; } = Place.FreePort();
        public System.Collections.Concurrent.ConcurrentQueue<string> Mails { get; } = new();
        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__MailRelay", $"127.0.0.1:{RelayPort}"), new("Broker__MailFrom", "broker@city.example")];

        public void StartRelay()
        {
            _listener = new(IPAddress.Loopback, RelayPort);
            _listener.Start();
            _ = Task.Run(async () => { while (true) _ = ServeAsync(await _listener.AcceptTcpClientAsync()); });
        }

        private async Task ServeAsync(TcpClient client)
        {
            using var _ = client;
            await using var stream = client.GetStream();
            using var reader = new StreamReader(stream, Encoding.ASCII);
            Task SayAsync(string line) => stream.WriteAsync(Encoding.ASCII.GetBytes(line + "\r\n")).AsTask();
            await SayAsync("220 relay");
            var data = new StringBuilder();
            for (var inData = false; await reader.ReadLineAsync() is { } line;)
            {
                if (inData && line == ".") { inData = false; Mails.Enqueue(data.ToString()); await SayAsync("250 taken"); }
                else if (inData) data.AppendLine(line);
                else if (line == "DATA") { inData = true; await SayAsync("354 go on"); }
                else if (line == "QUIT") { await SayAsync("221 bye"); return; }
                else { data.AppendLine(line); await SayAsync("250 relay"); }
            }
        }

        protected override Task EndAsync() { _listener?.Stop(); return Task.CompletedTask; }
    }

    private readonly Host _broker = broker;

    private async Task SendAsync(string person)
    {
        await using var store = new Store(NpgsqlDataSource.Create(_broker.Environment()["Broker__Database"]));
        await using var work = await store.BeginAsync(default);
        work.Notify([PersonId.Parse(person)], "申請が届きました", "秘密の内容", "/requests/1", DateTimeOffset.UtcNow);
        await work.CommitAsync(default);
    }

    private Task StateAsync(string person, string channel, string state) => Eventually.TrueAsync(async () =>
        (await _broker.SqlAsync($"select d.state from notices.deliveries d join notices.notices n on n.id = d.notice where n.person = '{person}' and d.channel = '{channel}' order by n.id desc limit 1")).FirstOrDefault() == state, $"{person} {channel} {state}", 25);

    [Fact]
    public async Task A_notice_is_listed_shown_where_its_reader_sits_and_mailed_when_the_relay_is_back()
    {
        await _broker.SqlAsync("update people.persons set mail = 'admin@city.example' where id = 'p-9001'");
        await SendAsync("p-9001");
        await SendAsync("p-1002");
        // No address: given up. The relay is down: tried again. Nobody sits there: waits.
        await StateAsync("p-1002", "mail", "given-up");
        await Eventually.TrueAsync(async () => (await _broker.SqlAsync("select 1 from notices.deliveries where channel = 'mail' and state = 'waiting' and error is not null")).Count > 0, "tried in vain", 20);
        Assert.Equal("", Terminal.Shown);
        _broker.StartRelay();
        using var administrator = await ConsoleBrowser.SignInAsync(_broker, Terminal, "admin");
        var page = (await administrator.GetAsync("/")).Page;
        Assert.Contains("申請が届きました", page, StringComparison.Ordinal);
        await StateAsync("p-9001", "terminal", "delivered");
        Assert.Contains("申請が届きました", Terminal.Shown, StringComparison.Ordinal);
        await StateAsync("p-9001", "mail", "delivered");
        var mail = Assert.Single(_broker.Mails);
        Assert.Contains("admin@city.example", mail, StringComparison.Ordinal);
        Assert.DoesNotContain(Convert.ToBase64String(Encoding.UTF8.GetBytes("秘密"))[..6], mail, StringComparison.Ordinal);
        var id = (await _broker.SqlAsync("select id from notices.notices where person = 'p-9001'"))[0];
        Assert.Equal("/requests/1", (await administrator.PostAsync($"/notices/{id}/read?to=/requests/1")).To);
        Assert.DoesNotContain("申請が届きました", (await administrator.GetAsync("/")).Page, StringComparison.Ordinal);
        // Nobody else's notice is marked by it.
        await administrator.PostAsync($"/notices/{(await _broker.SqlAsync("select id from notices.notices where person = 'p-1002'"))[0]}/read");
        Assert.Equal(["True"], await _broker.SqlAsync("select read_at is null from notices.notices where person = 'p-1002'"));
    }

    [Fact]
    public void A_subject_is_one_line_and_never_cut_inside_a_pair()
    {
        Assert.Equal("認めない: a  b", NoticeBox.OneLine("認めない: a\r\nb"));
        Assert.Equal(199, NoticeBox.OneLine(new string('あ', 199) + "𠮷").Length);
        Assert.Equal(200, NoticeBox.OneLine(new string('あ', 198) + "𠮷野").Length);
    }
}
