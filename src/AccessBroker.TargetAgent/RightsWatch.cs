using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>Says every minute who may do what on this target; the broker compares it with what was accepted. <clause>MIC 6.2解(1)</clause></summary>
internal sealed class RightsWatch(ITarget target, Action<JsonObject> report, TimeSpan every)
{
    /// <summary>Ours: lines of 200 characters, 20 KB of them; what is beyond stands as one line that changes with it.</summary>
    private const int Most = 20_000, Longest = 200;
    /// <summary>What weighs most comes first, so that nothing dull pushes it out.</summary>
    private static readonly string[] Order = ["role ", "uid 0", "group ", "member ", "file "];

    internal async Task RunAsync(CancellationToken ct)
    {
        using var timer = new PeriodicTimer(every);
        do
        {
            try
            {
                var (lines, rest, size) = (new List<string>(), new List<string>(), 0);
                foreach (var line in (await target.RightsAsync()).Select(Visible).Select(l => l.Length <= Longest ? l : $"{l[..(Longest - 20)]}… {Hash(l)}").OrderBy(l => Array.FindIndex(Order, o => l.StartsWith(o, StringComparison.Ordinal)) is >= 0 and var rank ? rank : Order.Length).ThenBy(l => l, StringComparer.Ordinal))
                    ((size += JsonSerializer.Serialize(line).Length + 1) <= Most ? lines : rest).Add(line);
                if (rest.Count > 0) lines.Add($"{rest.Count} more: {Hash(string.Join('\n', rest))}");
                report(new() { ["type"] = "rights", ["lines"] = new JsonArray([.. lines.Select(l => JsonValue.Create(l))]) });
            }
            catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"nobody can tell who may do what here: {e.Message}"); }
        } while (await timer.WaitForNextTickAsync(ct));
    }

    /// <summary>A name can hold anything: what cannot be seen is made visible.</summary>
    private static string Visible(string line) => string.Concat(line.Select(c => c < ' ' ? (char)('\u2400' + c) : char.IsControl(c) || char.GetUnicodeCategory(c) == System.Globalization.UnicodeCategory.Format ? '\ufffd' : c));

    private static string Hash(string text) => Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(text)))[..16];
}
