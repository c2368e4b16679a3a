using AccessBroker.Policies;

namespace AccessBroker.Sessions;

/// <summary>What the end of presence (card out, agent gone, lease over) does to a session.</summary>
public enum CardOut
{
    /// <summary>It ends. <clause>INA 第16-5</clause></summary>
    Terminate,
    /// <summary>It is locked until the same person signs in again at the same terminal; everyone else ends it. <clause>MIC 5.1(1)⑦</clause></summary>
    Lock,
}

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

    /// <summary>How long a relying party that cannot be reached is told again and again that a session ended, 1 h..7 d. Default 24 h.</summary>
    public required TimeSpan LogoutGiveUp { get; init; }

    /// <summary>What taking the card out does at terminals of systems not named below. Default: terminate.</summary>
    public required CardOut CardOut { get; init; }
    /// <summary>What it does at terminals of a system, by the system's id. 住基ネット (juki, juki-net) and 戸籍 (koseki) cannot be set to lock. <clause>INA 第16-5</clause></summary>
    public required Dictionary<string, CardOut> CardOutBySystem { get; init; }

    /// <summary>Systems whose sessions always end with the card.</summary>
    private static readonly string[] AlwaysTerminate = ["juki", "juki-net", "koseki"];

    /// <summary>What the end of presence does at a terminal of this system.</summary>
    public CardOut CardOutOf(string system) => AlwaysTerminate.Contains(system) ? CardOut.Terminate : CardOutBySystem.GetValueOrDefault(system, CardOut);

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. CardOutBySystem.Where(s => s.Value == CardOut.Lock && AlwaysTerminate.Contains(s.Key)).Select(s => $"card-out-by-system.{s.Key} must be terminate (INA 第16-5)"),
        .. CardOutBySystem.Values.Append(CardOut).Where(v => !Enum.IsDefined(v)).Select(v => $"card-out must be terminate or lock, but is {v}"),
        .. PolicyFiles.OutOfRange("lease", Lease, TimeSpan.FromSeconds(3), TimeSpan.FromSeconds(60)),
        .. PolicyFiles.OutOfRange("idle", Idle, TimeSpan.FromMinutes(1), TimeSpan.FromHours(8)),
        .. PolicyFiles.OutOfRange("absolute", Absolute, TimeSpan.FromMinutes(10), TimeSpan.FromHours(24)),
        .. PolicyFiles.OutOfRange("access-token", AccessToken, TimeSpan.FromMinutes(1), TimeSpan.FromHours(1)),
        .. PolicyFiles.OutOfRange("id-token", IdToken, TimeSpan.FromMinutes(1), TimeSpan.FromHours(1)),
        .. PolicyFiles.OutOfRange("logout-give-up", LogoutGiveUp, TimeSpan.FromHours(1), TimeSpan.FromDays(7)),
        .. PolicyFiles.OutOfRange("authorization-code", AuthorizationCode, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(60)),
    ];
}
