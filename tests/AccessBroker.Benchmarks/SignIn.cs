using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using AccessBroker.Tests.Support;

namespace AccessBroker.Benchmarks;

/// <summary>
/// Whole sign-ins, from the relying party's authorization request to its tokens, over TLS, with simulated cards. The servers' cost per sign-in is
/// their CPU time; browsers, agents and cards (the terminals' own machines) are counted apart. Beside it, what it replaces: a password check.
/// </summary>
internal static class SignIn
{
    private const int People = 50, Rounds = 24, InFlight = 8, Goal = 300;

    private sealed class City : BrokerHost
    {
        protected override void ChangePolicies(string directory) => CrowdedCity.LiftRateLimit(directory);
    }

    /// <summary>Segment lgwan: a key without attestation counts, at any hour.</summary>
    private sealed class CityOfKeys : BrokerHost
    {
        protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__Segment", "lgwan")];

        protected override void ChangePolicies(string directory)
        {
            CrowdedCity.LiftRateLimit(directory, "lgwan");
            ByDay.Change(directory);
        }
    }

    internal static Task<Result> RunAsync() => RunAsync("signin", new City(), Goal, (member, ct) => member.SignInAsync(ct));

    /// <summary>The same people with passkeys in place of cards.</summary>
    internal static Task<Result> WithPasskeysAsync()
    {
        var keys = new ConcurrentDictionary<string, SoftKey>();
        return RunAsync("passkey", new CityOfKeys(), Goal, async (member, ct) =>
        {
            if (keys.TryGetValue(member.Terminal, out var key)) return await member.SignInAsync(key, ct);
            var first = await member.SignInAsync(ct);
            await member.EnrolAsync(keys[member.Terminal] = new(Guid.NewGuid()) { Attestation = "none" }, ct);
            return first;
        });
    }

    private static async Task<Result> RunAsync(string name, BrokerHost city, double goal, Func<CrowdMember, CancellationToken, Task<(string Access, TimeSpan Elapsed)>> signIn)
    {
        await city.InitializeAsync();
        await using var crowd = await Crowd.CreateAsync(city, People);
        for (var round = 0; round < 24; round++) await RoundAsync(crowd, [], signIn);
        var times = new ConcurrentBag<TimeSpan>();
        var (wall, used) = (TimeSpan.Zero, new Dictionary<string, TimeSpan>());
        var cards = TimeSpan.Zero;
        for (var round = 0; round < Rounds; round++)
        {
            var (before, cardBefore, began) = (Used(city), CardTime(crowd), Stopwatch.GetTimestamp());
            await SignAllAsync(crowd, times, signIn);
            wall += Stopwatch.GetElapsedTime(began);
            cards += CardTime(crowd) - cardBefore;
            foreach (var (part, after) in Used(city)) used[part] = used.GetValueOrDefault(part) + after - before[part];
            await RestAsync(crowd);
        }
        var n = times.Count;
        var servers = used.Where(u => u.Key != "browsers, agents, cards").Aggregate(TimeSpan.Zero, (sum, u) => sum + u.Value);
        var perCore = n / servers.TotalSeconds;
        var password = PasswordChecksPerSecond();
        await city.DisposeAsync();
        return new(name, perCore, "sign-ins/s/core", goal, perCore >= goal, new Dictionary<string, string>
        {
            ["latency"] = $"{new Sample(times)} ({InFlight} at a time on {Environment.ProcessorCount} cores, load generator on the same ones)",
            ["wall clock"] = $"{n / wall.TotalSeconds:0} sign-ins/s with everything on {Environment.ProcessorCount} cores",
            ["CPU per sign-in"] = string.Join(", ", used.Select(u => $"{u.Key} {u.Value.TotalMilliseconds / n:0.00} ms")) + $"; of that the card's own {cards.TotalMilliseconds / n:0.00} ms",
            ["broker alone"] = $"{n / used["broker"].TotalSeconds:0} sign-ins/s/core",
            ["without the card's own time"] = $"{n / (used.Values.Aggregate(TimeSpan.Zero, (a, b) => a + b) - cards).TotalSeconds:0} sign-ins/s/core, browsers and agents counted",
            ["what it replaces"] = $"PBKDF2-HMAC-SHA256, 600,000 iterations: {password:0.0} checks/s/core; ratio {perCore / password:0}",
        });
    }

    private static async Task RoundAsync(Crowd crowd, ConcurrentBag<TimeSpan> times, Func<CrowdMember, CancellationToken, Task<(string Access, TimeSpan Elapsed)>> signIn)
    {
        await SignAllAsync(crowd, times, signIn);
        await RestAsync(crowd);
    }

    private static Task SignAllAsync(Crowd crowd, ConcurrentBag<TimeSpan> times, Func<CrowdMember, CancellationToken, Task<(string Access, TimeSpan Elapsed)>> signIn) =>
        Parallel.ForEachAsync(crowd.Members, new ParallelOptions { MaxDegreeOfParallelism = InFlight }, async (member, ct) =>
        {
            if (!member.Reader.Inside) await member.CardAsync(true);
            times.Add((await signIn(member, ct)).Elapsed);
        });

    /// <summary>Cards out and in again: not part of a sign-in, so not part of the measurement.</summary>
    private static async Task RestAsync(Crowd crowd)
    {
        await crowd.CardsAsync(false);
        await crowd.CardsAsync(true);
        await Task.Delay(300);
    }

    private static TimeSpan CardTime(Crowd crowd) => crowd.Members.Aggregate(TimeSpan.Zero, (sum, m) => sum + m.Reader.CardTime);

    private static Dictionary<string, TimeSpan> Used(BrokerHost city) => new()
    {
        ["broker"] = Cpu.Of([city.ProcessId]),
        ["PostgreSQL"] = Cpu.Of(Neighbours.Postgres()),
        ["HSM"] = Cpu.Of(Neighbours.Hsm()),
        ["Redis"] = Cpu.Of(Neighbours.Redis()),
        ["browsers, agents, cards"] = Cpu.Of([Neighbours.Self]),
    };

    private static double PasswordChecksPerSecond()
    {
        var salt = RandomNumberGenerator.GetBytes(16);
        Rfc2898DeriveBytes.Pbkdf2("warm-up"u8, salt, 1_000, HashAlgorithmName.SHA256, 32);
        var (before, n) = (Process.GetCurrentProcess().TotalProcessorTime, 10);
        for (var i = 0; i < n; i++) Rfc2898DeriveBytes.Pbkdf2("correct horse battery staple"u8, salt, 600_000, HashAlgorithmName.SHA256, 32);
        return n / (Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds;
    }
}
