using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.FilePermissions;
using AccessBroker.Primitives;

namespace AccessBroker.AuthZen;

/// <summary>A body that cannot be answered: which member, in its own words. 400.</summary>
internal sealed class AuthZenException : Exception
{
    internal string Member { get; } = "";
    public AuthZenException() { }
    public AuthZenException(string message) : base(message) { }
    public AuthZenException(string message, Exception inner) : base(message, inner) { }
    internal AuthZenException(string member, string message) : base(message) => Member = member;
}

/// <summary>One question: who, what, with which. Absent where a search asks for it.</summary>
/// <param name="Properties">{"subject": …, "resource": …, "action": …} as they came.</param>
internal sealed record AuthZenQuestion(string SubjectType, string Subject, string Action, string ResourceType, string Resource, JsonElement Properties)
{
    /// <summary>The resource as permissions know it; null: its path has no form that could be permitted.</summary>
    internal string? Key => ResourceType == "file" ? FilePath.Parse(Resource) : IdForm.Fits(ResourceType) && Resource.Length is > 0 and <= 1000 ? $"{ResourceType}:{Resource}" : null;

    /// <summary>Reads the members; those named in <paramref name="without"/> may be missing. Throws <see cref="AuthZenException"/>.</summary>
    internal static AuthZenQuestion Read(JsonElement body, params string[] without)
    {
        var (subject, resource, action) = (Entity(body, "subject"), Entity(body, "resource"), without.Contains("action") ? default : Entity(body, "action"));
        var properties = new JsonObject();
        foreach (var (name, entity) in ((string, JsonElement)[])[("subject", subject), ("resource", resource), ("action", action)])
            if (entity.ValueKind == JsonValueKind.Object && entity.TryGetProperty("properties", out var given))
                properties[name] = given.ValueKind == JsonValueKind.Object ? JsonObject.Create(given) : throw new AuthZenException($"{name}.properties", "must be an object");
        if (body.TryGetProperty("context", out var context) && context.ValueKind != JsonValueKind.Object) throw new AuthZenException("context", "must be an object");
        return new(Text(subject, "subject", "type"), without.Contains("subject.id") ? "" : Text(subject, "subject", "id"), without.Contains("action") ? "" : Text(action, "action", "name"),
            Text(resource, "resource", "type"), without.Contains("resource.id") ? "" : Text(resource, "resource", "id"), JsonElement.Parse(properties.ToJsonString()));
    }

    /// <summary>An item of a batch over the defaults beside it (§7.1.1). What an item names itself is its own: of the default it takes a missing type or id, and properties only when it names no other entity.</summary>
    internal static JsonElement Merge(JsonElement defaults, JsonElement item)
    {
        var merged = new JsonObject();
        foreach (var name in (string[])["subject", "resource", "action", "context"])
        {
            var (own, common) = (item.TryGetProperty(name, out var given) ? given : default, defaults.TryGetProperty(name, out var general) ? general : default);
            if (own.ValueKind == JsonValueKind.Undefined && common.ValueKind == JsonValueKind.Undefined) continue;
            merged[name] = JsonNode.Parse((own.ValueKind == JsonValueKind.Undefined ? common : own).GetRawText());
            if (own.ValueKind != JsonValueKind.Object || common.ValueKind != JsonValueKind.Object || name == "context") continue;
            var names = own.TryGetProperty("id", out _) || own.TryGetProperty("name", out _);
            foreach (var member in common.EnumerateObject())
                if (!own.TryGetProperty(member.Name, out _) && (member.Name == "type" || !names)) merged[name]![member.Name] = JsonNode.Parse(member.Value.GetRawText());
        }
        return JsonElement.Parse(merged.ToJsonString());
    }

    private static JsonElement Entity(JsonElement body, string name) =>
        body.TryGetProperty(name, out var entity) ? entity.ValueKind == JsonValueKind.Object ? entity : throw new AuthZenException(name, "must be an object") : throw new AuthZenException(name, "is missing");

    private static string Text(JsonElement entity, string name, string member) =>
        entity.TryGetProperty(member, out var value) ? value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 and <= 4096 } text ? text : throw new AuthZenException($"{name}.{member}", "must be a string that is not empty") : throw new AuthZenException($"{name}.{member}", "is missing");
}
