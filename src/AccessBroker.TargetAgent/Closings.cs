using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>On disk: which sessions were opened, and the closing words that the broker has not taken note of. A crash in between loses neither.</summary>
internal sealed class Closings(string directory, Action<JsonObject> report)
{
    internal const string Restarted = "privileged.agent-restarted";
    private string Sessions => Path.Combine(directory, "sessions");
    private string Words => Path.Combine(directory, "closings");

    /// <summary>Sessions that a former run opened and did not close.</summary>
    internal List<string> Left()
    {
        Directory.CreateDirectory(Sessions);
        Directory.CreateDirectory(Words);
        return [.. Directory.GetFiles(Sessions).Select(f => Path.GetFileName(f)!)];
    }

    /// <summary>Before anything of it is open. Not empty: a full disk takes empty files, and nothing that could be kept of the session.</summary>
    internal Task BeginAsync(string session, CancellationToken ct) => File.WriteAllTextAsync(Path.Combine(Sessions, session), "begun\n", ct);

    /// <summary>It was never opened.</summary>
    internal void Forget(string session) => File.Delete(Path.Combine(Sessions, session));

    internal static JsonObject Word(string session, string reason, double milliseconds, IReadOnlyList<string> found) => new()
    {
        ["type"] = "ended",
        ["session"] = session,
        ["reason"] = reason,
        ["milliseconds"] = milliseconds,
        ["left"] = 0,
        // Within a frame, whatever a session left.
        ["found"] = new JsonArray([.. found.Take(50).Select(f => JsonValue.Create(f.Length <= 200 ? f : f[..200] + "…"))]),
    };

    /// <summary>On disk until the broker has taken note.</summary>
    internal void Close(string session, JsonObject word)
    {
        Keep.Write(Path.Combine(Words, session), word.ToJsonString());
        File.Delete(Path.Combine(Sessions, session));
        report(word);
    }

    /// <summary>Unknown here, so nothing of it runs here: the broker is told, or told again.</summary>
    internal void SayAgain(string session)
    {
        try
        {
            if (!File.Exists(Path.Combine(Words, session))) Close(session, Word(session, Restarted, 0, []));
            else if (Keep.Read(Path.Combine(Words, session)) is { } word) report(word);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { Log.Warn($"the closing word cannot be kept: {e.Message}", session); }
    }

    /// <summary>What the broker has not taken note of yet.</summary>
    internal IEnumerable<JsonObject> Unreported() => Directory.GetFiles(Words).Select(Keep.Read).OfType<JsonObject>();

    internal void Noted(string session) => File.Delete(Path.Combine(Words, session));
}
