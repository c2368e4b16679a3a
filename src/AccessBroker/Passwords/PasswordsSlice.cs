using AccessBroker.Approvals;
using AccessBroker.Policies;
using AccessBroker.Web;

namespace AccessBroker.Passwords;

internal static class PasswordsSlice
{
    /// <param name="segment">Where passwords can never count, nobody is shown the way to them.</param>
    internal static void AddPasswords(this IServiceCollection services, string policyDirectory, string segment)
    {
        services.AddPolicy<PasswordsPolicy>(policyDirectory, "passwords");
        services.AddSingleton<SetPassword>().AddSingleton<RequestKind, ResetPasswordKind>();
        if (segment is "lgwan" or "internet") services.AddSingleton(new MenuEntry("自分のパスワード", "/password", 13, []));
    }
}
