namespace AccessBroker.Policies;

/// <summary>Which role may do which operation of the console. Default deny.</summary>
public sealed record RolesPolicy : IPolicy
{
    /// <summary>Operations by role; names are <c>slice.kebab-case</c>.</summary>
    public required Dictionary<string, List<string>> Roles { get; init; }

    /// <summary>The Japanese title of each role.</summary>
    public required Dictionary<string, string> Titles { get; init; }

    /// <summary>Titles for roles separated by spaces; what is no role stays as it is. Never throws.</summary>
    public string TitlesOf(string roles) => string.Join("、", roles.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(r => Titles.GetValueOrDefault(r, r)));

    /// <summary>True when any of the roles has the operation. Unknown roles have nothing. Never throws.</summary>
    public bool Allows(IEnumerable<string> roles, string operation) =>
        roles.Any(r => Roles.TryGetValue(r, out var operations) && operations is not null && operations.Contains(operation));

    /// <inheritdoc/>
    public IEnumerable<string> Problems() => Roles.SelectMany(r => (r.Value ?? []).Where(o => !o.Contains('.', StringComparison.Ordinal)).Select(o => $"{r.Key}: '{o}' is no operation"))
        .Concat(Roles.Keys.Except(Titles.Keys).Select(r => $"titles: {r} has none")).Concat(Titles.Keys.Except(Roles.Keys).Select(r => $"titles: {r} is no role"));
}
