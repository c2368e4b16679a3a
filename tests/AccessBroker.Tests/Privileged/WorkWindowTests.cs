using AccessBroker.Privileged;
using AccessBroker.Web;

namespace AccessBroker.Tests.Privileged;

/// <summary>When privileged work may run: the Japanese calendar.</summary>
public sealed class WorkWindowTests
{
    /// <summary>The Cabinet Office's list of national holidays (内閣府「国民の祝日」), every day of five years.</summary>
    [Theory]
    [InlineData(2022, "01-01 01-10 02-11 02-23 03-21 04-29 05-03 05-04 05-05 07-18 08-11 09-19 09-23 10-10 11-03 11-23")]
    [InlineData(2023, "01-01 01-02 01-09 02-11 02-23 03-21 04-29 05-03 05-04 05-05 07-17 08-11 09-18 09-23 10-09 11-03 11-23")]
    [InlineData(2024, "01-01 01-08 02-11 02-12 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-15 08-11 08-12 09-16 09-22 09-23 10-14 11-03 11-04 11-23")]
    [InlineData(2025, "01-01 01-13 02-11 02-23 02-24 03-20 04-29 05-03 05-04 05-05 05-06 07-21 08-11 09-15 09-23 10-13 11-03 11-23 11-24")]
    [InlineData(2026, "01-01 01-12 02-11 02-23 03-20 04-29 05-03 05-04 05-05 05-06 07-20 08-11 09-21 09-22 09-23 10-12 11-03 11-23")]
    public void National_holidays_are_the_published_ones(int year, string published) =>
        Assert.Equal(published.Split(' '), Enumerable.Range(0, 366).Select(d => new DateOnly(year, 1, 1).AddDays(d)).Where(d => d.Year == year && JapaneseHolidays.IsHoliday(d)).Select(d => $"{d:MM-dd}"));

    [Theory]
    [InlineData("2026-12-28", true), InlineData("2026-12-29", false), InlineData("2027-01-03", false), InlineData("2027-01-04", true), InlineData("2026-11-21", false), InlineData("2026-11-24", true)]
    public void Days_on_which_a_city_hall_works(string day, bool works) => Assert.Equal(works, JapaneseHolidays.IsBusinessDay(DateOnly.Parse(day, System.Globalization.CultureInfo.InvariantCulture)));

    [Theory, Trait("Requirement", "PRV-02")]
    [InlineData("08:30-17:15", "2026-11-24T08:30", 60, true), InlineData("08:30-17:15", "2026-11-24T08:29", 60, false), InlineData("08:30-17:15", "2026-11-24T16:16", 60, false)]
    [InlineData("business-days 08:30-17:15", "2026-11-23T10:00", 60, false), InlineData("closed-days 08:30-17:15", "2026-11-23T10:00", 60, true), InlineData("business-days 08:30-17:15; 2nd-sun 09:00-12:00", "2026-12-13T09:00", 180, true)]
    [InlineData("2nd-sun 09:00-12:00", "2026-12-06T09:00", 60, false), InlineData("last-fri 22:00-29:00", "2026-11-28T04:00", 60, true), InlineData("last-fri 22:00-29:00", "2026-11-28T04:01", 60, false), InlineData("last-fri 22:00-29:00", "2026-11-27T22:00", 420, true)]
    [InlineData("last-business-day 17:15-24:00", "2026-12-28T18:00", 360, true), InlineData("last-business-day 17:15-24:00", "2026-12-31T18:00", 60, false), InlineData("first-business-day 06:00-08:00", "2027-01-04T06:00", 60, true)]
    [InlineData("03-25..04-10 08:00-22:00", "2027-04-10T21:00", 60, true), InlineData("03-25..04-10 08:00-22:00", "2027-04-11T10:00", 60, false), InlineData("12-29..01-03 00:00-24:00", "2027-01-02T10:00", 60, true), InlineData("12-29..01-03 00:00-24:00", "2027-01-04T10:00", 60, false)]
    [InlineData("", "2026-11-24T03:00", 720, true)]
    public void Work_runs_within_one_opening(string hours, string start, int minutes, bool inside)
    {
        var windows = WorkWindow.ParseAll(hours)!;
        var from = DateTimeOffset.Parse(start + "+09:00", System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(inside, windows.Count == 0 || windows.Any(w => w.DayOf(from, from.AddMinutes(minutes)) is not null));
        if (windows.Count == 0) return;
        // The next opening is one, and none lies before it.
        var next = windows.Min(w => w.NextOpening(from, TimeSpan.FromMinutes(minutes)));
        Assert.Equal(inside, next == from);
        Assert.True(next is null || windows.Any(w => w.DayOf(next.Value, next.Value.AddMinutes(minutes)) is not null));
    }

    /// <summary>Approved in the evening for work of the day: the time to begin it runs from its opening, not from the approval.</summary>
    [Theory, Trait("Requirement", "PRV-02")]
    [InlineData("2026-11-24T22:05", "2026-11-25T16:00"), InlineData("2026-11-24T10:00", "2026-11-24T18:00"), InlineData("2026-11-24T21:45", "2026-11-25T16:00")]
    public void An_approval_outside_the_hours_can_be_used(string approved, string by)
    {
        static DateTimeOffset At(string local) => DateTimeOffset.Parse(local + "+09:00", System.Globalization.CultureInfo.InvariantCulture);
        var policy = AccessBroker.Policies.PolicyFiles.Parse<PrivilegedPolicy>("x", PrivilegedCity.Policy.Replace("approvals: 1, longest: 1h, idle: 15m, hours: \"\", emergency: true", "approvals: 1, longest: 1h, idle: 15m, hours: \"08:00-22:00\", emergency: true", StringComparison.Ordinal));
        var fields = new Dictionary<string, string> { ["work"] = "maintain", ["minutes"] = "30" };
        var request = new AccessBroker.Approvals.Request(1, "privileged.session", fields, "x", Primitives.PersonId.Parse("p-1"), At(approved), At(approved).AddDays(3), "approved", null, [new("approve-1", "p-2", At(approved), "", null)]);
        Assert.Equal(At(by), SessionKind.StartBy(policy, request));
        Assert.Null(SessionKind.StartBy(policy, request with { Decisions = [] }));
    }

    [Theory]
    [InlineData("8:30-17:15"), InlineData("17:15-08:30"), InlineData("holidays 08:00-10:00"), InlineData("6th-sun 08:00-10:00"), InlineData("22:00-31:00"), InlineData("22:00-30:01"), InlineData("13-01..13-02 08:00-10:00"), InlineData("08:00-10:00 ;x"), InlineData("08:00-08:00")]
    public void What_is_no_window_is_refused(string hours) => Assert.Null(WorkWindow.ParseAll(hours));

    [Fact]
    public void Hours_in_words() =>
        Assert.Equal("開庁日 08:30〜17:15、第2日曜 09:00〜翌05:00、毎年3月25日〜4月10日 08:00〜22:00", string.Join("、", WorkWindow.ParseAll("business-days 08:30-17:15; 2nd-sun 09:00-29:00; 03-25..04-10 08:00-22:00")!.Select(w => w.Words)));
}
