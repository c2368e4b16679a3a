using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>
/// The network end of one connection of sshd, held by name only: sshd closes it as ever. When a session ends, it is shut down right after the kill, so that
/// the client has its end of file at once, however long a hundred processes take to die. Taken from sshd's privileged half only: no operator has a hand in it,
/// and that half goes on to close the session with PAM and in the login records. <c>pidfd_getfd(2)</c>, Linux 5.6 and later; where it is not allowed
/// (ptrace_scope 3) the end comes with the death of the process.
/// </summary>
internal sealed partial class NetworkEnd : IDisposable
{
    private const int PidfdOpen = 434, PidfdGetfd = 438, Both = 2;
    private readonly SafeFileHandle _process;
    private readonly int _number;

    private NetworkEnd(SafeFileHandle process, int number) => (_process, _number) = (process, number);

    /// <summary>The TCP connection that sshd's privileged half serves for this account; null: the process is not that, it has none, or it may not be had.</summary>
    internal static NetworkEnd? Of(int process, Account account) => IsMonitor(process, account) ? Of(process) : null;

    /// <summary>The TCP connection of a process; null: it has none, or it may not be had.</summary>
    internal static NetworkEnd? Of(int process)
    {
        var handle = new SafeFileHandle(syscall(PidfdOpen, process, 0, 0), ownsHandle: true);
        try
        {
            foreach (var file in handle.IsInvalid ? [] : Directory.GetFiles($"/proc/{process}/fd"))
                if (int.Parse(Path.GetFileName(file), CultureInfo.InvariantCulture) is var number && new FileInfo(file).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) == true && IsNetwork(handle, number))
                    return new(handle, number);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { /* it has just ended */ }
        handle.Dispose();
        return null;
    }

    /// <summary>sshd's own half of a connection, root's: nothing of the operator's is in it. It names itself after its account: "sshd-session: NAME [priv]", before OpenSSH 9.8 "sshd: NAME [priv]".</summary>
    private static bool IsMonitor(int pid, Account account)
    {
        try { return Accounts.UidOf(pid) == 0 && File.ReadAllText($"/proc/{pid}/cmdline").TrimEnd('\0', ' ') is var title && title.StartsWith("sshd", StringComparison.Ordinal) && title.EndsWith($": {account.Name} [priv]", StringComparison.Ordinal); }
        catch (IOException) { return false; }
    }

    private static bool IsNetwork(SafeFileHandle process, int number)
    {
        if (Take(process, number) is not (>= 0 and var taken)) return false;
        using var socket = new Socket(new SafeSocketHandle(taken, ownsHandle: true));
        return socket is { SocketType: SocketType.Stream, AddressFamily: AddressFamily.InterNetwork or AddressFamily.InterNetworkV6, Connected: true };
    }

    /// <summary>The client reads its end of file; nothing more is read from it or sent to it.</summary>
    internal void Shut()
    {
        try
        {
            if (Take(_process, _number) is not (>= 0 and var taken)) return;
            using var own = new SafeFileHandle(taken, ownsHandle: true);
            _ = shutdown(taken, Both);
        }
        catch (ObjectDisposedException) { /* the connection has just ended */ }
    }

    private static int Take(SafeFileHandle process, int number) => (int)syscall(PidfdGetfd, process, number, 0);

    public void Dispose() => _process.Dispose();

    [LibraryImport("libc")] private static partial nint syscall(nint number, nint first, nint second, nint third);
    [LibraryImport("libc")] private static partial nint syscall(nint number, SafeFileHandle first, nint second, nint third);
    [LibraryImport("libc")] private static partial int shutdown(int socket, int how);
}
