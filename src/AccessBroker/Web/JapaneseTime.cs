using System.Globalization;

namespace AccessBroker.Web;

/// <summary>Times as people in a city hall read them: Japanese time, with the era.</summary>
public static class JapaneseTime
{
    private static readonly TimeSpan Offset = TimeSpan.FromHours(9);    // Japan has had no daylight saving time since 1951.
    private static readonly JapaneseCalendar Calendar = new();

    /// <summary>The instant in Japanese time.</summary>
    public static DateTimeOffset ToLocal(DateTimeOffset instant) => instant.ToOffset(Offset);

    /// <summary>令和8年11月21日 14:03 in Japanese; 21 Nov 2026 14:03 in English.</summary>
    public static string InWords(DateTimeOffset instant)
    {
        var local = ToLocal(instant).DateTime;
        if (CultureInfo.CurrentUICulture.TwoLetterISOLanguageName == "en") return local.ToString("d MMM yyyy HH:mm", CultureInfo.InvariantCulture);
        var era = Calendar.GetEra(local) switch { 5 => "令和", 4 => "平成", 3 => "昭和", _ => "" };
        var year = Calendar.GetYear(local);
        return $"{era}{(year == 1 ? "元" : year.ToString(CultureInfo.InvariantCulture))}年{local.Month}月{local.Day}日 {local:HH:mm}";
    }

    /// <summary>令和8年11月21日; 21 Nov 2026 in English.</summary>
    public static string Day(DateTimeOffset instant) => InWords(instant) is var words && words.LastIndexOf(' ') is var space ? words[..space] : words;

    /// <summary>令和8年度 (April to March); FY2026 in English.</summary>
    public static string FiscalYear(DateTimeOffset instant)
    {
        var april = new DateTime(ToLocal(instant).Year - (ToLocal(instant).Month < 4 ? 1 : 0), 4, 1);
        if (CultureInfo.CurrentUICulture.TwoLetterISOLanguageName == "en") return $"FY{april.Year}";
        var year = Calendar.GetYear(april);
        return $"{Calendar.GetEra(april) switch { 5 => "令和", 4 => "平成", _ => "昭和" }}{(year == 1 ? "元" : year.ToString(CultureInfo.InvariantCulture))}年度";
    }

    /// <summary>Days that people mean lie between these; sentinels such as 9999-12-31 become the last.</summary>
    private static readonly DateOnly Earliest = new(1900, 1, 1), Latest = new(2199, 12, 31);

    /// <summary>The first instant of a day in Japan; days before 1900 or after 2199 are taken as the first or last of them. Never throws.</summary>
    public static DateTimeOffset StartOf(DateOnly day) => new((day < Earliest ? Earliest : day > Latest ? Latest : day).ToDateTime(TimeOnly.MinValue), Offset);

    /// <summary>The first instant of the day after it.</summary>
    public static DateTimeOffset EndOf(DateOnly day) => StartOf(day).AddDays(1);

    /// <summary>The day in Japan.</summary>
    public static DateOnly DayOf(DateTimeOffset instant) => DateOnly.FromDateTime(ToLocal(instant).DateTime);

    /// <summary>14:03.</summary>
    public static string TimeOfDay(DateTimeOffset instant) => ToLocal(instant).ToString("HH:mm", CultureInfo.InvariantCulture);

    /// <summary>2026-11-21 14:03:07, for lists.</summary>
    public static string Precise(DateTimeOffset instant) => ToLocal(instant).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
}
