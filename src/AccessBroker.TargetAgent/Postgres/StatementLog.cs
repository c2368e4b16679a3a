using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace AccessBroker.TargetAgent.Postgres;

/// <summary>
/// What sessions said to the server, from the server's own log (<c>log_destination = jsonlog</c>), into their recordings. The setting that makes the server
/// write it (<c>log_statement = all</c>) is on the login and not the session's to change. <clause>MIC 6.1(4)①②</clause>
/// </summary>
/// <param name="directory">The server's log_directory; empty: there is none to read.</param>
/// <param name="write">A session, a statement.</param>
/// <param name="tooLong">A session whose statement is longer than what is read.</param>
internal sealed partial class StatementLog(string directory, Action<string, string> write, Action<string> tooLong) : IDisposable
{
    /// <summary>Ours: read every 500 ms; 1 MB of one file at a time.</summary>
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(500);
    private const int Most = 1 << 20;
    private readonly Dictionary<string, long> _read = [];
    private Timer? _timer;

    internal bool IsThere => directory.Length > 0;

    /// <summary>From now on: what was written before is nobody's who lives.</summary>
    internal void Begin()
    {
        if (!IsThere) return;
        foreach (var file in new DirectoryInfo(directory).GetFiles("*.json")) _read[file.Name] = file.Length;
        _timer = new(_ => Read(), null, Every, Every);
    }

    /// <summary>All that has been written by now. Never throws: an unreadable log is said in ours.</summary>
    internal void Read()
    {
        if (!IsThere) return;
        lock (_read)
            try { foreach (var file in new DirectoryInfo(directory).GetFiles("*.json").OrderBy(f => f.LastWriteTimeUtc)) while (ReadOn(file)) { } }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException) { Log.Warn($"the server's log cannot be read: {e.Message}"); }
    }

    private bool ReadOn(FileInfo file)
    {
        var from = _read.GetValueOrDefault(file.Name);
        if (file.Length < from) from = 0;    // the server has begun it anew
        using var stream = new FileStream(file.FullName, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        stream.Position = from;
        var buffer = new byte[Most];
        var read = stream.ReadAtLeast(buffer, Most, throwOnEndOfStream: false);
        // Whole lines. One that is longer than the buffer cannot be recorded: whoever said it does not go on.
        var end = buffer.AsSpan(0, read).LastIndexOf((byte)'\n') + 1;
        if (end == 0 && read == Most)
        {
            end = read;
            if (Long().Match(Encoding.UTF8.GetString(buffer, 0, 400)) is { Success: true } who) tooLong(who.Groups[1].Value);
        }
        else foreach (var line in Encoding.UTF8.GetString(buffer, 0, end).Split('\n', StringSplitOptions.RemoveEmptyEntries)) Take(line);
        _read[file.Name] = from + end;
        return end > 0 && read == Most;
    }

    private void Take(string line)
    {
        if (!line.Contains("\"user\":\"ab_ps", StringComparison.Ordinal)) return;
        try
        {
            var entry = JsonElement.Parse(line);
            var said = entry.GetProperty("message").GetString()! + (entry.TryGetProperty("detail", out var detail) ? " -- " + detail.GetString() : "");
            if (entry.GetProperty("user").GetString()!.Split('_') is ["ab", var session, ..]) write(session, $"[{entry.GetProperty("pid").GetInt32()}] {(entry.GetProperty("error_severity").GetString() is "LOG" ? "" : "! ")}{said}");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException) { Log.Warn($"a line of the server's log cannot be understood: {e.Message}"); }
    }

    [GeneratedRegex("\"user\":\"ab_(ps[0-9a-f]+)_")]
    private static partial Regex Long();

    public void Dispose() => _timer?.Dispose();
}
