using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.TargetAgent;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>How long a session has, by what the broker says and says again. The target is one on which nothing runs: only its clock counts here.</summary>
public sealed class SessionBookTests : IDisposable
{
    /// <summary>Notes when it was told to end.</summary>
    private sealed class Nothing : ITarget
    {
        internal ConcurrentDictionary<string, TimeSpan> Ended { get; } = new();
        internal Stopwatch Since { get; } = Stopwatch.StartNew();

        public Task<IReadOnlyDictionary<string, int>> EndAsync(IReadOnlyList<string> sessions)
        {
            foreach (var session in sessions) Ended.TryAdd(session, Since.Elapsed);
            return Task.FromResult<IReadOnlyDictionary<string, int>>(sessions.ToDictionary(s => s, _ => 0));
        }

        public Task<JsonObject> OpenAsync(Opening opening, CancellationToken ct) => Task.FromResult(new JsonObject());
        public Task<string> AdmitAsync(string session, long order, string verifier, TimeSpan window, CancellationToken ct) => Task.FromResult("");
        public Task<IReadOnlyList<string>> CleanAsync(string session) => Task.FromResult<IReadOnlyList<string>>([]);
        public Task HoldAsync(string session, bool held) => Task.CompletedTask;
        public Task<IReadOnlyList<string>> BusyAsync(IReadOnlyCollection<string> living) => Task.FromResult<IReadOnlyList<string>>([.. living]);
        public Task<IReadOnlyList<string>> RightsAsync() => Task.FromResult<IReadOnlyList<string>>([]);
        public void Tell(string session, string line) { }
        public Task RecoverAsync(IReadOnlyList<string> sessions) => Task.CompletedTask;
        public Task RehearseAsync() => Task.CompletedTask;
    }

    private readonly string _directory = Directory.CreateTempSubdirectory("ab-book-").FullName;
    public void Dispose() => Directory.Delete(_directory, recursive: true);

    /// <summary>An order that was long on its way leaves too much time: the next word shortens it. No word lengthens what the broker has not lengthened.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task Never_is_more_left_than_the_broker_says_and_only_a_later_end_gives_more()
    {
        var target = new Nothing();
        using var book = new SessionBook(target, _directory, TimeProvider.System, _ => { });
        await book.RecoverAsync();
        using var stop = new CancellationTokenSource();
        var watching = book.WatchAsync(stop.Token);
        using var nothing = JsonDocument.Parse("{}");
        var (short_, long_) = (TimeSpan.FromSeconds(1), TimeSpan.FromHours(1));
        Task OpenAsync(string session, TimeSpan left) => book.OpenAsync(new(session, nothing.RootElement, false, "", ""), left, 1000, long_, TimeSpan.Zero, [], CancellationToken.None);
        // The same end: less is left, as much as before, or nothing is said.
        await OpenAsync("less", long_);
        Assert.True(book.Extend("less", 1000, short_));
        await OpenAsync("more", short_);
        Assert.True(book.Extend("more", 1000, long_));
        await OpenAsync("silent", short_);
        Assert.True(book.Extend("silent", 1000, TimeSpan.MaxValue));
        // A later end gives the difference, and no more than is left.
        await OpenAsync("later", short_);
        Assert.True(book.Extend("later", 1000 + 3_600_000, TimeSpan.MaxValue));
        await OpenAsync("later-but-less", short_);
        Assert.True(book.Extend("later-but-less", 1000 + 3_600_000, short_));
        await Eventually.TrueAsync(() => Task.FromResult(target.Ended.Count == 4), "four are over", 20);
        Assert.Equal(["later-but-less", "less", "more", "silent"], target.Ended.Keys.Order(StringComparer.Ordinal));
        Assert.All(target.Ended.Values, at => Assert.True(at > TimeSpan.FromMilliseconds(900), $"{at}"));
        await Eventually.TrueAsync(() => Task.FromResult(book.Running.SequenceEqual(["later"])), "the others are closed");
        Assert.False(book.Extend("less", 1000 + 3_600_000, long_));
        await stop.CancelAsync();
        await watching;
        await book.EndAsync(book.Running, "privileged.agent-stopped");
        await book.EndedAsync();
    }
}
