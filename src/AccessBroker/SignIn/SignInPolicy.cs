using System.Globalization;
using AccessBroker.Policies;

namespace AccessBroker.SignIn;

/// <summary>Sign-in with card and PIN. <clause>MIC 3(1)②(ア)</clause> Values are ours.</summary>
public sealed record SignInPolicy : IPolicy
{
    /// <summary>From the relying party's request to the end of the sign-in, 1 min..15 min. Default 5 min.</summary>
    public required TimeSpan TransactionLifetime { get; init; }
    /// <summary>From the click to the claim by the agent, 5 s..2 min. Default 30 s.</summary>
    public required TimeSpan HandleLifetime { get; init; }
    /// <summary>From the proof to the posted code, 5 s..60 s. Default 60 s.</summary>
    public required TimeSpan CodeLifetime { get; init; }
    /// <summary>From when operators may sign in, local time, HH:mm. Default 00:00. <clause>MIC 6.2(1)解</clause></summary>
    public required string HoursFrom { get; init; }
    /// <summary>Until when, HH:mm, 24:00 = end of the day. Default 24:00.</summary>
    public required string HoursUntil { get; init; }
    /// <summary>Shown above every sign-in. <clause>MIC 6.2(4)</clause></summary>
    public required string Banner { get; init; }
    /// <summary>Whom a refused operator calls; shown with the receipt number.</summary>
    public required string PinManagerContact { get; init; }
    /// <summary>New sign-ins a minute from one network address, 10..100,000. Default 600. <clause>MIC 6.5(6)</clause></summary>
    public required int AttemptsPerMinute { get; init; }

    /// <summary>True when <paramref name="local"/> is within the hours. Never throws on a validated policy.</summary>
    public bool IsOpenAt(TimeOnly local) => Minutes(HoursFrom) is { } from && Minutes(HoursUntil) is { } until && local.Hour * 60 + local.Minute is var now && now >= from && now < until;

    /// <inheritdoc/>
    public IEnumerable<string> Problems()
    {
        foreach (var problem in PolicyFiles.OutOfRange("transaction-lifetime", TransactionLifetime, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(15))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("handle-lifetime", HandleLifetime, TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(2))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("code-lifetime", CodeLifetime, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(60))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("attempts-per-minute", AttemptsPerMinute, 10, 100_000)) yield return problem;
        if (Minutes(HoursFrom) is not { } from || Minutes(HoursUntil) is not { } until) yield return "hours-from and hours-until must be HH:mm";
        else if (from >= until) yield return $"hours-from ({HoursFrom}) must be before hours-until ({HoursUntil})";
        if (string.IsNullOrWhiteSpace(Banner) || string.IsNullOrWhiteSpace(PinManagerContact)) yield return "banner and pin-manager-contact must not be empty";
    }

    private static int? Minutes(string text) => text == "24:00" ? 24 * 60
        : TimeOnly.TryParseExact(text, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out var time) ? time.Hour * 60 + time.Minute : null;
}
