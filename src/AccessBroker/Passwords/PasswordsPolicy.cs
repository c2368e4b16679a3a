using AccessBroker.Policies;

namespace AccessBroker.Passwords;

/// <summary>Passwords at the broker. Whether they count stands in assurance.yaml; no source gives numbers: every value is ours. <clause>MIC 5.4(3)③</clause></summary>
public sealed record PasswordsPolicy : IPolicy
{
    /// <summary>Least length in characters, 12..64. Default 12.</summary>
    public required int MinLength { get; init; }
    /// <summary>Characters that must remain when everything anybody would guess is taken out, 4..16. Default 6.</summary>
    public required int MinRest { get; init; }
    /// <summary>Earlier passwords that are refused, 1..24. Default 5. <clause>MIC 6.2(5)解③</clause></summary>
    public required int History { get; init; }
    /// <summary>How long a temporary password is good for setting one's own, 1 h..7 d. Default 24 h. <clause>MIC 5.4(3)⑥</clause></summary>
    public required TimeSpan TemporaryLifetime { get; init; }
    /// <summary>How fresh the sign-in must be before a password is set, 1 min..30 min. Default 10 min.</summary>
    public required TimeSpan ChangeAfterSignIn { get; init; }
    /// <summary>Words that anybody would try: the city's name, systems, what keyboards suggest. Lower case; what looks alike (0 and o, @ and a) counts as the same.</summary>
    public required List<string> DeniedWords { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("min-length", MinLength, 12, 64),
        .. PolicyFiles.OutOfRange("min-rest", MinRest, 4, 16),
        .. PolicyFiles.OutOfRange("history", History, 1, 24),
        .. PolicyFiles.OutOfRange("temporary-lifetime", TemporaryLifetime, TimeSpan.FromHours(1), TimeSpan.FromDays(7)),
        .. PolicyFiles.OutOfRange("change-after-sign-in", ChangeAfterSignIn, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(30)),
        .. DeniedWords.Where(w => !PasswordRule.IsWord(w) || w.Length > 40).Select(w => $"denied-words: '{w}' must have 3 to 40 characters, or 2 to 40 that are not ASCII"),
    ];
}
