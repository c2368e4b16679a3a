using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>
/// What a session showed, as asciicast v2 lines, handed to the broker in chunks whose hashes form a chain. A chunk is on this disk until the broker has
/// it: a broker that is away loses nothing. <clause>MIC 6.1(4)①②</clause>
/// </summary>
internal sealed class Recorder(string directory, TimeProvider time, Action<JsonObject> report, Action<string> failed) : IDisposable
{
    /// <summary>Ours: a chunk closes after 1 s or 12 KiB: whoever watches sees it then, and no more is lost should this host die.</summary>
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(1);
    private const int Most = 12 * 1024, MostOfAll = 240_000_000;
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private sealed class Tape(long began, Timer timer)
    {
        internal long Began => began;
        internal Timer Timer => timer;
        internal StringBuilder Lines { get; } = new();
        internal byte[] Chain { get; set; } = new byte[32];
        internal int Next { get; set; }
        internal int Connections { get; set; }
        internal long Bytes { get; set; }
    }

    private readonly Dictionary<string, Tape> _tapes = [];

    private Tape Of(string session)
    {
        if (!_tapes.TryGetValue(session, out var tape)) _tapes[session] = tape = new(time.GetTimestamp(), new(_ => Flush(session), null, Every, Every));
        return tape;
    }

    /// <summary>A connection of a session begins: asciicast's header. Its number, from 1.</summary>
    internal int Begin(string session, int rows, int columns, string? command)
    {
        lock (_tapes)
        {
            var tape = Of(session);
            var number = ++tape.Connections;
            Add(session, tape, JsonSerializer.Serialize(new { version = 2, width = columns > 0 ? columns : 80, height = rows > 0 ? rows : 24, timestamp = time.GetUtcNow().ToUnixTimeSeconds(), connection = number, command }, Format));
            return number;
        }
    }

    /// <param name="kind">o: shown, i: typed, r: resized, m: a statement. Only what is shown is a terminal's; the rest is data.</param>
    internal void Write(string session, string kind, string text)
    {
        lock (_tapes)
        {
            var tape = Of(session);
            Add(session, tape, JsonSerializer.Serialize(new object[] { Math.Round(time.GetElapsedTime(tape.Began).TotalSeconds, 3), kind, text }, Format));
        }
    }

    /// <summary>Something of it cannot be recorded: it does not go on.</summary>
    internal void Fail(string session) => failed(session);

    /// <summary>Shown after the session's end, or by nobody's: not recorded.</summary>
    internal void WriteIfOpen(string session, string kind, string text)
    {
        bool open;
        lock (_tapes) open = _tapes.ContainsKey(session);
        if (open) Write(session, kind, text);
    }

    private void Add(string session, Tape tape, string line)
    {
        tape.Lines.Append(line).Append('\n');
        if (tape.Lines.Length >= Most) Cut(session, tape);
    }

    private void Flush(string session) { lock (_tapes) if (_tapes.TryGetValue(session, out var tape)) Cut(session, tape); }

    private void Cut(string session, Tape tape)
    {
        if (tape.Lines.Length == 0) return;
        var text = tape.Lines.ToString();
        // Ours: 240 MB of one session. What is not recorded does not go on.
        if ((tape.Bytes += text.Length) > MostOfAll) { tape.Lines.Clear(); failed(session); return; }
        try { Directory.CreateDirectory(directory); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { failed(session); return; }
        tape.Lines.Clear();
        // Long lines are cut into several chunks: a frame to the broker has its limit.
        var bytes = Encoding.UTF8.GetBytes(text);
        for (var from = 0; from < bytes.Length; from += Most)
        {
            var part = bytes.AsSpan(from, Math.Min(Most, bytes.Length - from));
            tape.Chain = SHA256.HashData([.. tape.Chain, .. part]);
            var chunk = new JsonObject { ["type"] = "chunk", ["session"] = session, ["number"] = ++tape.Next, ["chain"] = Convert.ToHexStringLower(tape.Chain), ["data"] = Convert.ToBase64String(part) };
            try { Keep.Write(FileOf(session, tape.Next), chunk.ToJsonString()); }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Log.Warn($"a recording cannot be kept: {e.Message}", session);
                failed(session);
            }
            report(chunk);
        }
    }

    /// <summary>The session is over: what is left goes out.</summary>
    internal void End(string session)
    {
        lock (_tapes)
        {
            if (!_tapes.Remove(session, out var tape)) return;
            Cut(session, tape);
            tape.Timer.Dispose();
        }
    }

    /// <summary>What the broker does not have yet, in order.</summary>
    internal IEnumerable<JsonObject> Unreported() => Directory.Exists(directory) ? Directory.GetFiles(directory).Order(StringComparer.Ordinal).Select(Keep.Read).OfType<JsonObject>() : [];

    internal void Noted(string session, int number) => File.Delete(FileOf(session, number));

    private string FileOf(string session, int number) => Path.Combine(directory, $"{session}.{number:D8}");

    public void Dispose() { foreach (var session in _tapes.Keys.ToList()) End(session); }
}
