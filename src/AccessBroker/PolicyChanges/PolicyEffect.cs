using AccessBroker.Assurance;
using AccessBroker.Policies;

namespace AccessBroker.PolicyChanges;

/// <summary>What a change of the policies would do to whom. Pure.</summary>
/// <param name="Clients">Relying parties for which other factors would be needed.</param>
/// <param name="Everybody">The console, and with it everybody, would need other factors; or values changed that concern everybody.</param>
/// <param name="Roles">Roles that would have other operations, when not everybody is concerned anyway.</param>
internal sealed record PolicyEffect(IReadOnlyList<string> Clients, bool Everybody, IReadOnlyList<string> Roles)
{
    internal static PolicyEffect Of(PolicySet before, PolicySet after, string segment, IEnumerable<string> clients)
    {
        var (was, will) = ((AssurancePolicy)before.Values[typeof(AssurancePolicy)], (AssurancePolicy)after.Values[typeof(AssurancePolicy)]);
        var (had, have) = ((RolesPolicy)before.Values[typeof(RolesPolicy)], (RolesPolicy)after.Values[typeof(RolesPolicy)]);
        var others = after.Texts.Any(t => t.Key is not ("assurance" or "roles") && before.Texts.GetValueOrDefault(t.Key) != t.Value);
        var roles = had.Roles.Keys.Union(have.Roles.Keys).Where(r => !(had.Roles.GetValueOrDefault(r) ?? []).Order(StringComparer.Ordinal).SequenceEqual((have.Roles.GetValueOrDefault(r) ?? []).Order(StringComparer.Ordinal))).ToList();
        return new([.. clients.Where(c => Differs(was, will, segment, c))], others || was.Risk != will.Risk || Differs(was, will, segment, null), roles);
    }

    /// <summary>Relying parties that a policy names and nobody has registered: a name mistyped protects nothing.</summary>
    internal static IReadOnlyList<string> Unknown(PolicySet set, IEnumerable<string> clients) => [.. ((AssurancePolicy)set.Values[typeof(AssurancePolicy)]).Clients.Keys.Except(clients)];

    private static bool Differs(AssurancePolicy was, AssurancePolicy will, string segment, string? client) =>
        ((bool[])[false, true]).Any(privileged => !Same(was.Needed(segment, client, privileged: privileged), will.Needed(segment, client, privileged: privileged)));

    private static bool Same(Need a, Need b) => a.Acr == b.Acr && a.Attested == b.Attested && a.MaxAge == b.MaxAge && a.Methods.Order().SequenceEqual(b.Methods.Order());
}
