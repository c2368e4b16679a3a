using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace AccessBroker.Primitives;

/// <summary>What the broker measures of itself. Names follow OpenTelemetry; tags hold codes and route templates, never ids, URLs or addresses.</summary>
public static class Instruments
{
    /// <summary>Name of the meter and of the activity source.</summary>
    public const string Name = "AccessBroker";
    /// <summary>Creates the instruments of the slices.</summary>
    public static readonly Meter Meter = new(Name);
    /// <summary>Starts the spans of the slices.</summary>
    public static readonly ActivitySource Activities = new(Name);
    /// <summary>Histogram bounds for durations, seconds: 1 ms to 10 s.</summary>
    public static readonly InstrumentAdvice<double> Durations = new() { HistogramBucketBoundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] };
}
