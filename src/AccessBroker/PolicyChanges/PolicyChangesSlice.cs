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
