using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>Who may do more than others on this host, beside what sessions are granted for a time: accounts with uid 0, groups, sudoers, keys that log in, sshd's settings. <clause>MIC 6.2解(1)</clause></summary>
internal static partial class HostRights
{
    private static readonly string[] Groups = ["root", "sudo", "wheel", "adm", "docker", "shadow", "disk"];
    /// <summary>Ours: 1 MiB of a file is looked at.</summary>
    private const int Most = 1 << 20;
    private const int ReadOnlyNoFollowNonBlockCloseOnExec = 0x20000 | 0x800 | 0x80000;

    /// <param name="granted">Sudoers files of living sessions, and what was written there, hashed.</param>
    internal static IEnumerable<string> Find(SshOptions options, IReadOnlyDictionary<string, string> granted)
    {
        var accounts = File.ReadLines("/etc/passwd").Select(l => l.Split(':')).Where(f => f.Length > 5).ToList();
        foreach (var account in accounts.Where(f => Number(f[2]) == 0)) yield return $"uid 0: {account[0]}";
        foreach (var group in File.ReadLines("/etc/group").Select(l => l.Split(':')).Where(f => f.Length > 3 && (Groups.Contains(f[0]) || Number(f[2]) == 0)))
            foreach (var member in group[3].Split(',', StringSplitOptions.RemoveEmptyEntries).Concat(accounts.Where(a => Number(a[3]) == Number(group[2])).Select(a => a[0])).Distinct()) yield return $"group {group[0]}: {member}";
        IEnumerable<string> files = ["/etc/sudoers", .. Within(options.SudoersDirectory), "/etc/ssh/sshd_config", .. Within("/etc/ssh/sshd_config.d"),
            .. accounts.Select(f => f[5]).Distinct().SelectMany(home => (string[])[Path.Combine(home, ".ssh/authorized_keys"), Path.Combine(home, ".ssh/authorized_keys2")])];
        foreach (var file in files.Where(File.Exists))
            if (HashOf(file) is var hash && granted.GetValueOrDefault(file) != hash) yield return $"file {file}: {hash}";
    }

    internal static string Hash(byte[] content) => "sha256 " + Convert.ToHexStringLower(SHA256.HashData(content))[..16];

    /// <summary>Of a plain file only: whoever owns a home may have put a pipe, a link or something endless there.</summary>
    private static string HashOf(string file)
    {
        using var handle = new SafeFileHandle(open(file, ReadOnlyNoFollowNonBlockCloseOnExec), ownsHandle: true);
        if (handle.IsInvalid) return "not a plain file";
        try
        {
            using var stream = new FileStream(handle, FileAccess.Read, 0);
            if (!stream.CanSeek || stream.Length > Most) return stream.CanSeek ? $"{stream.Length} bytes, more than is looked at" : "not a plain file";
            var content = new byte[stream.Length];
            return Hash(content[..stream.ReadAtLeast(content, content.Length, throwOnEndOfStream: false)]);
        }
        catch (Exception e) when (e is IOException or NotSupportedException or ArgumentException) { return "not a plain file"; }
    }

    private static uint? Number(string text) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static IEnumerable<string> Within(string directory) => Directory.Exists(directory) ? Directory.GetFiles(directory).Order(StringComparer.Ordinal) : [];

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)] private static partial int open(string path, int flags);
}
