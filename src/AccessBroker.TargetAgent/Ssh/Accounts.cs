using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>An unprivileged account of the pool. One session has it at a time: whatever runs under its uid is the session's.</summary>
internal sealed record Account(string Name, uint Uid, uint Gid);

/// <summary>The pool of accounts, and what runs under them.</summary>
internal sealed class Accounts
{
    private readonly ConcurrentQueue<Account> _free;

    /// <summary>Reads the accounts. Throws <see cref="InvalidOperationException"/> when one is missing or could do more than a session may.</summary>
    internal Accounts(string[] names)
    {
        var known = File.ReadLines("/etc/passwd").Select(l => l.Split(':')).Where(f => f.Length > 3).ToDictionary(f => f[0], f => (Uid: uint.Parse(f[2], CultureInfo.InvariantCulture), Gid: uint.Parse(f[3], CultureInfo.InvariantCulture)));
        All = [.. names.Select(n => known.TryGetValue(n, out var ids) && ids.Uid >= 100 ? new Account(n, ids.Uid, ids.Gid) : throw new InvalidOperationException($"there is no unprivileged account {n}: run 'setup' first"))];
        _free = new(All);
    }

    internal IReadOnlyList<Account> All { get; }

    internal Account? Take() => _free.TryDequeue(out var account) ? account : null;

    internal void Return(Account account) => _free.Enqueue(account);

    /// <summary>SIGKILL to everything that runs under the account: one system call by a process of its own uid, so nothing can be started in between.</summary>
    internal static async Task KillAsync(Account account) => await RunAsync("setpriv", [$"--reuid={account.Uid}", $"--regid={account.Gid}", "--clear-groups", "--no-new-privs", "sh", "-c", "kill -KILL -1"]);

    /// <summary>How many living processes each of these accounts has, effective or real.</summary>
    internal static Dictionary<uint, int> Count(IReadOnlySet<uint> uids)
    {
        var found = new Dictionary<uint, int>();
        foreach (var (uid, _) in Processes(uids)) found[uid] = found.GetValueOrDefault(uid) + 1;
        return found;
    }

    /// <summary>Something runs under it.</summary>
    internal static bool Runs(Account account) => Processes(new HashSet<uint> { account.Uid }).Count > 0;

    /// <summary>Living processes of these accounts, effective, real or saved. Read as bytes: while a hundred sessions end this is done among a thousand processes.</summary>
    internal static List<(uint Uid, int Pid)> Processes(IReadOnlySet<uint> uids)
    {
        var found = new List<(uint, int)>();
        Span<byte> status = stackalloc byte[4096];
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(d => char.IsAsciiDigit(d[^1])))
        {
            int read;
            try
            {
                using var file = File.OpenHandle(process + "/status", FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                read = RandomAccess.Read(file, status, 0);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException) { continue; /* it has just ended */ }
            if (OwnerIn(status[..read], uids) is { } uid) found.Add((uid, int.Parse(Path.GetFileName(process), CultureInfo.InvariantCulture)));
        }
        return found;
    }

    /// <summary>Which of the accounts a process belongs to, from the beginning of its status; a zombie belongs to none, unless other threads of it live on.</summary>
    private static uint? OwnerIn(ReadOnlySpan<byte> status, IReadOnlySet<uint> uids)
    {
        if ((status.IndexOf("\nState:\tZ"u8) >= 0 && status.IndexOf("\nThreads:\t1\n"u8) >= 0) || status.IndexOf("\nUid:\t"u8) is not (>= 0 and var at)) return null;
        var rest = status[(at + 6)..];
        for (var i = 0; i < 3 && Utf8Parser.TryParse(rest, out uint uid, out var used); i++, rest = rest[(used + 1)..])
            if (uids.Contains(uid)) return uid;
        return null;
    }

    /// <summary>Clock ticks (1/100 s) since the machine's start.</summary>
    internal static long Now() => (long)(double.Parse(File.ReadAllText("/proc/uptime").Split(' ')[0], CultureInfo.InvariantCulture) * 100);

    /// <summary>When a process began, in the same ticks; null: it is gone.</summary>
    internal static long? StartOf(int process)
    {
        try { var stat = File.ReadAllText($"/proc/{process}/stat"); return long.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19], CultureInfo.InvariantCulture); }
        catch (IOException) { return null; }
    }

    /// <summary>Real; null: it is gone.</summary>
    internal static uint? UidOf(int pid) => Field(pid, "Uid:") is { } ids ? uint.Parse(ids.Split('\t')[0], CultureInfo.InvariantCulture) : null;
    /// <summary>0: it is gone, or the first.</summary>
    internal static int ParentOf(int pid) => Field(pid, "PPid:") is { } parent ? int.Parse(parent, CultureInfo.InvariantCulture) : 0;

    private static string? Field(int pid, string name)
    {
        try { return File.ReadLines($"/proc/{pid}/status").FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal))?[name.Length..].Trim(); }
        catch (IOException) { return null; }
    }

    /// <summary>Runs a program of the host to its end; its exit code and what it said.</summary>
    internal static async Task<(int Exit, string Output)> RunAsync(string program, IEnumerable<string> arguments, string? input = null)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        if (input is not null) await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, await output + await error);
    }

    /// <summary><c>setup</c>: makes the accounts, whose home for sshd and PAM is empty and root's: nothing of a session's own runs before the door, and keeps at and cron from them. Can be run again.</summary>
    internal static async Task SetUpAsync(SshOptions options)
    {
        foreach (var name in options.Accounts)
        {
            var (exit, output) = await RunAsync("useradd", ["--system", "--user-group", "--no-create-home", "--home-dir", Path.Combine(options.RunDirectory, "empty"), "--shell", options.Shell, name]);
            if (exit is not (0 or 9)) throw new InvalidOperationException($"useradd {name}: {output}");    // 9: it exists
            // No password fits, but it is not "locked": sshd without PAM lets nobody into a locked account, not even with a certificate.
            (exit, output) = await RunAsync("usermod", ["--password", "*", "--home", Path.Combine(options.RunDirectory, "empty"), name]);
            if (exit != 0) throw new InvalidOperationException($"usermod {name}: {output}");
        }
        foreach (var file in (string[])["/etc/at.deny", "/etc/cron.deny"])
        {
            // An allow file takes the place of the deny file: then the accounts are not in it, which is as good.
            var lines = File.Exists(file) ? File.ReadAllLines(file) : [];
            await File.WriteAllLinesAsync(file, lines.Union(options.Accounts));
        }
    }
}
