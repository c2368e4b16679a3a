using System.Globalization;
using AccessBroker.Policies;

namespace AccessBroker.Cards;

/// <summary>The life of cards. Values are ours. <clause>INA 第16</clause></summary>
public sealed record CardsPolicy : IPolicy
{
    /// <summary>How long a card's certificates are good, 30 d..1,830 d. Default 1,825 d.</summary>
    public required TimeSpan CertificateLifetime { get; init; }
    /// <summary>When a temporary card ends on its day, local time HH:mm. Default 22:00.</summary>
    public required string TemporaryUntil { get; init; }
    /// <summary>How long a printed first PIN may be used to set another, 1 h..7 d. Default 3 d. <clause>MIC 6.2(5)②</clause></summary>
    public required TimeSpan FirstPinLifetime { get; init; }
    /// <summary>How often a card is to be inspected, 30 d..730 d. Default 365 d. <clause>INA 第16-6</clause></summary>
    public required TimeSpan InspectionEvery { get; init; }
    /// <summary>Below so many blank cards the PIN manager is told, 0..1,000. Default 5.</summary>
    public required int StockLow { get; init; }

    internal TimeOnly TemporaryEnd => TimeOnly.ParseExact(TemporaryUntil, "HH:mm", CultureInfo.InvariantCulture);

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("certificate-lifetime", CertificateLifetime, TimeSpan.FromDays(30), TimeSpan.FromDays(1830)),
        .. PolicyFiles.OutOfRange("first-pin-lifetime", FirstPinLifetime, TimeSpan.FromHours(1), TimeSpan.FromDays(7)),
        .. PolicyFiles.OutOfRange("inspection-every", InspectionEvery, TimeSpan.FromDays(30), TimeSpan.FromDays(730)),
        .. PolicyFiles.OutOfRange("stock-low", StockLow, 0, 1000),
        .. TimeOnly.TryParseExact(TemporaryUntil, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out _) ? [] : (string[])[$"temporary-until must be HH:mm, but is {TemporaryUntil}"],
    ];
}
