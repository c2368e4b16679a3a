namespace AccessBroker.Policies;

/// <summary>Which role may do which operation of the console. Default deny.</summary>
public sealed record RolesPolicy : IPolicy
{
    /// <summary>Operations by role; names are <c>slice.kebab-case</c>.</summary>
    public required Dictionary<string, List<string>> Roles { get; init; }

    /// <summary>True when any of the roles has the operation. Unknown roles have nothing. Never throws.</summary>
    public bool Allows(IEnumerable<string> roles, string operation) =>
        roles.Any(r => Roles.TryGetValue(r, out var operations) && operations is not null && operations.Contains(operation));

    /// <inheritdoc/>
    public IEnumerable<string> Problems() => Roles.SelectMany(r => (r.Value ?? []).Where(o => !o.Contains('.', StringComparison.Ordinal)).Select(o => $"{r.Key}: '{o}' is no operation"));
}
