using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.History;

/// <summary>
/// Ending or narrowing access never waits for the history: when the event cannot be written, it goes to a file on this node, synced to
/// the disk, and is merged later, marked <c>spool</c>. Opening access never uses it. <clause>MIC 6.1(6)②</clause>
/// </summary>
public sealed partial class HistorySpool(string directory, Store store, ILogger<HistorySpool> log) : BackgroundService
{
    private sealed record Entry(HistoryEvent Event, DateTimeOffset At);
    private sealed record Waiter(string Lines, int Count, TaskCompletionSource Kept);

    private static readonly JsonSerializerOptions Format = new() { Converters = { new IdConverter() } };
    private readonly Lock _gate = new();
    private readonly string _path = Path.Combine(directory, "history-spool.jsonl");
    private int _appending;
    private readonly Channel<Waiter> _appends = Channel.CreateUnbounded<Waiter>(new() { SingleReader = true });

    /// <summary>Events waiting to be merged: 0 in a healthy node.</summary>
    public int Waiting { get; private set; }

    /// <summary>
    /// Appends events; returns when they are on the disk. Callers that come together share one sync. Throws <see cref="IOException"/> when the disk
    /// refuses: the caller's ending stands all the same.
    /// </summary>
    public Task AppendAsync(IEnumerable<(HistoryEvent Event, DateTimeOffset At)> entries)
    {
        var lines = entries.Select(e => JsonSerializer.Serialize(new Entry(e.Event, e.At), Format) + "\n").ToList();
        if (lines.Count == 0) return Task.CompletedTask;
        if (Interlocked.Exchange(ref _appending, 1) == 0) _ = Task.Run(AppendAllAsync);
        var waiter = new Waiter(string.Concat(lines), lines.Count, new(TaskCreationOptions.RunContinuationsAsynchronously));
        _appends.Writer.TryWrite(waiter);
        return waiter.Kept.Task;
    }

    private async Task AppendAllAsync()
    {
        while (await _appends.Reader.WaitToReadAsync())
        {
            var together = new List<Waiter>();
            while (_appends.Reader.TryRead(out var waiter)) together.Add(waiter);
            try
            {
                lock (_gate)
                {
                    using var file = new FileStream(_path, FileMode.Append, FileAccess.Write);
                    file.Write(Encoding.UTF8.GetBytes(string.Concat(together.Select(w => w.Lines))));
                    file.Flush(flushToDisk: true);
                    Waiting += together.Sum(w => w.Count);
                }
                foreach (var waiter in together) waiter.Kept.SetResult();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException) { foreach (var waiter in together) waiter.Kept.SetException(e as IOException ?? new IOException("the spool cannot be written", e)); }
        }
    }

    /// <summary>Merges all waiting events in one transaction, then empties the file. A crash between the two merges them twice, never loses one.</summary>
    public async Task MergeAsync(CancellationToken ct)
    {
        string[] lines;
        lock (_gate) { lines = File.Exists(_path) ? File.ReadAllLines(_path) : []; Waiting = lines.Length; }
        if (lines.Length == 0) return;
        await using var work = await store.BeginAsync(ct);
        foreach (var line in lines)
        {
            // A torn last line is the crash of the append itself: it was never reported as kept.
            if (TryRead(line) is { } entry) work.BeforeCommit(HistoryLog.Insert(entry.Event, entry.At, "spool"));
            else LineUnreadable(log, line.Length);
        }
        await work.CommitAsync(ct);
        lock (_gate)
        {
            File.WriteAllLines(_path, File.ReadAllLines(_path).Skip(lines.Length));
            Waiting -= lines.Length;
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Instruments.Meter.CreateObservableGauge("accessbroker.history.spool", () => Waiting, description: "Endings that wait on this node to be written to the history.");
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(2));
        do
        {
            try { await MergeAsync(stoppingToken); }
            catch (Exception e) when (e is NpgsqlException or IOException) { MergeFailed(log, Waiting, e); }
        } while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    private static Entry? TryRead(string line)
    {
        try { return JsonSerializer.Deserialize<Entry>(line, Format); }
        catch (JsonException) { return null; }
    }

    [LoggerMessage(LogLevel.Error, "history spool: a line of {Length} characters is unreadable and was not merged")]
    private static partial void LineUnreadable(ILogger log, int length);
    [LoggerMessage(LogLevel.Warning, "history spool: {Waiting} events wait for the database")]
    private static partial void MergeFailed(ILogger log, int waiting, Exception e);
}
