using AccessBroker.Primitives;

namespace AccessBroker.History;

/// <summary>How an operation ended.</summary>
public enum HistoryOutcome
{
    /// <summary>Done as asked.</summary>
    Done,
    /// <summary>Refused by a rule; the reason is in the event only.</summary>
    Refused,
    /// <summary>Ended or narrowed access.</summary>
    Ended,
}

/// <summary>
/// One entry of the operation history: who, at which terminal, with which card, did what, and how it ended. Never holds a PIN, token,
/// key or raw request. <clause>MOJ 第5-4(5)ア</clause>
/// </summary>
/// <param name="Operation">Name of the operation, <c>slice.kebab-case</c>; never renamed.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Reason">Reason code, <c>slice.kebab-case</c>; empty when done.</param>
public sealed record HistoryEvent(string Operation, HistoryOutcome Outcome, string Reason = "")
{
    /// <summary>The acting person, when known.</summary>
    public PersonId? Person { get; init; }
    /// <summary>The terminal, when known.</summary>
    public TerminalId? Terminal { get; init; }
    /// <summary>The card, when known.</summary>
    public CardId? Card { get; init; }
    /// <summary>The session, when there is one.</summary>
    public SessionId? Session { get; init; }
    /// <summary>The relying party, when there is one.</summary>
    public string? Client { get; init; }
    /// <summary>Network address of the caller.</summary>
    public string? Address { get; init; }
    /// <summary>The receipt number the person was shown with a refusal.</summary>
    public string? Receipt { get; init; }
    /// <summary>What else an auditor needs: short texts by name.</summary>
    public IReadOnlyDictionary<string, string> Details { get; init; } = new Dictionary<string, string>();
    /// <summary>How many equal attempts this one entry stands for; more than 1 for coalesced garbage only.</summary>
    public int Count { get; init; } = 1;
}
