using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using AccessBroker.Database;
using AccessBroker.Tests.Support;
using Npgsql;

namespace AccessBroker.Tests.Setup;

/// <summary>The first day of an empty city: two people, two codes, two cards, and closed.</summary>
public sealed class SetupTests(SetupTests.Host broker) : IClassFixture<SetupTests.Host>
{
    /// <summary>A broker on an empty, migrated database where 'init' has run.</summary>
    public sealed class Host : BrokerHost
    {
        public Dictionary<string, string> Codes { get; private set; } = [];

        protected override async Task ArrangeAsync()
        {
            await using (var admin = await OpenAsync("postgres", "postgres"))
                foreach (var sql in (string[])[$"drop database {DatabaseName}", $"create database {DatabaseName} owner accessbroker_owner"])
                    await using (var command = new NpgsqlCommand(sql, admin)) await command.ExecuteNonQueryAsync();
            await Migrations.ApplyAsync(Environment()["Broker__DatabaseOwner"], default);
            var file = Path.Combine(DataDirectory, "first-day.json");
            await File.WriteAllTextAsync(file, JsonSerializer.Serialize(new
            {
                administrator = new { staffNumber = "A100", name = "初代 管理", kana = "ショダイ カンリ", section = "情報システム課", post = "情報システム課長" },
                pinManager = new { staffNumber = "A200", name = "初代 暗証", kana = "ショダイ アンショウ", section = "市民課", post = "住民情報担当課長" },
                station = new { id = "t-01", name = "カード発行所", place = "本庁舎2階", system = "koseki", address = "127.0.0.1" },
            }));
            var (_, output, _) = await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "init", file], Environment().ToDictionary(e => e.Key, e => (string?)e.Value));
            Codes = output.Split('\n').Select(l => l.Split(' ')).Where(l => l.Length == 2).ToDictionary(l => l[0], l => l[1]);
            // Once is enough.
            var (exit, _, error) = await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "init", file], Environment().ToDictionary(e => e.Key, e => (string?)e.Value), mayFail: true);
            Assert.Equal(1, exit);
            Assert.Contains("first day only", error, StringComparison.Ordinal);
        }
    }

    private static async Task<(HttpStatusCode Status, string Page, string? To)> PostAsync(HttpClient http, string path, params (string Name, string Value)[] form)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new FormUrlEncodedContent(form.Select(f => KeyValuePair.Create(f.Name, f.Value))) };
        request.Headers.Add("Sec-Fetch-Site", "same-origin");
        using var response = await http.SendAsync(request);
        return (response.StatusCode, WebUtility.HtmlDecode(await response.Content.ReadAsStringAsync()), response.Headers.Location?.OriginalString);
    }

    private static async Task<string> WorkAsync(HttpClient inside, TestTerminal terminal, string person, params string[] types)
    {
        var (_, page, _) = await PostAsync(inside, $"/setup?act=card&person={person}");
        var work = Regex.Match(page, "data-base=\"([^\"]+)\"").Groups[1].Value;
        using var handle = await inside.PostAsync(new Uri($"{work}/handle", UriKind.Relative), JsonContent.Create(new { }));
        terminal.Types(types);
        using var answer = await terminal.WorkAsync((await handle.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("handle").GetString()!);
        return (await inside.GetFromJsonAsync<JsonElement>(new Uri($"{work}/state", UriKind.Relative))).GetProperty("told").GetString()!;
    }

    [Fact, Trait("Requirement", "PWD-09")]
    public async Task Both_come_with_their_codes_get_their_cards_and_the_day_is_closed_for_ever()
    {
        var terminal = await broker.TerminalAsync();
        using var http = broker.Client(cookies: new CookieContainer());
        using (var elsewhere = broker.Client("127.0.0.3")) Assert.Equal(HttpStatusCode.NotFound, (await elsewhere.GetAsync(new Uri("/setup", UriKind.Relative))).StatusCode);
        var (status, page, _) = await PostAsync(http, "/setup?act=enter", ("AdministratorCode", broker.Codes["administrator"]), ("PinManagerCode", broker.Codes["administrator"]));
        Assert.Equal(HttpStatusCode.Forbidden, status);
        Assert.Contains("二人のコード", page, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync(http, "/setup?act=card&person=p-a100")).Status);
        // Two browsers at once with the same codes: one gets in.
        using var second = broker.Client(cookies: new CookieContainer());
        (string, string)[] codes = [("AdministratorCode", broker.Codes["administrator"]), ("PinManagerCode", broker.Codes["pin-manager"])];
        var entered = await Task.WhenAll(PostAsync(http, "/setup?act=enter", codes), PostAsync(second, "/setup?act=enter", codes));
        var inside = Assert.Single(entered.Index(), e => e.Item.To == "/setup").Index == 0 ? http : second;
        // The browser broke down, the codes are used up: new ones, and the former session is over.
        var (_, output, _) = await Place.RunAsync("dotnet", [Path.Combine(Place.App("broker"), "AccessBroker.dll"), "init", "--new-codes"], broker.Environment().ToDictionary(e => e.Key, e => (string?)e.Value));
        var fresh = output.Split('\n').Select(l => l.Split(' ')).Where(l => l.Length == 2).ToDictionary(l => l[0], l => l[1]);
        Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync(inside, "/setup?act=card&person=p-a100")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await PostAsync(inside, "/setup?act=enter", codes)).Status);
        Assert.Equal("/setup", (await PostAsync(inside, "/setup?act=enter", ("AdministratorCode", fresh["administrator"]), ("PinManagerCode", fresh["pin-manager"]))).To);
        foreach (var (person, pin) in ((string, string)[])[("p-a100", "40718293"), ("p-a200", "50817293")])
        {
            var blank = $"first-{person}";
            await Desk.AddBlankAsync(blank);
            await Desk.InsertAsync(TestTerminal.IssuingReader, blank);
            // Cancelled at the PIN: the card is made, and the next time only the PIN is asked for.
            Assert.Contains("取り消されました", await WorkAsync(inside, terminal, person, "cancel"), StringComparison.Ordinal);
            Assert.Equal(["personalised"], await broker.SqlAsync($"select state from cards.cards where person = '{person}'"));
            Assert.Equal("手渡しが終わりました。カードは有効です(サインインには、端末の利用許可も要ります)。", await WorkAsync(inside, terminal, person, pin, pin));
            Assert.Equal(["handed-over"], await broker.SqlAsync($"select state from cards.cards where person = '{person}'"));
            await Desk.RemoveAsync(TestTerminal.IssuingReader);
        }
        Assert.Equal("/", (await PostAsync(inside, "/setup?act=close")).To);
        Assert.Equal(HttpStatusCode.NotFound, (await inside.GetAsync(new Uri("/setup", UriKind.Relative))).StatusCode);
        using var administrator = await ConsoleBrowser.SignInAsync(broker, terminal, "first-p-a100", "40718293");
        Assert.Contains("初代 管理", (await administrator.GetAsync("/")).Page, StringComparison.Ordinal);
        Assert.Equal(["setup.init", "setup.enter", "setup.new-codes", "setup.enter", "setup.close"], (await broker.SqlAsync("select operation from history.events where operation like 'setup.%' and outcome = 'done' order by id")));
    }
}
