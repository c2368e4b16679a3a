using System.Globalization;
using System.Text.RegularExpressions;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>
/// When work may run: days of the Japanese calendar, from and until in Japanese time. 22:00-29:00 goes on until 5 o'clock of the next day.
/// Written "DAYS HH:mm-HH:mm"; several are separated by ";". DAYS: every-day (or nothing), business-days, closed-days, mon…sun, 1st-mon…5th-sun, last-mon…last-sun,
/// first-business-day, last-business-day (of a month), 03-25..04-10 (of each year: the turn of the fiscal year).
/// </summary>
/// <param name="From">0:00..23:59 of the day.</param>
/// <param name="Until">After <paramref name="From"/>, 30:00 at most.</param>
internal sealed partial record WorkWindow(string Days, TimeSpan From, TimeSpan Until)
{
    private static readonly string[] Weekdays = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    private const string WeekdaysInWords = "日月火水木金土";

    [GeneratedRegex(@"^(?:(?<days>every-day|business-days|closed-days|(?:(?:1st|2nd|3rd|4th|5th|last)-)?(?:sun|mon|tue|wed|thu|fri|sat)|(?:first|last)-business-day|(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\.\.(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])) )?(?<fh>[01]\d|2[0-3]):(?<fm>[0-5]\d)-(?<uh>[0-2]\d|30):(?<um>[0-5]\d)$")]
    private static partial Regex Form();

    /// <summary>Null: malformed. Empty: at any time.</summary>
    internal static IReadOnlyList<WorkWindow>? ParseAll(string text)
    {
        var windows = text.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Parse).ToList();
        return windows.Contains(null) ? null : [.. windows.OfType<WorkWindow>()];
    }

    private static WorkWindow? Parse(string text)
    {
        if (Form().Match(text) is not { Success: true } match) return null;
        int Number(string group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);
        var window = new WorkWindow(match.Groups["days"].Success ? match.Groups["days"].Value : "every-day", new(Number("fh"), Number("fm"), 0), new(Number("uh"), Number("um"), 0));
        return window.From < window.Until && window.Until <= TimeSpan.FromHours(30) ? window : null;
    }

    /// <summary>The day of this window within which all of it lies; null: none.</summary>
    internal DateOnly? DayOf(DateTimeOffset start, DateTimeOffset end)
    {
        for (var day = JapaneseTime.DayOf(start); day >= JapaneseTime.DayOf(start).AddDays(-1); day = day.AddDays(-1))
            if (Falls(day) && start >= JapaneseTime.StartOf(day) + From && end <= JapaneseTime.StartOf(day) + Until) return day;
        return null;
    }

    /// <summary>When it opens next, at <paramref name="after"/> or later, for at least so long; null: not within 400 days.</summary>
    internal DateTimeOffset? NextOpening(DateTimeOffset after, TimeSpan length)
    {
        for (var day = JapaneseTime.DayOf(after).AddDays(-1); day < JapaneseTime.DayOf(after).AddDays(400); day = day.AddDays(1))
            if (Falls(day) && JapaneseTime.StartOf(day) + From is var opens && (opens > after ? opens : after) is var start && start + length <= JapaneseTime.StartOf(day) + Until) return start;
        return null;
    }

    internal bool Falls(DateOnly day)
    {
        if (Days.Contains("..", StringComparison.Ordinal))
        {
            var (from, until, now) = (Days[..5], Days[7..], day.ToString("MM-dd", CultureInfo.InvariantCulture));
            var (begun, over) = (string.CompareOrdinal(now, from) >= 0, string.CompareOrdinal(now, until) > 0);
            return string.CompareOrdinal(from, until) <= 0 ? begun && !over : begun || !over;
        }
        return Days switch
        {
            "every-day" => true,
            "business-days" => JapaneseHolidays.IsBusinessDay(day),
            "closed-days" => !JapaneseHolidays.IsBusinessDay(day),
            "first-business-day" => JapaneseHolidays.IsBusinessDay(day) && !Enumerable.Range(1, day.Day - 1).Any(d => JapaneseHolidays.IsBusinessDay(new(day.Year, day.Month, d))),
            "last-business-day" => JapaneseHolidays.IsBusinessDay(day) && !Enumerable.Range(day.Day + 1, DateTime.DaysInMonth(day.Year, day.Month) - day.Day).Any(d => JapaneseHolidays.IsBusinessDay(new(day.Year, day.Month, d))),
            _ => Days.EndsWith(Weekdays[(int)day.DayOfWeek], StringComparison.Ordinal) && (Days.Length == 3 || (Days[0] == 'l' ? day.Day + 7 > DateTime.DaysInMonth(day.Year, day.Month) : Days[0] - '0' == (day.Day + 6) / 7)),
        };
    }

    /// <summary>平日 08:30〜17:15.</summary>
    internal string Words => $"{DaysInWords}{(int)From.TotalHours:00}:{From.Minutes:00}〜{(Until > TimeSpan.FromHours(24) ? $"翌{(int)Until.TotalHours - 24:00}" : $"{(int)Until.TotalHours:00}")}:{Until.Minutes:00}";

    private string DaysInWords => Days switch
    {
        "every-day" => "",
        "business-days" => "開庁日 ",
        "closed-days" => "閉庁日 ",
        "first-business-day" => "月の最初の開庁日 ",
        "last-business-day" => "月の最後の開庁日 ",
        _ when Days.Contains("..", StringComparison.Ordinal) => $"毎年{int.Parse(Days[..2], CultureInfo.InvariantCulture)}月{int.Parse(Days[3..5], CultureInfo.InvariantCulture)}日〜{int.Parse(Days[7..9], CultureInfo.InvariantCulture)}月{int.Parse(Days[10..], CultureInfo.InvariantCulture)}日 ",
        _ => $"{(Days.Length == 3 ? "毎週" : Days[0] == 'l' ? "最終" : $"第{Days[0]}")}{WeekdaysInWords[Array.IndexOf(Weekdays, Days[^3..])]}曜 ",
    };
}
