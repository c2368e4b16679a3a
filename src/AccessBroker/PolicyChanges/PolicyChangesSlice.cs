using AccessBroker.Approvals;
using AccessBroker.Policies;
using AccessBroker.Web;

namespace AccessBroker.PolicyChanges;

internal static class PolicyChangesSlice
{
    internal static void AddPolicyChanges(this IServiceCollection services)
    {
        services.AddSingleton<PolicySwitch>().AddSingleton<IHealthReport>(p => p.GetRequiredService<PolicySwitch>()).AddHostedService(p => p.GetRequiredService<PolicySwitch>());
        services.AddSingleton<RequestKind, ActivatePolicyKind>();
        services.AddSingleton(new MenuEntry("方針", "/policies", 65, ["policies.read"]));
    }

    /// <summary>Every policy file of this software, for commands that run without its slices.</summary>
    internal static IReadOnlyList<PolicyFile> AllFiles(string directory)
    {
        var services = new ServiceCollection();
        services.AddPolicy<RolesPolicy>(directory, "roles");
        services.AddPolicy<ApprovalsPolicy>(directory, "approvals");
        services.AddPolicy<Lockout.LockoutPolicy>(directory, "lockout");
        services.AddPolicy<Terminals.TerminalsPolicy>(directory, "terminals");
        services.AddPolicy<Cards.CardsPolicy>(directory, "cards");
        services.AddPolicy<Staff.PostsPolicy>(directory, "posts");
        services.AddPolicy<Sessions.SessionsPolicy>(directory, "sessions");
        services.AddPolicy<SignIn.SignInPolicy>(directory, "sign-in");
        services.AddPolicy<Assurance.AssurancePolicy>(directory, "assurance");
        services.AddPolicy<Passkeys.PasskeysPolicy>(directory, "passkeys");
        services.AddPolicy<OneTimeCodes.OneTimeCodesPolicy>(directory, "one-time-codes");
        services.AddPolicy<Passwords.PasswordsPolicy>(directory, "passwords");
        services.AddPolicy<Privileged.PrivilegedPolicy>(directory, "privileged");
        services.AddPolicy<TimeSource.TimePolicy>(directory, "time");
        return [.. services.Where(s => s.ServiceType == typeof(PolicyFile)).Select(s => (PolicyFile)s.ImplementationInstance!)];
    }

    /// <summary>A request is judged by the policies it began under. Streams of terminals last for days: their messages are pinned one by one.</summary>
    internal static void UsePinnedPolicies(this WebApplication app)
    {
        var policies = app.Services.GetRequiredService<ActivePolicies>();
        app.Use(async (context, next) =>
        {
            if (context.WebSockets.IsWebSocketRequest) { await next(context); return; }
            using (policies.Pin()) await next(context);
        });
    }
}
