using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.FilePermissions;

/// <summary>For longer than allowed this node has not heard whether rights have changed: nobody is let in by what it remembers.</summary>
public sealed class FileRightsUnknownException : Exception, IUnavailable
{
    /// <inheritdoc/>
    public string Code => "files.rights-unknown";
    /// <inheritdoc/>
    public string Explanation => "ファイルの利用権限を確かめられません。しばらくしてから、もう一度お試しください。";
    public FileRightsUnknownException() : base("the permissions could not be read anew") { }
    public FileRightsUnknownException(string message) : base(message) { }
    public FileRightsUnknownException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>
/// Decisions from memory: one snapshot per operator, thrown away as soon as anything changed that it rests on. The database is asked four times a second
/// whether something did; when it does not answer for a second, every question is refused until it does. <clause>MOJ 第5-4(4)</clause>
/// </summary>
public sealed partial class FileDecisions(Store store, Wakeups wakeups, TimeProvider time, ILogger<FileDecisions> log) : BackgroundService
{
    /// <summary>Woken when rights changed.</summary>
    public const string Topic = "files";
    /// <summary>Ours: asked every 250 ms, believed for 1 s; 10,000 operators in memory.</summary>
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(250), Believed = TimeSpan.FromSeconds(1);
    private const int MostSnapshots = 10_000;

    private sealed record Snapshot(FrozenSet<string> Subjects, FrozenDictionary<string, FileGrant[]> Grants, DateTimeOffset? Until);
    private sealed record Generation((long Files, long People, long Sets) Epoch, FrozenDictionary<string, FileSet> Sets)
    {
        internal ConcurrentDictionary<PersonId, Task<Snapshot>> Snapshots { get; } = new();
    }

    private volatile Generation? _generation;
    /// <summary>Work that this node knows to be over. Ours: for a day; no work lasts so long.</summary>
    private readonly ConcurrentDictionary<string, long> _over = new();
    private static readonly TimeSpan Remembered = TimeSpan.FromDays(1);
    private long _heard;

    /// <summary>Decides. Throws <see cref="FileRightsUnknownException"/> when this node cannot know, <see cref="NpgsqlException"/> when a first question finds no database.</summary>
    /// <param name="properties">What an enforcement point says of subject, resource and action. Default: nothing.</param>
    public async ValueTask<FileDecision> DecideAsync(PersonId person, string resource, string action, CancellationToken ct, JsonElement properties = default)
    {
        var generation = Current();
        var at = time.GetUtcNow();
        var loading = Load(generation, person, at);
        var snapshot = loading.IsCompletedSuccessfully ? loading.Result : await loading.WaitAsync(ct);
        if (snapshot.Until <= at)
        {
            // A post has begun or ended by itself.
            generation.Snapshots.TryRemove(new(person, loading));
            snapshot = await Load(generation, person, at).WaitAsync(ct);
        }
        return FileRule.Decide(generation.Sets, snapshot.Grants, snapshot.Subjects, person.Value, resource, action, at, properties);
    }

    /// <summary>
    /// Work that ends just now: nothing that belongs to it is granted at this node from here on, whatever the database still says, and transfers are judged
    /// anew. The end waits for no disk and no lock; the database says the same from its commit on.
    /// </summary>
    internal void Forget(IReadOnlyCollection<(string Holder, PersonId Person)> over)
    {
        var now = time.GetTimestamp();
        foreach (var (holder, _) in over) _over[holder] = now;
        foreach (var person in over.Select(o => o.Person).Distinct())
            if (_generation is { } generation && generation.Snapshots.TryGetValue(person, out var loading))
                // One that is just being read may have passed the question already.
                if (loading is { IsCompletedSuccessfully: true, Result: var snapshot }) generation.Snapshots.TryUpdate(person, Task.FromResult(snapshot with { Grants = Living(snapshot.Grants.Values.SelectMany(g => g)) }), loading);
                else generation.Snapshots.TryRemove(new(person, loading));
        foreach (var old in _over.Where(o => time.GetElapsedTime(o.Value, now) > Remembered)) _over.TryRemove(old);
        wakeups.WakeHere(ChangedTopic);
    }

