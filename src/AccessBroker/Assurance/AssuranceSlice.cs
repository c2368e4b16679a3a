using AccessBroker.Policies;

namespace AccessBroker.Assurance;

internal static class AssuranceSlice
{
    internal static void AddAssurance(this IServiceCollection services, string policyDirectory) => services.AddPolicy<AssurancePolicy>(policyDirectory, "assurance");
}
