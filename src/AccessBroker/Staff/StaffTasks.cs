using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Notices;

namespace AccessBroker.Staff;

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
