using AccessBroker.Assurance;
using AccessBroker.Policies;
using AccessBroker.Privileged;

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

    /// <summary>What the policies name and no register has: relying parties, and for privileged work roles, contractors' workers and terminals. A name mistyped protects nothing and lets nobody in.</summary>
    internal static IReadOnlyList<string> Unknown(PolicySet set, IReadOnlyCollection<string> clients, IReadOnlyCollection<string> people, IReadOnlyCollection<string> terminals)
    {
        var (assurance, roles, privileged) = ((AssurancePolicy)set.Values[typeof(AssurancePolicy)], ((RolesPolicy)set.Values[typeof(RolesPolicy)]).Roles.Keys, (PrivilegedPolicy)set.Values[typeof(PrivilegedPolicy)]);
        static IEnumerable<string> Of(string file, IEnumerable<string> named, IEnumerable<string> known) => named.Except(known).Select(n => $"{file}.yaml: {n}");
        return
        [
            .. Of("assurance", assurance.Clients.Keys, clients),
            .. Of("privileged", privileged.Targets.Values.Select(t => t.Client).Where(c => c.Length > 0), clients),
            .. Of("privileged", privileged.Work.Values.SelectMany(w => w.Requesters.Concat(w.Approvers)), roles),
            .. Of("privileged", privileged.Contracts.Values.SelectMany(c => c.People.Concat(c.Subcontracted.Keys)), people),
            .. Of("privileged", privileged.Contracts.Values.SelectMany(c => c.Terminals), terminals),
        ];
    }

    private static bool Differs(AssurancePolicy was, AssurancePolicy will, string segment, string? client) =>
        ((bool[])[false, true]).Any(privileged => !Same(was.Needed(segment, client, privileged: privileged), will.Needed(segment, client, privileged: privileged)));

    private static bool Same(Need a, Need b) => a.Acr == b.Acr && a.Attested == b.Attested && a.MaxAge == b.MaxAge && a.Methods.Order().SequenceEqual(b.Methods.Order());
}
