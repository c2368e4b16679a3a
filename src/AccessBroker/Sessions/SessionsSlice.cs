using AccessBroker.Policies;
using AccessBroker.Terminals;
using Microsoft.AspNetCore.Authentication;

namespace AccessBroker.Sessions;

internal static class SessionsSlice
{
    internal static void AddSessions(this IServiceCollection services, string policyDirectory, string node)
    {
        services.AddPolicy<SessionsPolicy>(policyDirectory, "sessions");
        services.AddSingleton(new NodeName(node));
        services.AddSingleton<Leases>();
        services.AddSingleton<LiveSessions>();
        services.AddSingleton<ITerminalPresence, TerminalPresence>();
        services.AddHostedService<LeaseWorker>();
        services.AddAuthentication(SessionAuthentication.Scheme_).AddScheme<AuthenticationSchemeOptions, SessionAuthentication>(SessionAuthentication.Scheme_, null);
    }
}
