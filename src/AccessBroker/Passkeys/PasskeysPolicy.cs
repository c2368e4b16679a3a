using AccessBroker.Policies;

namespace AccessBroker.Passkeys;

/// <summary>What the city decides on a model of key.</summary>
public enum ModelRule
{
    /// <summary>May be enrolled.</summary>
    Allow,
    /// <summary>May not, whatever the metadata says.</summary>
    Refuse,
}

/// <summary>Rules for passkeys. Values are ours.</summary>
public sealed record PasskeysPolicy : IPolicy
{
    /// <summary>By AAGUID. With one "allow" in it every model that is not named is refused; otherwise every model of the metadata is allowed. Default: empty.</summary>
    public required Dictionary<string, ModelRule> Models { get; init; }
    /// <summary>Keys one person may have, 1..10. Default 3.</summary>
    public required int MostPerPerson { get; init; }
    /// <summary>From the options to the answer, 30 s..5 min. Default 2 min.</summary>
    public required TimeSpan Ceremony { get; init; }
    /// <summary>How fresh the sign-in must be before a key is enrolled, 1 min..30 min. Default 10 min.</summary>
    public required TimeSpan EnrolAfterSignIn { get; init; }

    /// <summary>Never throws on a validated policy.</summary>
    internal bool Allows(Guid aaguid) => Models.TryGetValue(aaguid.ToString("D"), out var rule) ? rule == ModelRule.Allow : !Models.ContainsValue(ModelRule.Allow);

    /// <inheritdoc/>
    public IEnumerable<string> Problems()
    {
        foreach (var name in Models.Keys.Where(k => !Guid.TryParseExact(k, "D", out var id) || id.ToString("D") != k)) yield return $"models: '{name}' is no AAGUID (lower case, with hyphens)";
        foreach (var problem in PolicyFiles.OutOfRange("most-per-person", MostPerPerson, 1, 10)) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("ceremony", Ceremony, TimeSpan.FromSeconds(30), TimeSpan.FromMinutes(5))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("enrol-after-sign-in", EnrolAfterSignIn, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(30))) yield return problem;
    }
}
