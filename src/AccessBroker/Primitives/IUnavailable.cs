namespace AccessBroker.Primitives;

/// <summary>An exception that means "a neighbour is away": the endpoint answers 503 and nothing was done.</summary>
public interface IUnavailable
{
    /// <summary>Stable code for machines.</summary>
    string Code { get; }
    /// <summary>What to tell people, in Japanese.</summary>
    string Explanation { get; }
}
