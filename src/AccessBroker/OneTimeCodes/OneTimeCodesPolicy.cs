using AccessBroker.Policies;

namespace AccessBroker.OneTimeCodes;

/// <summary>One-time codes. Whether they count stands in assurance.yaml; values are ours. <clause>MIC 4.4注2</clause></summary>
public sealed record OneTimeCodesPolicy : IPolicy
{
    /// <summary>Steps before and after the expected one that are taken, 0..2. Default 1 (RFC 6238 §5.2).</summary>
    public required int Window { get; init; }
    /// <summary>Steps a token's clock may have drifted, 0..10. Default 4; beyond it the token must be exchanged.</summary>
    public required int MostDrift { get; init; }
    /// <summary>Tokens one person may have, 1..5. Default 2.</summary>
    public required int MostPerPerson { get; init; }
    /// <summary>How fresh the sign-in must be before a token is enrolled, 1 min..30 min. Default 10 min.</summary>
    public required TimeSpan EnrolAfterSignIn { get; init; }
    /// <summary>How long a seed that was shown waits for its first code, 1 min..15 min. Default 5 min.</summary>
    public required TimeSpan Enrolment { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("window", Window, 0, 2),
        .. PolicyFiles.OutOfRange("most-drift", MostDrift, 0, 10),
        .. PolicyFiles.OutOfRange("most-per-person", MostPerPerson, 1, 5),
        .. PolicyFiles.OutOfRange("enrol-after-sign-in", EnrolAfterSignIn, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(30)),
        .. PolicyFiles.OutOfRange("enrolment", Enrolment, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(15)),
    ];
}
