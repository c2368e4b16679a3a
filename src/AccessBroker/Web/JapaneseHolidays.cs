namespace AccessBroker.Web;

/// <summary>
/// National holidays by 国民の祝日に関する法律 (昭和23年法律第178号) as it stands since 2022, and the days on which a city hall works (地方自治法 第4条の2).
/// Equinoxes are the astronomers' forecast, good for 2022 to 2099; each is declared in February of the year before.
/// </summary>
public static class JapaneseHolidays
{
    /// <summary>A national holiday, a substitute (第3条第2項) or a day between two (第3条第3項).</summary>
    public static bool IsHoliday(DateOnly day)
    {
        if (IsNamed(day)) return true;
        if (IsNamed(day.AddDays(-1)) && IsNamed(day.AddDays(1))) return true;
        // One on a Sunday moves to the next day that is none.
        var before = day.AddDays(-1);
        while (IsNamed(before) && before.DayOfWeek != DayOfWeek.Sunday) before = before.AddDays(-1);
        return before.DayOfWeek == DayOfWeek.Sunday && IsNamed(before);
    }

    /// <summary>Neither a Saturday or Sunday, nor a holiday, nor 29 December to 3 January.</summary>
    public static bool IsBusinessDay(DateOnly day) => day.DayOfWeek is not (DayOfWeek.Saturday or DayOfWeek.Sunday) && !(day is { Month: 12, Day: >= 29 } or { Month: 1, Day: <= 3 }) && !IsHoliday(day);

    /// <summary>第2条.</summary>
    private static bool IsNamed(DateOnly day) => (day.Month, day.Day) switch
    {
        (1, 1) or (2, 11) or (2, 23) or (4, 29) or (5, 3) or (5, 4) or (5, 5) or (8, 11) or (11, 3) or (11, 23) => true,
        (1 or 10, >= 8 and <= 14) or (7 or 9, >= 15 and <= 21) when day.DayOfWeek == DayOfWeek.Monday => true,
        (3, var d) => d == Equinox(20.8431, day.Year),
        (9, var d) => d == Equinox(23.2488, day.Year),
        _ => false,
    };

    private static int Equinox(double of1980, int year) => (int)(of1980 + 0.242194 * (year - 1980)) - (year - 1980) / 4;
}
