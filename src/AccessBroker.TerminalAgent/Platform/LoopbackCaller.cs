using System.Globalization;
using System.Net;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>Which OS user is at the other end of a loopback connection, where the platform can tell.</summary>
internal static class LoopbackCaller
{
    /// <summary>The user id of the process that owns the connection <paramref name="caller"/> → <paramref name="own"/>; null when it cannot be told.</summary>
    internal static uint? UserOf(IPEndPoint caller, IPEndPoint own) => OperatingSystem.IsLinux() ? FindUser(File.ReadLines("/proc/net/tcp"), caller, own) : null;

    /// <summary>A line of /proc/net/tcp: sl, local, remote, state, queues, timer, retransmits, uid. Addresses are in host byte order, in hex.</summary>
    internal static uint? FindUser(IEnumerable<string> lines, IPEndPoint caller, IPEndPoint own)
    {
        var (local, remote) = (Form(caller), Form(own));
        foreach (var line in lines)
        {
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length > 7 && fields[1] == local && fields[2] == remote && uint.TryParse(fields[7], CultureInfo.InvariantCulture, out var user)) return user;
        }
        return null;
    }

    /// <summary>The id of a user name, or null. Reads the system's user database.</summary>
    internal static uint? IdOf(string user) => OperatingSystem.IsLinux()
        ? File.ReadLines("/etc/passwd").Select(l => l.Split(':')).Where(f => f.Length > 2 && f[0] == user).Select(f => (uint?)uint.Parse(f[2], CultureInfo.InvariantCulture)).FirstOrDefault() : null;

    private static string Form(IPEndPoint end) => string.Create(CultureInfo.InvariantCulture, $"{BitConverter.ToUInt32(end.Address.MapToIPv4().GetAddressBytes()):X8}:{end.Port:X4}");
}
