using System.Collections.Concurrent;
using System.Diagnostics;

namespace AccessBroker.Tests.Support;

/// <summary>One attempt of a crowd: when it began and ended, and what its person was told when it did not work.</summary>
internal sealed record Attempt(long Began, long Ended, string? Failure, string Detail = "", TimeSpan Typing = default);

/// <summary>A crowd that works without pause: card in, sign in, work a moment, card out, and see that access is gone.</summary>
internal sealed class LoadRun : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<Attempt> _attempts = new();
    private readonly ConcurrentQueue<TimeSpan> _cardOuts = new();
    private readonly List<Task> _people = [];
    private int _inFlight;

    internal int MostInFlight { get; private set; }
    internal IReadOnlyCollection<Attempt> Attempts => _attempts;
    /// <summary>From each card's removal until access was refused.</summary>
    internal IReadOnlyCollection<TimeSpan> CardOuts => _cardOuts;

    internal static LoadRun Start(IEnumerable<CrowdMember> members, int seed)
    {
        var run = new LoadRun();
        foreach (var (index, member) in members.Index()) run._people.Add(Task.Run(() => run.WorkAsync(member, new Random(seed + index))));
        return run;
    }

    internal int Succeeded(long since = 0) => _attempts.Count(a => a.Failure is null && a.Began >= since);
    internal int Failed(long since = 0) => _attempts.Count(a => a.Failure is not null && a.Ended >= since);

    /// <summary>When the first attempt that began after <paramref name="since"/> succeeded, without the time its person typed.</summary>
    internal TimeSpan? FirstSuccessAfter(long since) => _attempts.Where(a => a.Failure is null && a.Began >= since).OrderBy(a => a.Ended).FirstOrDefault() is { } first ? Stopwatch.GetElapsedTime(since, first.Ended) - first.Typing : null;

    private async Task WorkAsync(CrowdMember member, Random random)
    {
        while (!_stop.IsCancellationRequested)
        {
            var began = Stopwatch.GetTimestamp();
            MostInFlight = Math.Max(MostInFlight, Interlocked.Increment(ref _inFlight));
            string? access = null;
            try
            {
                await member.CardAsync(true);
                // With two hundred people on two cores, each types for some seconds as people do: most of a sign-in in flight is typing.
                member.Typing = TimeSpan.FromMilliseconds(Counts.Of(0, 1_500) + random.Next(Counts.Of(100, 1_500)));
                (access, _) = await member.SignInAsync();
                _attempts.Enqueue(new(began, Stopwatch.GetTimestamp(), null, Typing: member.Typing));
            }
            catch (NotDone e) { _attempts.Enqueue(new(began, Stopwatch.GetTimestamp(), e.Code, e.Message)); }
            finally { Interlocked.Decrement(ref _inFlight); }
            if (access is not null) await Task.Delay(random.Next(50));
            await member.CardAsync(false);
            if (access is null) await Task.Delay(100 + random.Next(200));
            else await RefusedAsync(member, access);
        }
    }

    /// <summary>Asks until access is refused; a node that cannot answer gives no access either.</summary>
    private async Task RefusedAsync(CrowdMember member, string access)
    {
        var since = Stopwatch.GetTimestamp();
        while (true)
        {
            try { if (!await member.HasAccessAsync(access)) break; }
            catch (NotDone) { break; }
            await Task.Delay(10);
        }
        _cardOuts.Enqueue(Stopwatch.GetElapsedTime(since));
    }

    /// <summary>Lets everybody finish what they are at.</summary>
    internal async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_people);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }
}
