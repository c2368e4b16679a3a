using AccessBroker.Policies;

namespace AccessBroker.Approvals;

/// <summary>How a rule of separation may be set aside when it cannot be helped (やむを得ない場合). <clause>MIC 1(8)①</clause></summary>
public sealed record SeparationPolicy
{
    /// <summary>May it be set aside at all, with a reason and a review by somebody else afterwards.</summary>
    public required bool Unavoidable { get; init; }
    /// <summary>How long what it allowed counts, 1 h..90 d. Default 30 d.</summary>
    public required TimeSpan ExpiresAfter { get; init; }
    /// <summary>Until when somebody independent must have looked at it, 1 h..30 d. Default 7 d. Until an overdue one is reviewed, that person gets no other.</summary>
    public required TimeSpan ReviewWithin { get; init; }
}

/// <summary>Requests and separation. Values are ours. <clause>MIC 1(8)①②</clause></summary>
public sealed record ApprovalsPolicy : IPolicy
{
    /// <summary>When a request counts as overdue, 1 h..30 d. Default 3 d. <clause>INA 第16-1</clause></summary>
    public required TimeSpan RequestDue { get; init; }
    /// <summary>When an unfinished request ends, 1 d..180 d. Default 60 d.</summary>
    public required TimeSpan RequestExpires { get; init; }
    /// <summary>When those who can approve are reminded, then after twice as long and so on, 15 min..7 d; from the second time on with those who can appoint deputies. Default 4 h. <clause>MIC 1(1)⑤</clause></summary>
    public TimeSpan RemindAfter { get; init; } = TimeSpan.FromHours(4);
    /// <summary>Each rule of <see cref="SeparationRule.Names"/>.</summary>
    public required Dictionary<string, SeparationPolicy> Separation { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("request-due", RequestDue, TimeSpan.FromHours(1), TimeSpan.FromDays(30)),
        .. PolicyFiles.OutOfRange("request-expires", RequestExpires, TimeSpan.FromDays(1), TimeSpan.FromDays(180)),
        .. PolicyFiles.OutOfRange("remind-after", RemindAfter, TimeSpan.FromMinutes(15), TimeSpan.FromDays(7)),
        .. SeparationRule.Names.Except(Separation.Keys).Select(n => $"separation.{n} is missing"),
        .. Separation.Keys.Except(SeparationRule.Names).Select(n => $"separation.{n} is no rule"),
        .. Separation.Where(s => s.Value.Unavoidable && s.Key is "contractor-decides" or "actor-reviews" or "locked-unlocks").Select(s => $"separation.{s.Key} must not be set aside (MIC 6.2(1)③(エ), 7.1注2; LCK-06)"),
        .. Separation.SelectMany(s => PolicyFiles.OutOfRange($"separation.{s.Key}.expires-after", s.Value.ExpiresAfter, TimeSpan.FromHours(1), TimeSpan.FromDays(90))),
        .. Separation.SelectMany(s => PolicyFiles.OutOfRange($"separation.{s.Key}.review-within", s.Value.ReviewWithin, TimeSpan.FromHours(1), TimeSpan.FromDays(30))),
    ];
}
