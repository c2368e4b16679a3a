using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Web;

namespace AccessBroker.OneTimeCodes;

internal static class OneTimeCodesSlice
{
    /// <param name="segment">Where codes can never count, nobody is shown the way to them.</param>
    internal static void AddOneTimeCodes(this IServiceCollection services, string policyDirectory, string segment)
    {
        services.AddPolicy<OneTimeCodesPolicy>(policyDirectory, "one-time-codes");
        services.AddSingleton<SealedSeeds>().AddSingleton<EnrolToken>().AddSingleton<RequestKind, IssueTokenKind>();
        services.AddSingleton(p => new OneTimeCodeSignIn(p.GetRequiredService<SealedSeeds>(), p.GetRequiredService<Active<OneTimeCodesPolicy>>(), p.GetRequiredService<TimeProvider>()));
        services.AddSingleton(new Sweep("delete from one_time_codes.tokens where ctid in (select ctid from one_time_codes.tokens where card is null and pending_until < clock_timestamp() - interval '1 hour' limit 500)"));
        if (segment is not ("lgwan" or "internet")) return;
        services.AddSingleton(new MenuEntry("自分のワンタイムパスワード", "/one-time-codes", 12, [])).AddSingleton(new MenuEntry("生成器の在庫", "/one-time-codes/stock", 36, ["one-time-codes.import"]));
    }
}
