using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace AccessBroker.Tests.Support;

/// <summary>The private set of real parts that <c>./dev test</c> started: PostgreSQL, Redis, HSM, pcscd with simulated readers.</summary>
public sealed class Place : IDisposable
{
    /// <summary>The PIN of every card of the tests; eight digits that occur nowhere else, so that a scan can look for them.</summary>
    public const string Pin = "73918264";

    public static string Directory { get; } = Environment.GetEnvironmentVariable("ACCESSBROKER_TEST") ?? throw new InvalidOperationException("run the tests with ./dev test: they need its PostgreSQL, HSM and card readers");
    public static string Root { get; } = Environment.GetEnvironmentVariable("ACCESSBROKER_ROOT")!;
    public static string App(string name) => Path.Combine(Directory, "app", name);
    public static string HsmSocket => $"unix:path={Directory}/hsm/run/hsm.sock";

    /// <summary>Runs a program to its end; throws when it fails unless <paramref name="mayFail"/>.</summary>
    public static async Task<(int Exit, string Output, string Error)> RunAsync(string program, IEnumerable<string> arguments, Dictionary<string, string?>? environment = null, string? input = null, bool mayFail = false)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = Directory };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment ?? []) start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        if (input is not null) await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        await process.WaitForExitAsync(limit.Token);
        var result = (process.ExitCode, await output, await error);
        return process.ExitCode == 0 || mayFail ? result : throw new InvalidOperationException($"{program} {string.Join(' ', start.ArgumentList)}: exit {process.ExitCode}\n{result.Item2}\n{result.Item3}");
    }

    public static Task HsmAsync(params string[] arguments) => RunAsync(Path.Combine(Root, "hsm-sim/hsm"), [arguments[0], Path.Combine(Directory, "hsm"), .. arguments[1..]]);

    /// <summary>Kills PostgreSQL or Redis without a word, or starts it again as it was.</summary>
    public static Task PartAsync(string action, string name) => RunAsync(Path.Combine(Root, "tests/part"), [Directory, action, name]);

    public static int FreePort(string address = "127.0.0.1")
    {
        while (true)
        {
            // Below those that connections are made from (32768 and up): nobody takes it before it is listened on. Each is given once.
            var port = 20_000 + (Interlocked.Increment(ref _port) % 12_000);
            try
            {
                using var listener = new TcpListener(IPAddress.Parse(address), port);
                listener.Start();
                return port;
            }
            catch (SocketException) { /* somebody listens there */ }
        }
    }

    private static int _port = Environment.ProcessId % 12_000;

    public void Dispose() { }
}

/// <summary>Waiting for something to become true, never for a time to pass.</summary>
internal static class Eventually
{
    internal static async Task<T> FindAsync<T>(Func<Task<T?>> look, string what, double seconds = 10) where T : class
    {
        var since = Stopwatch.StartNew();
        while (true)
        {
            if (await look() is { } found) return found;
            Assert.True(since.Elapsed.TotalSeconds < seconds, $"not within {seconds} s: {what}");
            await Task.Delay(20);
        }
    }

    internal static Task TrueAsync(Func<Task<bool>> look, string what, double seconds = 10) => FindAsync(async () => await look() ? "" : null, what, seconds);
}
