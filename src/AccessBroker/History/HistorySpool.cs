using System.Text.Json;
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

    private static readonly JsonSerializerOptions Format = new() { Converters = { new IdConverter() } };
    private readonly Lock _gate = new();
    private readonly string _path = Path.Combine(directory, "history-spool.jsonl");

    /// <summary>Events waiting to be merged: 0 in a healthy node.</summary>
    public int Waiting { get; private set; }

    /// <summary>Appends one event and syncs the file. Throws <see cref="IOException"/> when the disk refuses: the caller's ending stands all the same.</summary>
    public void Append(HistoryEvent entry, DateTimeOffset at)
    {
        lock (_gate)
        {
            using var file = new FileStream(_path, FileMode.Append, FileAccess.Write);
            JsonSerializer.Serialize(file, new Entry(entry, at), Format);
            file.WriteByte((byte)'\n');
            file.Flush(flushToDisk: true);
            Waiting++;
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
