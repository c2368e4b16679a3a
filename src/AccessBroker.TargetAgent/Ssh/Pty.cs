using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>A pseudo-terminal whose master side is the agent's: what a shell shows passes through here, and the shell cannot know or change it.</summary>
internal sealed partial class Pty : IDisposable
{
    private const int ReadWriteNoControllingCloseOnExec = 0x2 | 0x100 | 0x80000;
    private const nuint SetWindowSize = 0x5414;
    private readonly SafeFileHandle _master;

    internal Pty()
    {
        var master = posix_openpt(ReadWriteNoControllingCloseOnExec);
        if (master < 0) throw new Win32Exception();
        _master = new SafeFileHandle(master, ownsHandle: true);
        Span<byte> name = stackalloc byte[128];
        if (grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, (nuint)name.Length) != 0) throw new Win32Exception();
        Name = System.Text.Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)]);
        Stream = new FileStream(_master, FileAccess.ReadWrite, 0);
    }

    /// <summary>The slave's path.</summary>
    internal string Name { get; }
    internal FileStream Stream { get; }

    internal void Resize(ushort rows, ushort columns)
    {
        var size = new WindowSize { Rows = rows, Columns = columns };
        _ = ioctl(_master, SetWindowSize, ref size);
    }

    public void Dispose()
    {
        Stream.Dispose();
        _master.Dispose();
    }

    private struct WindowSize
    {
        internal ushort Rows, Columns, Width, Height;
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int posix_openpt(int flags);
    [LibraryImport("libc", SetLastError = true)] private static partial int grantpt(int master);
    [LibraryImport("libc", SetLastError = true)] private static partial int unlockpt(int master);
    [LibraryImport("libc", SetLastError = true)] private static partial int ptsname_r(int master, Span<byte> name, nuint length);
    [LibraryImport("libc", SetLastError = true)] private static partial int ioctl(SafeFileHandle master, nuint request, ref WindowSize size);
}
