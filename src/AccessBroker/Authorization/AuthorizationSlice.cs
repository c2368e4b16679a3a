using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.Extensions.Options;

namespace AccessBroker.Authorization;

internal static class AuthorizationSlice
{
    internal static void AddOperationAuthorization(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<RolesPolicy>(policyDirectory, "roles");
        services.AddAuthorization();
        services.AddSingleton<Permissions>();
        services.AddSingleton<IAuthorizationPolicyProvider, OperationPolicyProvider>();
        services.AddSingleton<IAuthorizationHandler, OperationHandler>();
    }
}

/// <summary>The operation a page or endpoint is: the name in its <c>[Authorize("…")]</c>.</summary>
internal sealed record OperationRequirement(string Operation) : IAuthorizationRequirement;

/// <summary>Every policy name is an operation of roles.Now.yaml.</summary>
internal sealed class OperationPolicyProvider(IOptions<AuthorizationOptions> options) : DefaultAuthorizationPolicyProvider(options)
{
    public override Task<AuthorizationPolicy?> GetPolicyAsync(string policyName) =>
        Task.FromResult<AuthorizationPolicy?>(new AuthorizationPolicyBuilder().RequireAuthenticatedUser().AddRequirements(new OperationRequirement(policyName)).Build());
}

/// <summary>May this person do this, now: by the roles of the posts held at this moment. Anything missing denies.</summary>
internal sealed class OperationHandler(Store store, Active<RolesPolicy> roles, TimeProvider time) : AuthorizationHandler<OperationRequirement>
{
    protected override async Task HandleRequirementAsync(AuthorizationHandlerContext context, OperationRequirement requirement)
    {
        if (context.User.Identity?.IsAuthenticated != true) return;
        await using var work = await store.BeginAsync(CancellationToken.None);
        var person = await PeopleRegister.FindValidAsync(work, PersonId.Of(context.User), time.GetUtcNow(), CancellationToken.None);
        if (person is not null && roles.Now.Allows(person.Posts.Select(p => p.Role), requirement.Operation)) context.Succeed(requirement);
    }
}
