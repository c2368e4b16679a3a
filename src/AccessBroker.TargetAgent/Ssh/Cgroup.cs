using System.Diagnostics;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>
/// A control group (cgroup v2) per session: whatever a session starts, however it daemonises, stays in it, and one write kills it all. Its place is
/// taken from /proc/mounts, below the agent's own group, so that a service manager that ends the agent ends the sessions.
/// </summary>
internal sealed class Cgroup
{
    private readonly string _path;
    /// <summary>Open from the beginning: of a hundred groups that are killed together the last is killed before the processors are busy with the first.</summary>
    private SafeFileHandle? _kill;

    private Cgroup(string path) => _path = path;

    /// <summary>The group of all sessions; null: there is no cgroup v2 here, and sessions end by their account alone.</summary>
    internal static Cgroup? Find(string name)
    {
        var mount = File.ReadLines("/proc/mounts").Select(l => l.Split(' ')).FirstOrDefault(f => f[2] == "cgroup2")?[1];
        if (mount is null) return null;
        var own = File.ReadLines("/proc/self/cgroup").First(l => l.StartsWith("0::", StringComparison.Ordinal))[3..];
        var group = new Cgroup(Path.Join(mount, own.IndexOf("/" + name + "/", StringComparison.Ordinal) is >= 0 and var inside ? own[..inside] : own, name));
        try { Directory.CreateDirectory(group._path); }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException) { return null; }
        return File.Exists(group.File_("cgroup.kill")) ? group : null;
    }

    /// <summary>Two parts: what the operator's shells run, and the connection they come by.</summary>
    internal Cgroup Of(string session)
    {
        var group = new Cgroup(Path.Join(_path, session));
        Directory.CreateDirectory(Path.Join(group._path, "work"));
        Directory.CreateDirectory(Path.Join(group._path, "door"));
        group._kill = File.OpenHandle(group.KillFile, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        return group;
    }

    internal Cgroup Work => new(Path.Join(_path, "work"));
    internal Cgroup Door => new(Path.Join(_path, "door"));
    internal string Members => File_("cgroup.procs");
    private string File_(string name) => Path.Join(_path, name);

    /// <summary>Moves a process here. False: it is gone.</summary>
    internal bool Add(int process)
    {
        try { File.WriteAllText(Members, process.ToString(System.Globalization.CultureInfo.InvariantCulture)); return true; }
        catch (IOException) { return false; }
    }

    /// <summary>SIGKILL to every process in it and below, atomically.</summary>
    internal void Kill()
    {
        try
        {
            if (_kill is { } open) RandomAccess.Write(open, "1"u8, 0);
            else if (Directory.Exists(_path)) File.WriteAllText(KillFile, "1");
        }
        catch (Exception e) when (e is ObjectDisposedException || (e is IOException && !Directory.Exists(_path))) { /* it is gone */ }
    }

    /// <summary>Every process in it and below stands still, or goes on. A kill reaches it all the same.</summary>
    internal void Freeze(bool frozen) => File.WriteAllText(File_("cgroup.freeze"), frozen ? "1" : "0");

    /// <summary>Some process is left in it or below.</summary>
    internal bool Populated => Directory.Exists(_path) && File.ReadAllText(File_("cgroup.events")).Contains("populated 1", StringComparison.Ordinal);

    /// <summary>Waits until nothing is left in it or below. False: something still was after so long.</summary>
    internal async Task<bool> IsEmptyWithinAsync(TimeSpan span)
    {
        for (var since = Stopwatch.StartNew(); Populated; await Task.Delay(2))
            if (since.Elapsed > span) return false;
        return true;
    }

    internal IEnumerable<Cgroup> Children => Directory.Exists(_path) ? Directory.GetDirectories(_path).Select(d => new Cgroup(d)) : [];
    internal string KillFile => File_("cgroup.kill");

    /// <summary>Throws <see cref="IOException"/> while somebody is in it: then it can still be killed.</summary>
    internal void Remove()
    {
        foreach (var child in Children) child.Remove();
        if (Directory.Exists(_path)) Directory.Delete(_path);
        _kill?.Dispose();
    }
}
