using System.Text.Json;

namespace AccessBroker.Primitives;

/// <summary>JSON from outside: one object, no member twice, and only texts that are texts (no lone surrogates, no invalid UTF-8, no NUL).</summary>
public static class StrictJson
{
    private static readonly JsonDocumentOptions Options = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    /// <summary>The object, or null. Never throws.</summary>
    public static JsonElement? ParseObject(ReadOnlyMemory<byte> utf8)
    {
        try
        {
            using var document = JsonDocument.Parse(utf8, Options);
            return document.RootElement.ValueKind == JsonValueKind.Object && IsText(document.RootElement) ? document.RootElement.Clone() : null;
        }
        // What cannot be a .NET string is found when it is made one.
        catch (Exception e) when (e is JsonException or InvalidOperationException) { return null; }
    }

    /// <summary>A text member, or null when it is missing or something else.</summary>
    public static string? Text(JsonElement parsed, string name) => parsed.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static bool IsText(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.String => !element.GetString()!.Contains('\0', StringComparison.Ordinal),
        JsonValueKind.Array => element.EnumerateArray().All(IsText),
        JsonValueKind.Object => element.EnumerateObject().All(m => !m.Name.Contains('\0', StringComparison.Ordinal) && IsText(m.Value)),
        _ => true,
    };
}
