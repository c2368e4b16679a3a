using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent;

/// <summary>What the broker ordered for a session.</summary>
/// <param name="Session">Its id: 1 to 64 of a-z, A-Z, 0-9, -, _.</param>
/// <param name="Grants">What the role allows on this kind of target.</param>
/// <param name="TwoPerson">It stands still until somebody watches. <clause>MIC 6.1(4)③</clause></param>
/// <param name="Person">Whose it is, as an emergency stop names them.</param>
/// <param name="Work">What kind of work, as an emergency stop names it.</param>
internal sealed record Opening(string Session, JsonElement Grants, bool TwoPerson, string Person, string Work);

/// <summary>What can be opened for a while and ends for certain. Two kinds: sshd, PostgreSQL.</summary>
internal interface ITarget
{
    /// <summary>Makes room for the session: account, role. What the operator's helper needs to connect. Throws <see cref="TargetException"/>; then nothing is left.</summary>
    Task<JsonObject> OpenAsync(Opening opening, CancellationToken ct);

    /// <summary>Lets somebody in: a PostgreSQL login with this verifier, good until the establishing window is over; its name. sshd asks for a certificate instead.</summary>
    Task<string> AdmitAsync(string session, long order, string verifier, TimeSpan window, CancellationToken ct);

    /// <summary>Ends sessions, all at once. How many processes or backends are left, by session: asked again until it is 0 for each.</summary>
    Task<IReadOnlyDictionary<string, int>> EndAsync(IReadOnlyList<string> sessions);

    /// <summary>Removes what an ended session leaves: home, files, role. What was found, in words; empty: nothing.</summary>
    Task<IReadOnlyList<string>> CleanAsync(string session);

    /// <summary>Holds a session still, or lets it go on: ssh freezes what runs and drops what is typed; PostgreSQL, which cannot be frozen, loses its connections. May be repeated.</summary>
    Task HoldAsync(string session, bool held);

    /// <summary>Of the living sessions those that something runs in at this moment, as far as the target itself must be asked; ends what belongs to none of them. Asked every 5 s.</summary>
    Task<IReadOnlyList<string>> BusyAsync(IReadOnlyCollection<string> living);

    /// <summary>Who may do more than others here, in lines, without what living sessions are granted.</summary>
    Task<IReadOnlyList<string>> RightsAsync();

    /// <summary>Shows a line to whoever works in the session.</summary>
    void Tell(string session, string line);

    /// <summary>Ends whatever a former run of the agent left, known or not.</summary>
    Task RecoverAsync(IReadOnlyList<string> sessions);

    /// <summary>Before the first session: proves that what is opened here can be ended, and has most of what that needs compiled. Throws <see cref="InvalidOperationException"/> when it cannot: then the agent opens nothing.</summary>
    Task RehearseAsync();
}

/// <summary>A session cannot be opened: a stable code.</summary>
internal sealed class TargetException : Exception
{
    public TargetException() { }
    public TargetException(string code) : base(code) { }
    public TargetException(string code, Exception inner) : base(code, inner) { }
}
