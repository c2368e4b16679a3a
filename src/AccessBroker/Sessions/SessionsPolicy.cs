using AccessBroker.Policies;

namespace AccessBroker.Sessions;

/// <summary>Life of sessions and of what hangs on them. <clause>MIC 6.2(4)</clause> Values are ours.</summary>
public sealed record SessionsPolicy : IPolicy
{
    /// <summary>Without a sign of life from the terminal for so long the session is over, 3 s..60 s. Default 5 s.</summary>
    public required TimeSpan Lease { get; init; }
    /// <summary>Without a request of any relying party, 1 min..8 h. Default 30 min.</summary>
    public required TimeSpan Idle { get; init; }
    /// <summary>Whatever happens, 10 min..24 h. Default 10 h.</summary>
    public required TimeSpan Absolute { get; init; }
    /// <summary>Life of an access token, 1 min..1 h; it ends with its session all the same. Default 10 min.</summary>
    public required TimeSpan AccessToken { get; init; }
    /// <summary>Life of an ID token, 1 min..1 h. Default 5 min.</summary>
    public required TimeSpan IdToken { get; init; }
    /// <summary>Life of an authorization code, 5 s..60 s. Default 60 s.</summary>
    public required TimeSpan AuthorizationCode { get; init; }

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("lease", Lease, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(60)),
        .. PolicyFiles.OutOfRange("idle", Idle, TimeSpan.FromMinutes(1), TimeSpan.FromHours(8)),
        .. PolicyFiles.OutOfRange("absolute", Absolute, TimeSpan.FromMinutes(10), TimeSpan.FromHours(24)),
        .. PolicyFiles.OutOfRange("access-token", AccessToken, TimeSpan.FromMinutes(1), TimeSpan.FromHours(1)),
        .. PolicyFiles.OutOfRange("id-token", IdToken, TimeSpan.FromMinutes(1), TimeSpan.FromHours(1)),
        .. PolicyFiles.OutOfRange("authorization-code", AuthorizationCode, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(60)),
    ];
}
