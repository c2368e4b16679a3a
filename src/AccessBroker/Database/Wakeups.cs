using AccessBroker.Primitives;
using StackExchange.Redis;

namespace AccessBroker.Database;

/// <summary>
/// Wake-ups between nodes over Redis publish/subscribe. A message only triggers a re-read of the database, so losing one costs a poll, never a fact.
/// With Redis away this node still wakes itself, other nodes poll, and health says "degraded".
/// </summary>
public sealed class Wakeups(string? redis) : IHostedService, IAsyncDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);
    private readonly Dictionary<string, Signal> _waiting = [];
    private readonly Dictionary<string, Listener[]> _listeners = [];
    private readonly string _self = Secret.New(9);
    private ConnectionMultiplexer? _connection;

    /// <summary>Null when no Redis is configured, else whether it answers.</summary>
    public bool? Connected => redis is null ? null : _connection?.IsConnected ?? false;

    /// <summary>Wakes whoever waits for <paramref name="topic"/>, here and on other nodes. Never throws, never blocks.</summary>
    public void Wake(string topic)
    {
        Here(topic);
        Send(topic);
    }

    private void Send(string topic)
    {
        try
        {
            if (_connection is { IsConnected: true } connection) connection.GetSubscriber().Publish("accessbroker:wake", $"{_self} {topic}", CommandFlags.FireAndForget);
        }
        catch (RedisException) { /* it went away in between: the others poll */ }
    }

    /// <summary>Returns when <paramref name="topic"/> was woken or <paramref name="limit"/> is over. The caller re-reads in both cases.</summary>
    public async Task WaitAsync(string topic, TimeSpan limit, CancellationToken ct)
    {
        Signal signal;
        lock (_waiting)
        {
            if (!_waiting.TryGetValue(topic, out signal!)) _waiting[topic] = signal = new();
            signal.Waiters++;
        }
        try { await signal.Task.WaitAsync(limit, ct); }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // The last one who waits takes the signal away; others still wait for it.
            lock (_waiting)
                if (--signal.Waiters == 0 && _waiting.TryGetValue(topic, out var current) && current == signal) _waiting.Remove(topic);
            ct.ThrowIfCancellationRequested();
        }
    }

    /// <summary>For whoever acts on wake-ups one after the other: one that comes while the last is still acted on is kept for the next wait.</summary>
    public Listener Listen(params string[] topics)
    {
        var listener = new Listener(this);
        lock (_waiting) foreach (var topic in topics) _listeners[topic] = [.. _listeners.GetValueOrDefault(topic, []), listener];
        return listener;
    }

    /// <summary>Hears its topics until it is disposed of.</summary>
    public sealed class Listener(Wakeups wakeups) : IDisposable
    {
        private readonly SemaphoreSlim _woken = new(0, 1);
        private bool _disposed;

        internal void Wake() { lock (_woken) if (!_disposed && _woken.CurrentCount == 0) _woken.Release(); }

        /// <summary>Returns when a topic was woken since the last wait, or <paramref name="limit"/> is over. The caller re-reads in both cases.</summary>
        public Task WaitAsync(TimeSpan limit, CancellationToken ct) => _woken.WaitAsync(limit, ct);

        /// <inheritdoc/>
        public void Dispose()
        {
            lock (wakeups._waiting) foreach (var (topic, all) in wakeups._listeners.ToList()) wakeups._listeners[topic] = [.. all.Where(l => l != this)];
            lock (_woken) _disposed = true;
            _woken.Dispose();
        }
    }

    private sealed class Signal() : TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)
    {
        internal int Waiters { get; set; }
    }

    /// <summary>Our own messages come back too; we have woken ourselves already.</summary>
    private void Heard(string message)
    {
        if (message.Split(' ', 2) is not [var from, var topic] || from == _self) return;
        if (topic.StartsWith(Carrying, StringComparison.Ordinal)) Carried?.Invoke(topic[Carrying.Length..]);
        else Here(topic);
    }

    private const string Carrying = "carry ";

    /// <summary>A text of another node's that must reach this one without the database. It proves itself: whoever reaches Redis may send one.</summary>
    public event Action<string>? Carried;

    /// <summary>Sends a text to the other nodes, if Redis answers. Never throws, never blocks.</summary>
    public void Carry(string text) => Send(Carrying + text);

    /// <summary>Wakes whoever waits at this node only.</summary>
    public void WakeHere(string topic) => Here(topic);

    private void Here(string topic)
    {
        Signal? signal;
        Listener[]? listeners;
        lock (_waiting)
        {
            _waiting.Remove(topic, out signal);
            _listeners.TryGetValue(topic, out listeners);
        }
        signal?.TrySetResult();
        foreach (var listener in listeners ?? []) listener.Wake();
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        Primitives.Instruments.Meter.CreateObservableGauge("accessbroker.redis.connected", () => Connected == true ? 1 : 0, description: "1 while wake-ups between nodes go over Redis, 0 while nodes poll.");
        if (redis is not null) _ = ConnectAsync(redis);
        return Task.CompletedTask;
    }

    private async Task ConnectAsync(string address)
    {
        var options = ConfigurationOptions.Parse(address);
        options.AbortOnConnectFail = false;
        options.ConnectTimeout = options.SyncTimeout = (int)Limit.TotalMilliseconds;
        options.ReconnectRetryPolicy = new LinearRetry(500);
        _connection = await ConnectionMultiplexer.ConnectAsync(options);
        // 1.2.6 has no time limit on awaits of its own.
        try { await _connection.GetSubscriber().SubscribeAsync("accessbroker:wake", (_, message) => Heard(message!)).WaitAsync(Limit); }
        catch (Exception e) when (e is RedisException or TimeoutException) { /* it subscribes again by itself when Redis is back */ }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() { if (_connection is { } connection) await connection.CloseAsync(allowCommandsToComplete: false); }
}
