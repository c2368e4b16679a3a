using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading.Channels;

namespace AccessBroker.Keys;

/// <summary>One connection to the HSM: a thread that owns one instance of the module and takes calls from the common queue.</summary>
internal sealed partial class HsmConnection
{
    private static readonly TimeSpan RetryConnect = TimeSpan.FromMilliseconds(40);

    private readonly HsmOptions _options;
    private readonly ChannelReader<HsmCall> _queue;
    private readonly ILogger _log;
    private readonly Dictionary<HsmKey, nuint> _privateKeys = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Pkcs11Session? _session;
    private long _busySince;
    private volatile Action? _abandoned;

    internal HsmConnection(HsmOptions options, ChannelReader<HsmCall> queue, ILogger log)
    {
        (_options, _queue, _log) = (options, queue, log);
        new Thread(Serve) { IsBackground = true, Name = "hsm" }.Start();
    }

    /// <summary>True while a call has been running for longer than <paramref name="deadline"/>.</summary>
    internal bool IsHung(TimeSpan deadline) => Volatile.Read(ref _busySince) is var since && since != 0 && Stopwatch.GetElapsedTime(since) > deadline;

    /// <summary>Completes when the thread has let the module go.</summary>
    internal Task Ended => _ended.Task;

    /// <summary>The thread ends after the call it is in; then <paramref name="ended"/> runs.</summary>
    internal void Abandon(Action ended) => _abandoned = ended;

    internal byte[] Sign(HsmKey key, byte[] digest) => _session!.SignEcdsa(key, _privateKeys[key], digest);

    internal byte[] Mac(HsmKey key, byte[] data) => _session!.Mac(key, _privateKeys[key], data);

    internal byte[] PublicKey(HsmKey key)
    {
        var point = _session!.Read(key, _session.Find(key, Cryptoki.ClassPublicKey), Cryptoki.Attribute.EcPoint);
        // CKA_EC_POINT: a DER OCTET STRING around 04 ‖ x ‖ y.
        if (point.Length != 67 || point[0] != 0x04 || point[1] != 65 || point[2] != 0x04) throw new HsmKeyRefusedException($"{key}: not a P-256 point");
        using var ecdsa = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = point[3..35], Y = point[35..67] } });
        return ecdsa.ExportSubjectPublicKeyInfo();
    }

    private void Serve()
    {
        try
        {
            while (_abandoned is null && Take() is { } call)
            {
                if (call.Cancelled) continue;
                Volatile.Write(ref _busySince, Stopwatch.GetTimestamp());
                Answer(call);
                Volatile.Write(ref _busySince, 0);
            }
        }
        finally
        {
            Drop();
            _abandoned?.Invoke();
            _ended.SetResult();
        }
    }

    private HsmCall? Take()
    {
        while (true)
        {
            if (_queue.TryRead(out var call)) return call;
            // A queue thread of ours blocks here, not one of the pool.
            if (!_queue.WaitToReadAsync().AsTask().GetAwaiter().GetResult() || _abandoned is not null) return null;
        }
    }

    private void Answer(HsmCall call)
    {
        try
        {
            for (var attempt = 1; ; attempt++)
            {
                var fresh = _session is null;
                try
                {
                    Connect();
                    call.Complete(call.Run(this));
                    return;
                }
                // A connection that died since its last call fails its next one: connect again and repeat it. Signing twice harms nobody.
                catch (Pkcs11Exception e) when (!fresh && attempt == 1) { Reconnecting(_log, e.Message); Drop(); }
                // An HSM that is just starting again: the caller has patience until its deadline.
                catch (Exception e) when (fresh && e is Pkcs11Exception or IOException && !call.Cancelled && Stopwatch.GetElapsedTime(_busySince) < _options.Deadline * 0.7)
                {
                    Drop();
                    call.WaitUntilCancelled(RetryConnect);
                }
            }
        }
        catch (Exception e)
        {
            // Whatever it was goes to the caller; this connection starts from nothing.
            Drop();
            call.Fail(e);
        }
    }

    private void Connect()
    {
        if (_session is not null) return;
        var session = new Pkcs11Session(_options.Module, _options.Environment);
        try
        {
            foreach (var token in _options.Keys.Select(k => k.Token).Distinct()) session.Open(token, _options.PinFile, readWrite: false);
            foreach (var key in _options.Keys) _privateKeys[key] = Require(session, key, _options.MacKeys.Contains(key));
        }
        catch { session.Dispose(); throw; }
        _session = session;
    }

    /// <summary>Finds a private or secret key and refuses it unless it is sensitive, was never extractable and can only sign. <clause>MOJ 第5-5(1)</clause></summary>
    private static nuint Require(Pkcs11Session session, HsmKey key, bool secret)
    {
        var handle = session.Find(key, secret ? Cryptoki.ClassSecretKey : Cryptoki.ClassPrivateKey);
        (Cryptoki.Attribute Attribute, byte Value)[] required =
        [
            (Cryptoki.Attribute.Sensitive, 1), (Cryptoki.Attribute.AlwaysSensitive, 1), (Cryptoki.Attribute.NeverExtractable, 1), (Cryptoki.Attribute.Extractable, 0),
            (Cryptoki.Attribute.Sign, 1), (Cryptoki.Attribute.Decrypt, 0), (Cryptoki.Attribute.Unwrap, 0), (Cryptoki.Attribute.Derive, 0),
        ];
        foreach (var (attribute, value) in required)
            if (session.Read(key, handle, attribute) is not [var actual] || (actual == 0 ? 0 : 1) != value) throw new HsmKeyRefusedException($"{key}: {attribute} must be {value}");
        return handle;
    }

    private void Drop()
    {
        _privateKeys.Clear();
        var session = _session;
        _session = null;
        session?.Dispose();
    }

    [LoggerMessage(LogLevel.Warning, "HSM connection lost ({Reason}); connecting again")]
    private static partial void Reconnecting(ILogger log, string reason);
}
