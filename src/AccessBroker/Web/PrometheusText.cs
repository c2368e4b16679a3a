using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace AccessBroker.Web;

/// <summary>
/// Collects the meters of the framework, of Npgsql and our own, and writes them in the Prometheus text format 0.0.4.
/// Names: dots become underscores, the unit is appended, counters end in <c>_total</c>.
/// </summary>
internal sealed class PrometheusText : IDisposable
{
    /// <summary>Ours: 2,000 series; what is beyond is dropped, so that no tag can eat the memory.</summary>
    private const int MostSeries = 2_000;
    private static readonly string[] Meters = [Primitives.Instruments.Name, "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime", "Npgsql"];
    private static readonly double[] DefaultBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private sealed class Series(double[]? bounds)
    {
        private readonly long[] _buckets = bounds is null ? [] : new long[bounds.Length];
        internal double Sum { get; private set; }
        internal long Count { get; private set; }

        internal void Set(double value) { lock (this) Sum = value; }
        internal void Add(double value) { lock (this) Sum += value; }
        internal void Observe(double value)
        {
            lock (this)
            {
                (Sum, Count) = (Sum + value, Count + 1);
                for (var i = 0; i < _buckets.Length; i++) if (value <= bounds![i]) _buckets[i]++;
            }
        }
        internal IEnumerable<(double Bound, long Count)> Buckets() { lock (this) return [.. bounds!.Zip(_buckets)]; }
    }

    private sealed record Family(string Name, string Type, string Help, double[]? Bounds, ConcurrentDictionary<string, Series> Series);

    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<Instrument, Family> _families = new();
    private int _series;

    internal PrometheusText()
    {
        _listener.InstrumentPublished = (instrument, listener) => { if (Wanted(instrument)) listener.EnableMeasurementEvents(instrument); };
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Note(instrument, value, tags));
        _listener.Start();
    }

    /// <summary>Of Npgsql only what it is asked for: its other instruments measure several times in every statement.</summary>
    private static bool Wanted(Instrument instrument) => Meters.Contains(instrument.Meter.Name) && (instrument.Meter.Name != "Npgsql" || instrument.IsObservable);

    /// <summary>All series as they are now.</summary>
    internal string Write()
    {
        _listener.RecordObservableInstruments();
        var text = new StringBuilder();
        foreach (var family in _families.Values.OrderBy(f => f.Name, StringComparer.Ordinal))
        {
            text.Append(CultureInfo.InvariantCulture, $"# HELP {family.Name} {family.Help}\n# TYPE {family.Name} {family.Type}\n");
            foreach (var (labels, series) in family.Series.OrderBy(s => s.Key, StringComparer.Ordinal)) WriteSeries(text, family, labels, series);
        }
        return text.ToString();
    }

    public void Dispose() => _listener.Dispose();

    private static void WriteSeries(StringBuilder text, Family family, string labels, Series series)
    {
        if (family.Bounds is null) { text.Append(CultureInfo.InvariantCulture, $"{family.Name}{Braces(labels)} {series.Sum}\n"); return; }
        foreach (var (bound, count) in series.Buckets()) text.Append(CultureInfo.InvariantCulture, $"{family.Name}_bucket{Braces(Join(labels, $"le=\"{bound.ToString(CultureInfo.InvariantCulture)}\""))} {count}\n");
        text.Append(CultureInfo.InvariantCulture, $"{family.Name}_bucket{Braces(Join(labels, "le=\"+Inf\""))} {series.Count}\n{family.Name}_sum{Braces(labels)} {series.Sum}\n{family.Name}_count{Braces(labels)} {series.Count}\n");
    }

    private static string Braces(string labels) => labels.Length == 0 ? "" : $"{{{labels}}}";

    private static string Join(string labels, string more) => labels.Length == 0 ? more : $"{labels},{more}";

    private void Note(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var family = _families.GetOrAdd(instrument, Describe);
        var labels = string.Join(',', tags.ToArray().OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => $"{Snake(t.Key)}=\"{Escape(Convert.ToString(t.Value, CultureInfo.InvariantCulture) ?? "")}\""));
        if (!family.Series.TryGetValue(labels, out var series))
        {
            if (Interlocked.Increment(ref _series) > MostSeries) return;
            series = family.Series.GetOrAdd(labels, _ => new(family.Bounds));
        }
        if (family.Bounds is not null) series.Observe(value);
        else if (instrument.IsObservable) series.Set(value);
        else series.Add(value);
    }

    private static Family Describe(Instrument instrument)
    {
        var kind = instrument.GetType().Name.Split('`')[0];
        var (type, suffix) = kind switch { "Counter" or "ObservableCounter" => ("counter", "_total"), "Histogram" => ("histogram", ""), _ => ("gauge", "") };
        var unit = instrument.Unit switch { "s" => "_seconds", "By" => "_bytes", _ => "" };
        var name = Snake(instrument.Name);
        if (unit.Length > 0 && !name.EndsWith(unit, StringComparison.Ordinal)) name += unit;
        var bounds = type != "histogram" ? null : ((instrument as Histogram<double>)?.Advice?.HistogramBucketBoundaries ?? DefaultBounds).ToArray();
        return new(name + suffix, type, Escape(instrument.Description ?? instrument.Name), bounds, new());
    }

    private static string Snake(string name) => string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));

    private static string Escape(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", " ", StringComparison.Ordinal);
}
