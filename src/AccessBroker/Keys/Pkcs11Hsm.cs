using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Threading.Channels;
using AccessBroker.Primitives;

namespace AccessBroker.Keys;

/// <summary>
/// The HSM behind supervised connections. Calls wait in one queue; each connection is a thread with its own instance of the module.
/// A call that outlives the deadline fails its caller, its connection is abandoned and replaced; the hung thread cleans up when the
/// module lets it go. At most <see cref="MaxAbandoned"/> hang at a time, so a paused HSM cannot eat the process.
/// </summary>
public sealed partial class Pkcs11Hsm : IHsm, IAsyncDisposable
{
    /// <summary>Ours: 16 hung connections.</summary>
    public const int MaxAbandoned = 16;

    private static readonly Histogram<double> Duration = Instruments.Meter.CreateHistogram("accessbroker.hsm.call.duration", "s", "Calls to the HSM, with their wait in the queue.", advice: Instruments.Durations);
    private static readonly Counter<long> Replaced = Instruments.Meter.CreateCounter<long>("accessbroker.hsm.connections.replaced", description: "HSM connections that hung and were replaced.");

    private readonly HsmOptions _options;
    private readonly ILogger<Pkcs11Hsm> _log;
    private readonly Channel<HsmCall> _queue = Channel.CreateBounded<HsmCall>(1_000);
    private readonly HsmConnection[] _connections;
    private readonly Timer _supervisor;
    private int _abandoned;

    /// <summary>Starts the connections; they connect by themselves, and again whenever they must.</summary>
    public Pkcs11Hsm(HsmOptions options, ILogger<Pkcs11Hsm> log)
    {
        (_options, _log) = (options, log);
        _connections = [.. Enumerable.Range(0, options.Connections).Select(_ => Start())];
        var period = options.Deadline / 4;
        _supervisor = new Timer(_ => Supervise(), null, period, period);
    }

    /// <inheritdoc/>
    public Task<byte[]> SignAsync(HsmKey key, byte[] digest, CancellationToken ct) =>
        digest.Length == 32 ? CallAsync($"sign with {key}", c => c.Sign(key, digest), ct) : throw new ArgumentException("not a SHA-256 digest", nameof(digest));

    /// <inheritdoc/>
    public Task<byte[]> MacAsync(HsmKey key, byte[] data, CancellationToken ct) => CallAsync($"derive with {key}", c => c.Mac(key, data), ct);

    /// <inheritdoc/>
    public Task<byte[]> PublicKeyAsync(HsmKey key, CancellationToken ct) => CallAsync($"read the public key {key}", c => c.PublicKey(key), ct);

    /// <summary>Connects once and checks every key. Throws <see cref="HsmKeyRefusedException"/> or <see cref="HsmUnavailableException"/>.</summary>
    public async Task CheckAsync(CancellationToken ct) { foreach (var key in _options.SigningKeys) await PublicKeyAsync(key, ct); }

    private async Task<byte[]> CallAsync(string what, Func<HsmConnection, byte[]> work, CancellationToken ct)
    {
        var call = new HsmCall(work);
        using var span = Instruments.Activities.StartActivity("hsm call");
        var began = Stopwatch.GetTimestamp();
        var outcome = "failed";
        try
        {
            if (!_queue.Writer.TryWrite(call)) throw new HsmUnavailableException($"{what}: too many calls wait");
            var result = await call.Result.WaitAsync(_options.Deadline, ct);
            outcome = "done";
            return result;
        }
        catch (TimeoutException e) { call.Cancel(); throw new HsmUnavailableException($"{what}: no answer within {_options.Deadline.TotalMilliseconds} ms", e); }
        catch (Exception e) when (e is Pkcs11Exception or DllNotFoundException or IOException) { throw new HsmUnavailableException(what, e); }
        finally
        {
            Duration.Record(Stopwatch.GetElapsedTime(began).TotalSeconds, new KeyValuePair<string, object?>("outcome", outcome));
            if (outcome == "failed") span?.SetStatus(ActivityStatusCode.Error);
        }
    }

    private void Supervise()
    {
        for (var i = 0; i < _connections.Length; i++)
        {
            if (!_connections[i].IsHung(_options.Deadline) || Volatile.Read(ref _abandoned) >= MaxAbandoned) continue;
            Interlocked.Increment(ref _abandoned);
            ConnectionHung(_log, i);
            Replaced.Add(1);
            var hung = _connections[i];
            _connections[i] = Start();
            hung.Abandon(() => Interlocked.Decrement(ref _abandoned));
        }
    }

    private HsmConnection Start() => new(_options, _queue.Reader, _log);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _queue.Writer.TryComplete();
        await _supervisor.DisposeAsync();
        foreach (var connection in _connections) connection.Abandon(() => { });
        // The modules are finalised before the process unloads them; a hung one is not waited for.
        await Task.WhenAll(_connections.Select(c => c.Ended)).WaitAsync(_options.Deadline).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    [LoggerMessage(LogLevel.Error, "HSM connection {Index} hangs; replaced")]
    private static partial void ConnectionHung(ILogger log, int index);
}

/// <summary>One call in the queue.</summary>
internal sealed class HsmCall(Func<HsmConnection, byte[]> work)
{
    private readonly TaskCompletionSource<byte[]> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly object _gate = new();
    private volatile bool _cancelled;

    internal Task<byte[]> Result => _result.Task;
    internal bool Cancelled => _cancelled;
    internal void Cancel()
    {
        lock (_gate)
        {
            _cancelled = true;
            Monitor.PulseAll(_gate);
        }
    }
    /// <summary>Returns when the caller has given up, or the time is over.</summary>
    internal void WaitUntilCancelled(TimeSpan limit) { lock (_gate) if (!_cancelled) Monitor.Wait(_gate, limit); }
    internal byte[] Run(HsmConnection connection) => work(connection);
    internal void Complete(byte[] value) => _result.TrySetResult(value);
    internal void Fail(Exception e) => _result.TrySetException(e);
}
