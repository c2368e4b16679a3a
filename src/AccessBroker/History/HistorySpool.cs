using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.History;

/// <summary>Something that ended or narrowed access: its event, and when it was.</summary>
public sealed record Narrowed(HistoryEvent Event, DateTimeOffset At);

/// <summary>
/// Ending or narrowing access never waits for the history: when the event cannot be written, it goes to a file on this node, synced to
/// the disk, and is merged later, marked <c>spool</c>. Opening access never uses it. <clause>MIC 6.1(6)②</clause>
/// </summary>
public sealed partial class HistorySpool(string directory, Store store, VitalStore vital, ILogger<HistorySpool> log) : BackgroundService
{
    private sealed record Entry(HistoryEvent Event, DateTimeOffset At);
    private sealed record Waiter(string Lines, int Count, TaskCompletionSource Kept);

    private static readonly JsonSerializerOptions Format = new() { Converters = { new IdConverter() } };
    private readonly Lock _gate = new();
    private readonly string _path = Path.Combine(directory, "history-spool.jsonl");
    private int _appending, _merged;
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
                    Append(Encoding.UTF8.GetBytes(string.Concat(together.Select(w => w.Lines))));
                    Waiting += together.Sum(w => w.Count);
                }
                foreach (var waiter in together) waiter.Kept.SetResult();
            }
            // Whatever it was goes to the callers; this loop must not end.
            catch (Exception e) { foreach (var waiter in together) waiter.Kept.TrySetException(e as IOException ?? new IOException("the spool cannot be written", e)); }
        }
    }

    /// <summary>All or nothing: what a full disk or a crash tore is cut off before the next line.</summary>
    private void Append(byte[] lines)
    {
        using var file = new FileStream(_path, FileMode.OpenOrCreate, FileAccess.ReadWrite);
        var end = EndOfLastLine(file);
        try
        {
            file.SetLength(end);
            file.Seek(end, SeekOrigin.Begin);
            file.Write(lines);
            file.Flush(flushToDisk: true);
        }
        catch (IOException)
        {
            file.SetLength(end);
            throw;
        }
    }

    private static long EndOfLastLine(FileStream file)
    {
        for (var end = file.Length; end > 0; end--)
        {
            file.Seek(end - 1, SeekOrigin.Begin);
            if (file.ReadByte() == '\n') return end;
        }
        return 0;
    }

    /// <summary>Merges all waiting events in one transaction, then takes them out of the file. A crash between the two merges them twice, never loses one.</summary>
    public async Task MergeAsync(CancellationToken ct)
    {
        string[] lines;
        lock (_gate)
        {
            // Merged, but the file could not be rewritten then.
            if (_merged > 0) TakeOut();
            lines = File.Exists(_path) ? File.ReadAllLines(_path) : [];
            Waiting = lines.Length;
        }
        if (lines.Length == 0) { await ProbeAsync(ct); return; }
        await using var work = await store.BeginAsync(ct);
        foreach (var line in lines)
        {
            // A torn last line is the crash of the append itself: it was never reported as kept.
            if (TryRead(line) is { } entry) work.BeforeCommit(HistoryLog.Insert(entry.Event, entry.At, "spool"));
            else { LineUnreadable(log, line.Length); lock (_gate) File.AppendAllText(_path + ".unreadable", line + "\n"); }
        }
        await work.CommitAsync(ct);
        lock (_gate)
        {
            _merged = lines.Length;
            TakeOut();
        }
    }

    /// <summary>The file without what was merged: written whole beside it and put in its place.</summary>
    private void TakeOut()
    {
        var left = File.ReadAllLines(_path).Skip(_merged).ToArray();
        var fresh = _path + ".new";
        using (var file = new FileStream(fresh, FileMode.Create, FileAccess.Write))
        {
            file.Write(Encoding.UTF8.GetBytes(string.Concat(left.Select(l => l + "\n"))));
            file.Flush(flushToDisk: true);
        }
        File.Move(fresh, _path, overwrite: true);
        (Waiting, _merged) = (left.Length, 0);
    }

    /// <summary>When the history was not writable and nobody tries: writes an event and takes it back, to find out whether it is again.</summary>
    private async Task ProbeAsync(CancellationToken ct)
    {
        if (store.NotWritable is null) return;
        await using var work = await store.BeginAsync(ct);
        await work.ExecuteAsync(HistoryLog.Insert(new("history.probe", HistoryOutcome.Done), DateTimeOffset.UnixEpoch, "probe"), ct);
        store.NoteWrite(null);
    }

    /// <summary>
    /// Does what ends or narrows access and writes its events with it. When the history alone cannot be written (disk full, read-only), it stands
    /// all the same: its events go to the spool, and then it is committed. Throws <see cref="NpgsqlException"/> when the database takes neither.
    /// </summary>
    /// <param name="narrow">Runs the statements and returns what they did; it may run twice.</param>
    public async Task<IReadOnlyList<Narrowed>> NarrowAsync(Func<UnitOfWork, Task<List<Narrowed>>> narrow)
    {
        // Known not to be writable: the merge finds out when it is again.
        if (store.NotWritable is null)
        {
            try
            {
                await using var recorded = await vital.Store.BeginAsync(CancellationToken.None);
                var done = await narrow(recorded);
                if (done.Count == 0) return done;
                foreach (var one in done) recorded.Record(one.Event, one.At);
                await recorded.CommitAsync(CancellationToken.None);
                return done;
            }
            catch (PostgresException e) { NotRecorded(log, e.SqlState, e); }
        }
        await using var work = await vital.Store.BeginAsync(CancellationToken.None);
        var narrowed = await narrow(work);
        if (narrowed.Count == 0) return narrowed;
        await KeepAsync(narrowed);
        await work.CommitAsync(CancellationToken.None);
        return narrowed;
    }

    /// <summary>Appends; a disk that refuses is told in the log, which is then the only record. Never throws.</summary>
    public async Task KeepAsync(IReadOnlyCollection<Narrowed> narrowed)
    {
        try { await AppendAsync(narrowed.Select(n => (n.Event, n.At))); }
        catch (IOException disk) { foreach (var one in narrowed) Lost(log, one.Event.Operation, one.Event.Reason, one.Event.Session, one.Event.Terminal, disk); }
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

    [LoggerMessage(LogLevel.Error, "an ending could not be written to the history ({State}); spooled")]
    private static partial void NotRecorded(ILogger log, string state, Exception e);
    [LoggerMessage(LogLevel.Critical, "{Operation} ({Reason}) of session {Session} at terminal {Terminal} could be written neither to the history nor to the spool; it stands all the same, and this line is its record")]
    private static partial void Lost(ILogger log, string operation, string reason, SessionId? session, TerminalId? terminal, Exception e);
    [LoggerMessage(LogLevel.Error, "history spool: a line of {Length} characters is unreadable; it was put aside beside the spool")]
    private static partial void LineUnreadable(ILogger log, int length);
    [LoggerMessage(LogLevel.Warning, "history spool: {Waiting} events wait for the database")]
    private static partial void MergeFailed(ILogger log, int waiting, Exception e);
}
