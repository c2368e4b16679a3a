using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>Files that are whole or not there, whatever happens while they are written.</summary>
internal static class Keep
{
    internal static void Write(string file, string text)
    {
        var fresh = file + ".tmp";
        using (var stream = new FileStream(fresh, FileMode.Create, FileAccess.Write))
        {
            stream.Write(System.Text.Encoding.UTF8.GetBytes(text));
            stream.Flush(flushToDisk: true);
        }
        File.Move(fresh, file, overwrite: true);
    }

    /// <summary>Null: unfinished, or spoilt and put aside.</summary>
    internal static JsonObject? Read(string file)
    {
        if (file.EndsWith(".tmp", StringComparison.Ordinal) || file.EndsWith(".spoilt", StringComparison.Ordinal)) return null;
        try { return (JsonObject?)JsonNode.Parse(File.ReadAllText(file)); }
        catch (Exception e) when (e is JsonException or InvalidCastException)
        {
            Log.Warn($"{file} cannot be read: {e.Message}");
            File.Move(file, file + ".spoilt", overwrite: true);
            return null;
        }
    }
}
