using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.TimeSource;

/// <summary>How exact our time must be. Values are ours. <clause>MOJ 第5-3(8), MIC 7.1②</clause></summary>
public sealed record TimePolicy : IPolicy
{
    /// <summary>How often the source is asked, 10 s..1 h. Default 60 s.</summary>
    public required TimeSpan CheckEvery { get; init; }
    /// <summary>The most that our clock may differ, 1 s..60 s; beyond it: alarm, no one-time codes, no privileged grants. Default 1 s.</summary>
    public required TimeSpan MostDrift { get; init; }
    /// <summary>How long a measurement is believed when the source does not answer, 5 min..24 h. Default 1 h.</summary>
    public required TimeSpan Believed { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("check-every", CheckEvery, TimeSpan.FromSeconds(10), TimeSpan.FromHours(1)),
        .. PolicyFiles.OutOfRange("most-drift", MostDrift, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60)),
        .. PolicyFiles.OutOfRange("believed", Believed, TimeSpan.FromMinutes(5), TimeSpan.FromHours(24)),
        .. Believed <= CheckEvery ? ["believed must be longer than check-every"] : (string[])[],
    ];
}

/// <summary>
/// Asks the internal time source how wrong this node's clock is. What rests on exact time (one-time codes, privileged grants) waits while it is too
/// wrong, or unknown for too long; everything else goes on. Without a configured source nothing is judged. <clause>MOJ 第5-3(8), MIC 7.1②</clause>
/// </summary>
public sealed partial class ClockCheck(BrokerOptions options, Active<TimePolicy> policy, Store store, TimeProvider time, ILogger<ClockCheck> log) : BackgroundService, IHealthReport
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private sealed record Measured(TimeSpan Offset, long At);
    private volatile Measured? _last;
    private bool _told;

    /// <summary>Source minus us, as last measured and still believed; null: unknown, or there is no source.</summary>
    public TimeSpan? Offset => _last is { } last && time.GetElapsedTime(last.At) <= policy.Now.Believed ? last.Offset : null;

    /// <summary>Whether what needs exact time may happen. True without a source; false until the source has answered.</summary>
    public bool IsExact => options.TimeSource.Length == 0 || (Offset is { } offset && offset.Duration() <= policy.Now.MostDrift);

    /// <summary>Measures once; the change from exact to not, and back, is recorded.</summary>
    internal async Task MeasureAsync(CancellationToken ct)
    {
        // An answer that was long under way says little: it errs by half of its journey.
        if (await Sntp.AskAsync(options.TimeSource, Patience, time, ct) is { } answer && answer.Delay / 2 <= policy.Now.MostDrift / 2) _last = new(answer.Offset, time.GetTimestamp());
        if (IsExact == !_told) return;
        var wrong = !IsExact;
        Changed(log, wrong ? "not exact" : "exact again", Offset is { } by ? $"{by.TotalSeconds:0.000} s from the source" : "the source does not answer");
        var entry = new HistoryEvent("time.drift", wrong ? HistoryOutcome.Refused : HistoryOutcome.Done, wrong ? "time.not-exact" : "") { Details = new Dictionary<string, string> { ["node"] = options.Node, ["offset"] = Offset is { } o ? $"{o.TotalSeconds:0.000}" : "", ["source"] = options.TimeSource } };
        try
        {
            await store.RecordAsync(entry, time.GetUtcNow(), ct);
            _told = wrong;
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException or IUnavailable) { NotRecorded(log, e.Message); }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.TimeSource.Length == 0) return;
        Instruments.Meter.CreateObservableGauge("accessbroker.time.offset", () => Offset?.TotalSeconds ?? double.NaN, "s", "The internal time source minus this node's clock.");
        // The interval is read anew each time: policies change while this runs.
        while (true)
        {
            await MeasureAsync(stoppingToken);
            await Task.Delay(policy.Now.CheckEvery, time, stoppingToken);
        }
    }

    /// <inheritdoc/>
    public Task<ComponentHealth> ReportAsync(CancellationToken ct) => Task.FromResult(
        options.TimeSource.Length == 0 ? new("time", Title, "ok", "時刻源 (Broker:TimeSource) が設定されていません。時計のずれは確かめていません。")
        : IsExact && Offset is not null ? new ComponentHealth("time", Title, "ok")
        : Offset is { } offset ? new("time", Title, "broken", $"時計が {offset.TotalSeconds:0.0} 秒ずれています。ワンタイムパスワードと特権の付与を止めています。時刻同期を確かめてください。")
        : new("time", Title, "degraded", "時刻源が応答しません。続くと、ワンタイムパスワードと特権の付与を止めます。"));

    private const string Title = "時刻源との同期";

    [LoggerMessage(LogLevel.Warning, "this node's time is {State}: {Offset}")]
    private static partial void Changed(ILogger log, string state, string offset);
    [LoggerMessage(LogLevel.Warning, "the drift could not be recorded yet: {Why}")]
    private static partial void NotRecorded(ILogger log, string why);
}

internal static class TimeSourceSlice
{
    internal static void AddTimeSource(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<TimePolicy>(policyDirectory, "time");
        services.AddSingleton<ClockCheck>().AddSingleton<IHealthReport>(p => p.GetRequiredService<ClockCheck>()).AddHostedService(p => p.GetRequiredService<ClockCheck>());
    }
}
