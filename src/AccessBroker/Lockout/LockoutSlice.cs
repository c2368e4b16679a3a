using AccessBroker.Policies;

namespace AccessBroker.Lockout;

internal static class LockoutSlice
{
    internal static void AddLockout(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<LockoutPolicy>(policyDirectory, "lockout");
        services.AddSingleton<AccessFailures>();
        services.AddSingleton<UnlockTerminal>().AddSingleton<UnlockOperator>();
        services.AddSingleton(new Web.MenuEntry("ロックの一覧", "/locks", 45, ["lockout.read"]));
    }
}
