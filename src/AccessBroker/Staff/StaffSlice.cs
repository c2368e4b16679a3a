using AccessBroker.Notices;

namespace AccessBroker.Staff;

internal static class StaffSlice
{
    internal static void AddStaff(this IServiceCollection services, string policyDirectory)
    {
        Policies.PolicyFiles.AddPolicy<PostsPolicy>(services, policyDirectory, "posts");
        services.AddSingleton<RosterImport>().AddSingleton<SuspendPerson>().AddSingleton<DormantIds>().AddSingleton<ITaskSource, StaffTasks>();
        services.AddSingleton<StaffClock>().AddHostedService(p => p.GetRequiredService<StaffClock>());
        services.AddSingleton<Approvals.RequestKind, ResumePersonKind>().AddSingleton<Approvals.RequestKind, DeputyKind>();
        services.AddSingleton(new Web.MenuEntry("職員", "/people", 25, ["people.read"])).AddSingleton(new Web.MenuEntry("人事の名簿の取込み", "/people/rosters", 26, ["staff.read-rosters"])).AddSingleton(new Web.MenuEntry("使われていない ID", "/people/dormant", 27, ["staff.read-dormant"]));
        services.AddSingleton(new Registers.Register("user-ids", "利用者ID管理簿", "MIC 6.2(1)②", "registers.read", [("name", "氏名"), ("staffNumber", "職員番号"), ("section", "所属"), ("post", "職名"), ("employment", "雇用区分"), ("from", "発効"), ("until", "退職日"), ("reason", "理由")])
        { Words = new Dictionary<string, Func<string, string>> { ["employment"] = ListModel.EmploymentName } });
        services.AddSingleton(p => new Registers.Register("privileged", "特権・代行者管理簿", "MIC 6.2(1)③", "registers.read", [("person", "人"), ("role", "役割"), ("nominatedBy", "指名した人"), ("approvedBy", "承認したCISO"), ("from", "開始日"), ("until", "最終日"), ("told", "通知した役割"), ("reason", "理由")])
        {
            PersonColumns = ["person", "nominatedBy", "approvedBy"],
            Words = new Dictionary<string, Func<string, string>> { ["role"] = text => p.GetRequiredService<Policies.Active<Policies.RolesPolicy>>().Now.TitlesOf(text), ["told"] = text => p.GetRequiredService<Policies.Active<Policies.RolesPolicy>>().Now.TitlesOf(text) },
        });
    }
}
