using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Staff;

/// <summary>An id that nobody has used for long, or that the roster does not know.</summary>
public sealed record DormantLine(PersonLine Person, DateTimeOffset? LastSignIn, DateTimeOffset? OrphanSince);

/// <summary>Unused ids and those HR does not know, to be settled; what is not settled is told again. <clause>MIC 6.2(1)②(ウ)</clause></summary>
internal sealed class DormantIds(Store store, PostsPolicy policy, TimeProvider time)
{
    internal async Task<List<DormantLine>> FindAsync(UnitOfWork work, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        var people = (await work.AskAsync(PeopleRegister.Search("", now, 50_000), ct)).Where(p => p.Standing is "valid").ToList();
        var last = (await work.QueryAsync($"select who, sessions.last_of(who) from unnest({people.Select(p => p.Id.Value).ToArray()}) as who", r => (r.GetString(0), r.IsDBNull(1) ? (DateTimeOffset?)null : r.GetFieldValue<DateTimeOffset>(1)), ct)).ToDictionary();
        var orphans = (await work.QueryAsync($"select person, found_at from staff.orphans where settled_at is null", r => (r.GetString(0), r.GetFieldValue<DateTimeOffset>(1)), ct)).ToDictionary();
        return [.. people.Select(p => new DormantLine(p, last.GetValueOrDefault(p.Id.Value), orphans.TryGetValue(p.Id.Value, out var since) ? since : null)).Where(d => d.OrphanSince is not null || (d.LastSignIn ?? d.Person.ValidFrom) < now - policy.DormantAfter)];
    }

    internal async Task SettleAsync(UnitOfWork work, PersonId person, PersonId by, string how, CancellationToken ct) =>
        await work.ExecuteAsync($"update staff.orphans set settled_by = {by}, settled_at = {time.GetUtcNow()}, how = {how} where person = {person} and settled_at is null", ct);

    /// <summary>Since when each unsettled orphan who has not left waits.</summary>
    internal static Question<List<DateTimeOffset>> Orphans(DateTimeOffset at) => Question.All($"select found_at from staff.orphans where settled_at is null and people.valid_at(person, {at})", r => r.GetFieldValue<DateTimeOffset>(0));

    internal Store Store => store;
}

/// <summary>Orphans that nobody settles within a week are told to the chief. Ours: 7 d.</summary>
internal sealed partial class StaffClock(DormantIds dormant, TimeProvider time, ILogger<StaffClock> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMinutes(10), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try { await TurnAsync(stoppingToken); }
            catch (NpgsqlException e) { Waiting(log, e.Message); }
        }
    }

    internal async Task TurnAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await dormant.Store.BeginAsync(ct);
        var late = await work.QueryAsync($"update staff.orphans set told_at = {now} where settled_at is null and people.valid_at(person, {now}) and found_at < {now.AddDays(-7)} and (told_at is null or told_at < {now.AddDays(-7)}) returning person", r => r.GetString(0), ct);
        if (late.Count == 0) return;
        var chiefs = await work.AskAsync(PeopleRegister.Holders(["security-chief"], now), ct);
        work.Notify(chiefs.Select(c => c.Id), "名簿にない人が残っています", $"{late.Count} 人の ID が、人事の名簿にないまま7日を過ぎました。", "/people/dormant", now);
        await work.CommitAsync(ct);
    }

    [LoggerMessage(LogLevel.Warning, "the register of people waits for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}

/// <summary>Imports that wait to be applied, ids that wait to be settled.</summary>
internal sealed class StaffTasks(TimeProvider time) : ITaskSource
{
    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        var tasks = new List<WaitingTask>();
        if (may.Allows("staff.apply-roster"))
            tasks.AddRange(await work.QueryAsync($"select id, effective, imported_by from staff.rosters where applied_at is null and discarded_at is null and imported_by <> {may.Person!.Id} order by id desc limit 5",
                r => new WaitingTask("人事の名簿の反映", $"{r.GetInt64(0)}", $"/people/rosters/{r.GetInt64(0)}", r.GetFieldValue<DateTimeOffset>(1).AddDays(1)), ct));
        if (may.Allows("staff.settle-dormant") && await work.AskAsync(DormantIds.Orphans(time.GetUtcNow()), ct) is { Count: > 0 } orphans)
            tasks.Add(new("名簿にない人の確認", $"{orphans.Count} 人", "/people/dormant", orphans.Min().AddDays(7)));
        return tasks;
    }
}

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
            Words = new Dictionary<string, Func<string, string>> { ["role"] = p.GetRequiredService<Policies.RolesPolicy>().TitlesOf, ["told"] = p.GetRequiredService<Policies.RolesPolicy>().TitlesOf },
        });
    }
}
