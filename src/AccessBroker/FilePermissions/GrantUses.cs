using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.FilePermissions;

/// <summary>Which rights enforcement points have used, to the hour: kept in memory and written each ten seconds, so that the review does not take a used right for an unused one. <clause>MIC 6.2(1)</clause></summary>
public sealed partial class GrantUses(Store store, TimeProvider time, ILogger<GrantUses> log) : BackgroundService
{
    private ConcurrentDictionary<(long Grant, PersonId Person, string Action), DateTimeOffset> _waiting = new();
    private ConcurrentDictionary<(long Grant, PersonId Person, string Action), DateTimeOffset> _written = new();
    /// <summary>Ours: noted once an hour; 100,000 kept in mind.</summary>
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);
    private const int Most = 100_000;

    /// <summary>Notes a use. Never throws, never waits.</summary>
    public void Add(long grant, PersonId person, string action)
    {
        var (key, now) = ((grant, person, action), time.GetUtcNow());
        if (_waiting.Count > Most || (_written.TryGetValue(key, out var last) && now - last < Hour)) return;
        _waiting[key] = now;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await TryFlushAsync();
        }
        finally { await TryFlushAsync(); }
    }

    private async Task TryFlushAsync()
    {
        var waiting = Interlocked.Exchange(ref _waiting, new());
        if (waiting.IsEmpty) return;
        try
        {
            await using var work = await store.BeginAsync(CancellationToken.None);
            foreach (var ((grant, person, action), at) in waiting) FileShelf.NoteUse(work, grant, person.Value, action, at);
            await work.CommitAsync(CancellationToken.None);
            if (_written.Count > Most) _written.Clear();
            foreach (var (key, at) in waiting) _written[key] = at;
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable)
        {
            foreach (var (key, at) in waiting) _waiting.TryAdd(key, at);
            Waiting(log, e.Message);
        }
    }

    [LoggerMessage(LogLevel.Warning, "uses of rights wait for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
