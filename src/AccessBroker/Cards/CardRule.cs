namespace AccessBroker.Cards;

/// <summary>The life of a card: which act leads from which state to which. Pure. FIDO keys and one-time-code tokens follow the same cycle. <clause>MIC 5.4解(1)</clause></summary>
public static class CardRule
{
    /// <summary>States from which the card still has to come back to the PIN manager. <clause>INA 第16-2</clause></summary>
    public static readonly IReadOnlyList<string> Outstanding = ["revoked", "collected", "suspended"];

    private static readonly Dictionary<string, (string[] From, string To)> Acts = new()
    {
        ["prepared"] = (["personalising"], "personalised"),
        ["spoil"] = (["personalising"], "spoiled"),
        ["hand-over"] = (["personalised"], "handed-over"),
        ["check-in"] = (["handed-over"], "in-locker"),
        ["check-out"] = (["in-locker"], "handed-over"),
        ["leave-at-home"] = (["handed-over", "in-locker"], "suspended"),
        ["suspend"] = (["handed-over"], "suspended"),
        ["bring-back"] = (["suspended"], "handed-over"),
        ["report-lost"] = (["personalised", "handed-over", "in-locker", "suspended", "revoked", "collected", "returned"], "lost"),
        ["find"] = (["lost"], "revoked"),
        ["revoke"] = (["personalised", "handed-over", "in-locker", "suspended"], "revoked"),
        ["collect"] = (["handed-over", "in-locker", "suspended", "revoked"], "collected"),
        ["receive"] = (["collected", "personalised"], "returned"),
        ["destroy"] = (["returned", "spoiled"], "destroyed"),
    };

    /// <summary>The names of all acts.</summary>
    public static IReadOnlyCollection<string> Names => Acts.Keys;

    /// <summary>The state after the act; null: it cannot be done to a card in that state, or there is no such act. Never throws.</summary>
    public static string? After(string state, string act) => Acts.TryGetValue(act, out var change) && change.From.Contains(state) ? change.To : null;
}
