using System.Collections.Concurrent;
using System.Diagnostics;
using AccessBroker.Tests.Support;

namespace AccessBroker.Benchmarks;

/// <summary>
/// From the hand that pulls the card (the request to the simulated reader) to the first refused userinfo call, at both nodes, through pcscd, the real
/// agent and HAProxy, while 50 other people work: their pages ask for their sessions, their relying parties for userinfo.
/// </summary>
internal static class CardOut
{
    private const int Others = 50, Times = 520;

    internal sealed class City : BrokerHost
    {
        protected override int NodeCount => 2;
        protected override void ChangePolicies(string directory) => CrowdedCity.LiftRateLimit(directory);
    }

    internal static async Task<Result> RunAsync()
    {
        var city = new City();
        await city.InitializeAsync();
        await using var crowd = await Crowd.CreateAsync(city, Others);
        using var stop = new CancellationTokenSource();
        await crowd.CardsAsync(true);
        var working = crowd.Members.Select(m => WorkAsync(m, stop.Token)).ToList();
        var (mine, first, second) = (new ConcurrentBag<TimeSpan>(), new ConcurrentBag<TimeSpan>(), new ConcurrentBag<TimeSpan>());
        await Task.WhenAll(PullAsync(city, "t-01", "sato"), PullAsync(city, "t-02", "suzuki"));
        await stop.CancelAsync();
        var alive = (await Task.WhenAll(working)).Count(a => a);
        await city.DisposeAsync();
        var worst = new Sample(mine);
        return new("card-out", worst.P(99), "ms p99", 1000, worst.P(99) <= 1000 && alive == Others, new Dictionary<string, string>
        {
            ["slower of both nodes"] = worst.ToString(),
            ["node 1"] = new Sample(first).ToString(),
            ["node 2"] = new Sample(second).ToString(),
            ["others"] = $"{alive} of {Others} other sessions lived through it",
        });

        async Task PullAsync(BrokerHost host, string id, string card)
        {
            var terminal = await host.TerminalAsync(id);
            using var browser = new TestBrowser(host);
            using var direct = host.Client();
            for (var i = 0; i < Times / 2; i++)
            {
                await terminal.InsertAsync(card);
                using var fresh = new TestBrowser(host);
                var (access, _) = await fresh.TokensAsync(terminal);
                var began = Stopwatch.GetTimestamp();
                var refused = Task.WhenAll(RefusedAsync(direct, host.NodeUrl(0), access, began), RefusedAsync(direct, host.NodeUrl(1), access, began));
                await Desk.RemoveAsync(terminal.ReaderIndex);
                var times = await refused;
                first.Add(times[0]);
                second.Add(times[1]);
                mine.Add(times.Max());
                await terminal.RemoveAsync();
            }
        }
    }

    private static async Task<TimeSpan> RefusedAsync(HttpClient client, Uri node, string access, long began)
    {
        while (true)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(node, "/connect/userinfo")) { Headers = { Authorization = new("Bearer", access) } };
            using var response = await client.SendAsync(request);
            if (!response.IsSuccessStatusCode) return Stopwatch.GetElapsedTime(began);
            await Task.Delay(5);
        }
    }

    /// <summary>One other person at work; true when the session lived to the end.</summary>
    private static async Task<bool> WorkAsync(CrowdMember member, CancellationToken stop)
    {
        var (access, _) = await member.SignInAsync(CancellationToken.None);
        while (!stop.IsCancellationRequested)
        {
            await Task.Delay(700, CancellationToken.None);
            await member.AskSessionAsync();
            if (!await member.HasAccessAsync(access, ct: CancellationToken.None)) return false;
        }
        return true;
    }
}