    private FrozenDictionary<string, FileGrant[]> Living(IEnumerable<FileGrant> grants) =>
        grants.Where(g => g.Holder is null || !_over.ContainsKey(g.Holder)).GroupBy(g => g.Resource).ToFrozenDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal);

    /// <summary>How many places there are. Throws <see cref="FileRightsUnknownException"/>.</summary>
    public int Places => Current().Sets.Count;

    private Generation Current() => _generation is { } generation && time.GetElapsedTime(Interlocked.Read(ref _heard)) <= Believed ? generation : throw new FileRightsUnknownException();

    private Task<Snapshot> Load(Generation generation, PersonId person, DateTimeOffset at)
    {
        // Questions about many who do not exist push out some, never everybody.
        if (generation.Snapshots.Count > MostSnapshots)
            foreach (var other in generation.Snapshots.Keys.Take(MostSnapshots / 10)) generation.Snapshots.TryRemove(other, out _);
        var task = generation.Snapshots.GetOrAdd(person, p => LoadAsync(p, at));
        if (!task.IsFaulted && !task.IsCanceled) return task;
        // A load that failed is no answer for the next one.
        generation.Snapshots.TryRemove(new(person, task));
        return generation.Snapshots.GetOrAdd(person, p => LoadAsync(p, at));
    }

    /// <summary>Directories that lead to something granted to a person to read, and "/": the names of others are nobody's business. Throws as <see cref="DecideAsync"/>.</summary>
    public async ValueTask<IReadOnlySet<string>> LeadingAsync(PersonId person, CancellationToken ct)
    {
        var (generation, at) = (Current(), time.GetUtcNow());
        var snapshot = await Load(generation, person, at).WaitAsync(ct);
        return snapshot.Grants.Values.SelectMany(g => g).Where(g => !g.Deny && g.From <= at && g.Until > at && g.Resource.StartsWith('/') && (g.Actions.Contains("read") || g.Actions.Contains("write"))).SelectMany(g => FileRule.Chain(g.Resource)).ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>Is a bulk update under way at a path. Throws <see cref="FileRightsUnknownException"/>.</summary>
    public bool IsInBatch(string path) => Current().Sets is var sets && FileRule.Chain(path).Any(level => sets.TryGetValue(level, out var set) && set.InBatch);

    private async Task<Snapshot> LoadAsync(PersonId person, DateTimeOffset at)
    {
        var (subjects, grants) = (FileRegister.Subjects(person, at), FileRegister.GrantsTo(person, at));
        await using var work = await store.ReadAsync(CancellationToken.None);
        await work.AskAsync(CancellationToken.None, subjects, grants);
        return new(subjects.Answer.Subjects.ToFrozenSet(StringComparer.Ordinal), Living(grants.Answer), subjects.Answer.Until);
    }

    /// <summary>Asks once whether anything changed. The epoch is read before what it stands for: newer data under an older number is only read again.</summary>
    internal async Task RefreshAsync(CancellationToken ct)
    {
        var asked = time.GetTimestamp();
        var epoch = await store.AskAsync(FileRegister.Epoch(), ct);
        if (_generation?.Epoch != epoch)
        {
            var sets = _generation is { } last && last.Epoch.Sets == epoch.Sets ? last.Sets : (await store.AskAsync(FileRegister.Sets(), ct)).ToFrozenDictionary(s => s.Resource, StringComparer.Ordinal);
            _generation = new(epoch, sets);
            wakeups.WakeHere(ChangedTopic);
        }
        Interlocked.Exchange(ref _heard, asked);
    }

    /// <summary>Woken at this node when it has read changed rights, or when the time of some is over: running streams are judged anew.</summary>
    internal const string ChangedTopic = "files-changed-here";

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var news = wakeups.Listen(Topic);
        while (!stoppingToken.IsCancellationRequested)
        {
            try { await RefreshAsync(stoppingToken); }
            catch (Exception e) when (e is not OutOfMemoryException && !stoppingToken.IsCancellationRequested) { NotHeard(log, e.Message); }
            try { await news.WaitAsync(Poll, stoppingToken); }
            catch (OperationCanceledException) { return; }
        }
    }

    [LoggerMessage(LogLevel.Warning, "file permissions could not be read anew: {Why}")]
    private static partial void NotHeard(ILogger log, string why);
}
