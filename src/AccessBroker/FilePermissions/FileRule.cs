using System.Text.Json;

namespace AccessBroker.FilePermissions;

/// <summary>A directory with everything below it, or one file; of another type: <c>type:</c> and <c>type:id</c>.</summary>
/// <param name="Section">Whose it is; null: as above.</param>
/// <param name="NamedOnly">People in charge by name only. <clause>MIC 6.1(2)③</clause></param>
/// <param name="Confidentiality">機密性 1..3, 0: undetermined; null: as above. <clause>MIC 2(1), 2(2)④(ウ)</clause></param>
/// <param name="InBatch">Hidden while a bulk update runs. <clause>MOJ 第5-8(2)ア</clause></param>
public sealed record FileSet(string Resource, string? Section, bool NamedOnly, int? Confidentiality, bool InBatch);

/// <summary>A right, or with <paramref name="Deny"/> its refusal, from an instant to before another.</summary>
/// <param name="Subject">person:ID, section:CODE or post:SECTION/POST.</param>
/// <param name="UpTo">The highest 機密性 it reaches, 1..3.</param>
/// <param name="Conditions">Properties that must have these values; empty: none.</param>
public sealed record FileGrant(long Id, string Resource, string Subject, IReadOnlyCollection<string> Actions, bool Deny, int UpTo, IReadOnlyDictionary<string, JsonElement> Conditions, DateTimeOffset From, DateTimeOffset Until)
{
    /// <summary>The privileged work it lives as long as; null: none.</summary>
    public string? Holder { get; init; }
}

/// <summary>What came of a question.</summary>
/// <param name="Reason">granted, no-grant, denied or in-batch.</param>
/// <param name="Grant">The grant that allows it; null: it is not allowed.</param>
public sealed record FileDecision(bool Allowed, string Reason, long? Grant);

/// <summary>
/// The whole decision, pure; the SQL function <c>file_permissions.decide</c> is the same. Default deny; a denial wins; rights come down the tree; the highest
/// 機密性 on the way counts, and what is undetermined is the highest. <clause>MOJ 第5-4(4)</clause> <clause>MIC 6.1(2), 2(2)</clause>
/// </summary>
public static class FileRule
{
    /// <summary>What can be done with files.</summary>
    public static readonly IReadOnlyList<string> Actions = ["read", "write", "print", "export", "delete"];

    /// <summary>The sets a resource lies in, outermost first, itself last. Never throws.</summary>
    public static IEnumerable<string> Chain(string resource)
    {
        if (!resource.StartsWith('/'))
        {
            var colon = resource.IndexOf(':', StringComparison.Ordinal);
            if (colon >= 0 && colon < resource.Length - 1) yield return resource[..(colon + 1)];
            yield return resource;
            yield break;
        }
        yield return "/";
        for (var at = resource.IndexOf('/', 1); at > 0; at = resource.IndexOf('/', at + 1)) yield return resource[..at];
        if (resource.Length > 1) yield return resource;
    }

    /// <summary>Decides.</summary>
    /// <param name="sets">Every set by its resource.</param>
    /// <param name="grants">The grants to any of <paramref name="subjects"/>, by resource.</param>
    /// <param name="subjects">As whom the person acts now: empty for nobody.</param>
    /// <param name="properties">What an enforcement point says of subject, resource and action; default: nothing.</param>
    public static FileDecision Decide(IReadOnlyDictionary<string, FileSet> sets, IReadOnlyDictionary<string, FileGrant[]> grants, IReadOnlySet<string> subjects, string person, string resource, string action, DateTimeOffset at, JsonElement properties = default)
    {
        int? highest = null;
        string? owner = null, named = null;
        var (known, busy) = (false, false);
        foreach (var level in Chain(resource))
        {
            if (!sets.TryGetValue(level, out var set)) continue;
            (known, busy) = (true, busy || set.InBatch);
            if (set.Confidentiality is { } given) highest = Math.Max(highest ?? 0, given == 0 ? 3 : given);
            owner = set.Section ?? owner;
            if (set.NamedOnly) named = set.Resource;
        }
        var (level_, denied, allowing) = (highest ?? 3, false, (long?)null);
        foreach (var level in Chain(resource))
        {
            if (!grants.TryGetValue(level, out var here)) continue;
            foreach (var grant in here)
            {
                if (!subjects.Contains(grant.Subject) || !grant.Actions.Contains(action)) continue;
                if (grant.From > at || grant.Until <= at || !Holds(grant.Conditions, person, properties)) continue;
                if (grant.Deny) denied = true;
                else if (known && Counts(grant, level_, owner, named, subjects, action) && (allowing is null || grant.Id < allowing)) allowing = grant.Id;
            }
        }
        return denied ? new(false, "denied", null) : allowing is null ? new(false, "no-grant", null) : busy ? new(false, "in-batch", null) : new(true, "granted", allowing);
    }

    /// <summary>By name anywhere at or below what only named people see; by section or post only where it is the person's own, and never to take out 機密性 2 or more. <clause>MIC 2(2)⑧⑨, 6.1(2)</clause></summary>
    private static bool Counts(FileGrant grant, int level, string? owner, string? named, IReadOnlySet<string> subjects, string action) =>
        grant.UpTo >= level && (grant.Subject.StartsWith("person:", StringComparison.Ordinal) ? named is null || grant.Resource.Length >= named.Length
            : named is null && (owner is null || subjects.Contains("section:" + owner)) && !(action == "export" && level >= 2));

    private static bool Holds(IReadOnlyDictionary<string, JsonElement> conditions, string person, JsonElement properties) =>
        conditions.Count == 0 || conditions.All(c => Find(properties, c.Key) is { ValueKind: JsonValueKind.String or JsonValueKind.True or JsonValueKind.False } found && Text(found) == (Text(c.Value) is "$subject.id" ? person : Text(c.Value)));

    private static JsonElement? Find(JsonElement properties, string path)
    {
        var at = properties;
        foreach (var part in path.Split('.'))
            if (at.ValueKind != JsonValueKind.Object || !at.TryGetProperty(part, out at)) return null;
        return at;
    }

    private static string Text(JsonElement value) => value.ValueKind switch { JsonValueKind.String => value.GetString()!, JsonValueKind.True => "true", JsonValueKind.False => "false", _ => value.GetRawText() };
}
