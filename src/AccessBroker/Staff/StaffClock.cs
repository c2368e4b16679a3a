using AccessBroker.Notices;
using AccessBroker.People;
using Npgsql;

namespace AccessBroker.Staff;

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
