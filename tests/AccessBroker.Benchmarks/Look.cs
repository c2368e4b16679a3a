using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using AccessBroker.Tests.Privileged;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.Benchmarks;

/// <summary>The wall's clock and the stopwatch's, of one machine.</summary>
internal static class Clock
{
    internal static DateTimeOffset At(long stopwatch) => DateTimeOffset.UtcNow - Stopwatch.GetElapsedTime(stopwatch);
    internal static long At(DateTimeOffset wall) => Stopwatch.GetTimestamp() - (long)((DateTimeOffset.UtcNow - wall).TotalSeconds * Stopwatch.Frequency);
}

/// <summary>When nothing of a session runs at its target any more, of each, by the kernel's and the server's own word. Both are waited for where they are: asking anew would take longer than an end.</summary>
internal sealed partial class Look(DatabaseHost? database, bool hasHost)
{
    internal bool Sees => hasHost || database is not null;

    /// <summary>Of the sessions that run at this moment; empty where nothing runs.</summary>
    internal async Task<List<long>> AtNothingAsync()
    {
        var (groups, backends) = (hasHost ? GroupsAsync() : Task.FromResult<List<long>>([]), database is null ? Task.FromResult<List<long>>([]) : BackendsAsync(database));
        return [.. await groups, .. await backends];
    }

    private static Task<List<long>> GroupsAsync()
    {
        var mount = File.ReadLines("/proc/mounts").Select(l => l.Split(' ')).First(f => f[2] == "cgroup2")[1];
        var groups = Directory.EnumerateDirectories(mount, "accessbroker-*", SearchOption.AllDirectories).SelectMany(d => Directory.EnumerateDirectories(d, "ps*"))
            .Where(g => File.ReadAllText(Path.Combine(g, "cgroup.events")).Contains("populated 1", StringComparison.Ordinal)).ToList();
        return Task.Factory.StartNew(() => Emptied(groups), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>The kernel tells a change of cgroup.events to whoever polls it.</summary>
    private static List<long> Emptied(List<string> groups)
    {
        var (left, moments, buffer) = (groups.Select(g => File.OpenHandle(Path.Combine(g, "cgroup.events"))).ToList(), new List<long>(), new byte[256]);
        while (true)
        {
            foreach (var handle in left.Where(h => !IsPopulated(h, buffer)).ToList())
            {
                moments.Add(Stopwatch.GetTimestamp());
                handle.Dispose();
                left.Remove(handle);
            }
            if (left.Count == 0) return moments;
            var polled = left.Select(h => new Polled { Handle = (int)h.DangerousGetHandle(), Wanted = Changed }).ToArray();
            if (poll(polled, (nuint)polled.Length, 1000) < 0 && Marshal.GetLastPInvokeError() != Interrupted) throw new InvalidOperationException("the control groups cannot be waited for");
        }
    }

    /// <summary>False as well: the group itself is gone, which only an empty one can be.</summary>
    private static bool IsPopulated(SafeFileHandle events, byte[] buffer)
    {
        try { return buffer.AsSpan(0, RandomAccess.Read(events, buffer, 0)).IndexOf("populated 1"u8) >= 0; }
        catch (IOException) { return false; }
    }

    private static async Task<List<long>> BackendsAsync(DatabaseHost database)
    {
        var moments = await database.SqlAsync("""
            create temporary table gone (at timestamptz);
            do $$ declare running int := -1; before int; begin
              loop
                perform pg_stat_clear_snapshot();
                before := running;
                select count(*) into running from pg_stat_activity where usename like 'ab\_ps%';
                insert into gone select clock_timestamp() from generate_series(1, before - running);
                exit when running = 0;
                perform pg_sleep(0.002);
              end loop;
            end $$;
            select extract(epoch from at) from gone
            """);
        return [.. moments.Select(m => Clock.At(DateTimeOffset.UnixEpoch.AddSeconds(double.Parse(m, CultureInfo.InvariantCulture))))];
    }

    private const short Changed = 2;
    private const int Interrupted = 4;

    [StructLayout(LayoutKind.Sequential)]
    private struct Polled
    {
        internal int Handle;
        internal short Wanted, Found;
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int poll([In, Out] Polled[] handles, nuint count, int milliseconds);
}
