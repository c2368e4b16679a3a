using System.Diagnostics;
using System.Text;

namespace AccessBroker.Tests.Support;

/// <summary>One broker process. It can be started again, killed, paused, and given a clock of its own.</summary>
internal sealed class Node(string name, Func<Dictionary<string, string>> environment)
{
    private readonly StringBuilder _log = new();
    private Process? _process;

    internal string Name => name;
    internal int ProcessId => _process!.Id;
    internal bool Running => _process is { HasExited: false };
    internal int ExitCode => _process!.ExitCode;
    internal string Log { get { lock (_log) return _log.ToString(); } }

    /// <summary>Starts the process. <paramref name="clock"/>: a file with an offset such as "+10m" that libfaketime reads; null: the machine's clock.</summary>
    internal void Start(string? clock = null)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(Place.App("broker"), "AccessBroker.dll"));
        start.ArgumentList.Add("serve");
        foreach (var (key, value) in environment()) start.Environment[key] = value;
        SetClock(start, clock);
        _process = Process.Start(start)!;
        _process.OutputDataReceived += (_, line) => { lock (_log) _log.AppendLine(line.Data); };
        _process.ErrorDataReceived += (_, line) => { lock (_log) _log.AppendLine(line.Data); };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Gives a process that is yet to start the clock of a file; null: the machine's.</summary>
    internal static void SetClock(ProcessStartInfo start, string? clock)
    {
        if (clock is null) return;
        ForgetDeadClocks();
        start.Environment["LD_PRELOAD"] = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
        start.Environment["FAKETIME_TIMESTAMP_FILE"] = clock;
        start.Environment["FAKETIME_CACHE_DURATION"] = "1";
        start.Environment["DONT_FAKE_MONOTONIC"] = "1";
        start.Environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1";
    }

    /// <summary>How a process that has ended did so: its exit code and all it said.</summary>
    internal async Task<string> LastWordsAsync()
    {
        await _process!.WaitForExitAsync();
        return $"{name} ended with {ExitCode}: {Log}";
    }

    /// <summary>libfaketime names its shared memory by process number and refuses to start where a killed process of the same number left some.</summary>
    private static void ForgetDeadClocks()
    {
        foreach (var left in Directory.EnumerateFiles("/dev/shm", "*faketime_*"))
            if (!Directory.Exists("/proc/" + left[(left.LastIndexOf('_') + 1)..])) File.Delete(left);
    }

    /// <summary>kill -9.</summary>
    internal async Task KillAsync()
    {
        _process!.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>Sends a signal by name.</summary>
    internal Task SignalAsync(string signal) => Place.RunAsync("kill", [$"-{signal}", $"{ProcessId}"]);

    /// <summary>SIGTERM, and how long the process took to end by itself.</summary>
    internal async Task<TimeSpan> StopGracefullyAsync()
    {
        var since = Stopwatch.StartNew();
        await SignalAsync("TERM");
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        await _process!.WaitForExitAsync(limit.Token);
        return since.Elapsed;
    }
}
