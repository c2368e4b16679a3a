using System.Globalization;
using System.Text.Json;
using AccessBroker.Tests.Support;

namespace AccessBroker.Benchmarks;

/// <summary>What one benchmark found. <paramref name="Ok"/>: the goal was met.</summary>
internal sealed record Result(string Name, double Value, string Unit, double Goal, bool Ok, IReadOnlyDictionary<string, string> Details);

internal static class Json
{
    internal static readonly JsonSerializerOptions Readable = new(JsonSerializerDefaults.Web) { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}

/// <summary>Percentiles of a sample; a p99 needs 500.</summary>
internal sealed class Sample(IEnumerable<TimeSpan> values)
{
    private readonly double[] _sorted = [.. values.Select(v => v.TotalMilliseconds).Order()];

    internal int Count => _sorted.Length;
    internal double P(double percent) => _sorted[Math.Clamp((int)Math.Ceiling(percent / 100 * _sorted.Length) - 1, 0, _sorted.Length - 1)];
    internal string Micro() => $"n {Count}, p50 {P(50) * 1000:0.0} µs, p99 {P(99) * 1000:0.0} µs, max {_sorted[^1] * 1000:0} µs";
    public override string ToString() => $"n {Count}, p50 {P(50):0.0} ms, p95 {P(95):0.0} ms, {(Count >= 500 ? $"p99 {P(99):0.0} ms, " : "")}max {_sorted[^1]:0.0} ms";
}

/// <summary>CPU time that processes have used, from /proc: user and system, with the children they waited for.</summary>
internal static class Cpu
{
    private static readonly double TicksPerSecond = 100;

    internal static TimeSpan Of(IEnumerable<int> processes) => TimeSpan.FromSeconds(processes.Sum(Ticks) / TicksPerSecond);

    /// <summary>The process a pid file names, and all its descendants.</summary>
    internal static int[] Tree(string pidFile)
    {
        var parents = Directory.GetDirectories("/proc").Select(d => int.TryParse(Path.GetFileName(d), CultureInfo.InvariantCulture, out var pid) ? pid : 0).Where(p => p > 0)
            .Select(p => (Process: p, Parent: Fields(p) is { } f ? int.Parse(f[1], CultureInfo.InvariantCulture) : 0)).ToLookup(p => p.Parent, p => p.Process);
        IEnumerable<int> With(int process) => parents[process].SelectMany(With).Prepend(process);
        return [.. With(int.Parse(File.ReadAllText(pidFile), CultureInfo.InvariantCulture))];
    }

    private static double Ticks(int process) => Fields(process) is { } f ? f[11..15].Sum(t => double.Parse(t, CultureInfo.InvariantCulture)) : 0;

    /// <summary>/proc/PID/stat after the command's name: state, ppid, pgrp, session, …, utime, stime.</summary>
    private static string[]? Fields(int process)
    {
        try { var stat = File.ReadAllText($"/proc/{process}/stat"); return stat[(stat.LastIndexOf(')') + 2)..].Split(' '); }
        catch (IOException) { return null; }
    }
}

/// <summary>Under which the numbers hold.</summary>
internal static class Conditions
{
    internal static Dictionary<string, string> Read()
    {
        var cpu = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? "unknown";
        return new()
        {
            ["cores"] = $"{Environment.ProcessorCount}",
            ["cpu"] = cpu,
            ["dotnet"] = Environment.Version.ToString(),
            ["postgresql"] = $"15, fsync on, synchronous_commit on, all on one machine, UNIX socket",
            ["tls"] = "1.3 to the nodes, mutual TLS of the agents",
            ["hsm"] = "SoftHSM2 behind p11-kit, another OS user",
        };
    }
}

/// <summary>The parts beside the broker.</summary>
internal static class Neighbours
{
    internal static int[] Postgres() => Cpu.Tree(Path.Combine(Place.Directory, "run/postgres.pid"));
    internal static int[] Redis() => Cpu.Tree(Path.Combine(Place.Directory, "run/redis.pid"));
    internal static int[] Hsm() => Cpu.Tree(Path.Combine(Place.Directory, "hsm/hsm.pid"));
    internal static int Self => Environment.ProcessId;
}
