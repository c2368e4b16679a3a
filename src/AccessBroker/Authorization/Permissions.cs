using System.Security.Claims;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Authorization;

/// <summary>What one person may do at this moment.</summary>
/// <param name="Person">As valid now; null: nobody, and nothing is allowed.</param>
public sealed record MayDo(ValidPerson? Person, RolesPolicy Roles)
{
    /// <summary>True when a role of a post held now has the operation.</summary>
    public bool Allows(string operation) => Person is not null && Roles.Allows(Person.Roles, operation);
}

/// <summary>Asks the register of people and roles.Now.yaml, for pages whose operation depends on what they show.</summary>
public sealed class Permissions(Store store, Active<RolesPolicy> roles, TimeProvider time)
{
    /// <summary>What the signed-in person may do now.</summary>
    public Task<MayDo> OfAsync(ClaimsPrincipal user, CancellationToken ct) => OfAsync(PersonId.Of(user), ct);

    /// <summary>What a person may do now.</summary>
    public async Task<MayDo> OfAsync(PersonId person, CancellationToken ct) => new(await store.AskAsync(PeopleRegister.FindValid(person, time.GetUtcNow()), ct), roles.Now);

    /// <summary>The same in the caller's unit of work.</summary>
    public async Task<MayDo> OfAsync(UnitOfWork work, PersonId person, CancellationToken ct) => new(await work.AskAsync(PeopleRegister.FindValid(person, time.GetUtcNow()), ct), roles.Now);

    /// <summary>The roles that have an operation.</summary>
    public IReadOnlyList<string> RolesWith(string operation) => [.. roles.Now.Roles.Where(r => r.Value?.Contains(operation) == true).Select(r => r.Key)];
}
