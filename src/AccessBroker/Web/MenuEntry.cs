namespace AccessBroker.Web;

/// <summary>A line of the console's menu; slices register theirs.</summary>
/// <param name="Title">Japanese text.</param>
/// <param name="Url">Where it leads.</param>
/// <param name="Order">Lower comes first.</param>
/// <param name="Operations">Shown to whoever may do one of these; none: to everybody who is signed in.</param>
public sealed record MenuEntry(string Title, string Url, int Order, IReadOnlyList<string> Operations);
