namespace AccessBroker.Assurance;

/// <summary><c>acr</c>: how sure we are of somebody, weakest first.</summary>
public enum Acr
{
    /// <summary>One category; opens nothing in any segment. On the wire: single.</summary>
    OneFactor,
    /// <summary>Two distinct categories.</summary>
    Multi,
    /// <summary>Operator card and PIN. <clause>INA 第7-1</clause></summary>
    Card,
    /// <summary>Operator card and PIN, or an attested passkey with user verification, given lately. <clause>MIC 6.2(1)③(オ)</clause></summary>
    Privileged,
}

/// <summary>Names of <see cref="Acr"/> values on the wire.</summary>
public static class AcrNames
{
    private const string Prefix = "urn:accessbroker:acr:";
    /// <summary>All, weakest first.</summary>
    public static readonly IReadOnlyList<string> All = [.. Enum.GetValues<Acr>().Select(Name)];
    /// <summary>urn:accessbroker:acr:single, …</summary>
    public static string Name(this Acr acr) => Prefix + acr switch { Acr.OneFactor => "single", Acr.Multi => "multi", Acr.Card => "card", _ => "privileged" };
    /// <summary>What a session's <c>acr</c> is worth now: "privileged" means lately, and falls back to what was proven.</summary>
    public static string At(string acr, IReadOnlyCollection<string> amr, TimeSpan age, TimeSpan mostAge) =>
        acr == Name(Acr.Privileged) && age > mostAge ? Name(Factors.OfAmr(amr).Contains(Proof.CardPin) ? Acr.Card : Acr.Multi) : acr;

    /// <summary>Null: no value of ours.</summary>
    public static Acr? Parse(string name) => Enum.GetValues<Acr>().Cast<Acr?>().FirstOrDefault(a => a!.Value.Name() == name);
}

/// <summary>What was proven, as a session keeps it.</summary>
/// <param name="Proofs">Everything that was proven, in any order.</param>
/// <param name="Attested">The passkey's model is known and allowed by the metadata.</param>
/// <param name="Age">Since it was proven, ≥ 0.</param>
public sealed record Proven(IReadOnlyCollection<Proof> Proofs, bool Attested, TimeSpan Age);

/// <summary>What is needed: the sum of what segment, client, operation and person ask for.</summary>
/// <param name="Methods">The methods that count at all.</param>
/// <param name="Acr">The least.</param>
/// <param name="Attested">A passkey counts only when its model is attested.</param>
/// <param name="MaxAge">How old the proof may be; null: as old as the session.</param>
public sealed record Need(IReadOnlyCollection<Method> Methods, Acr Acr, bool Attested, TimeSpan? MaxAge = null)
{
    /// <summary>Both: nothing may lower the other.</summary>
    public Need And(Need other) => new([.. Methods.Intersect(other.Methods)], (Acr)Math.Max((int)Acr, (int)other.Acr), Attested || other.Attested, MaxAge is null ? other.MaxAge : other.MaxAge is null || MaxAge < other.MaxAge ? MaxAge : other.MaxAge);
}

/// <summary>What came of it.</summary>
/// <param name="Enough">It is enough.</param>
/// <param name="Acr">What it amounts to, among the methods that count; null: to nothing.</param>
/// <param name="Missing">Methods of which any one, added now, would make it enough; empty when it is enough, or when nothing helps.</param>
public sealed record Verdict(bool Enough, Acr? Acr, IReadOnlyList<Method> Missing);

/// <summary>The whole decision, pure: categories are counted among the methods that policy lets count. <clause>MIC 3(1)②(ア), 図表17-18</clause></summary>
public static class AssuranceRule
{
    /// <summary>Judges. Never throws.</summary>
    public static Verdict Judge(Proven proven, Need need)
    {
        var acr = AcrOf(Counting(proven, need), need);
        var fresh = need.MaxAge is null || proven.Age <= need.MaxAge;
        if (acr >= need.Acr && fresh) return new(true, acr, []);
        // What would help, given anew: one method at a time, on top of what still counts.
        var kept = fresh ? proven : proven with { Proofs = [] };
        var missing = need.Methods.Order().Where(m => AcrOf(Counting(kept with { Proofs = [.. kept.Proofs.Union(Full(m))], Attested = kept.Attested || m == Method.Passkey }, need), need) >= need.Acr).ToList();
        // Two together: each is a part of it.
        if (missing.Count == 0 && fresh)
            missing = [.. need.Methods.Order().Where(m => need.Methods.Any(n => n != m && AcrOf(Counting(kept with { Proofs = [.. kept.Proofs.Union(Full(m)).Union(Full(n))] }, need), need) >= need.Acr))];
        return new(false, acr, missing);
    }

    private static IReadOnlyCollection<Proof> Full(Method method) => method switch { Method.Card => [Proof.Card, Proof.CardPin], Method.Passkey => [Proof.Passkey], Method.OneTimeCode => [Proof.OneTimeCode], _ => [Proof.Password] };

    private static List<Proof> Counting(Proven proven, Need need) =>
        [.. proven.Proofs.Where(p => Factors.MethodOf(p) is { } method && need.Methods.Contains(method) && (method != Method.Passkey || proven.Attested || !need.Attested)).Distinct()];

    private static Acr? AcrOf(List<Proof> proofs, Need need)
    {
        if (proofs.Count == 0) return null;
        var card = proofs.Contains(Proof.Card) && proofs.Contains(Proof.CardPin);
        // A passkey reaches the highest only where its model had to be attested, and was.
        if (card || (proofs.Contains(Proof.Passkey) && need is { Attested: true, Acr: Acr.Privileged })) return need.Acr == Acr.Privileged ? Acr.Privileged : Acr.Card;
        return Factors.Count(Factors.All(proofs)) switch { 0 => null, 1 => Acr.OneFactor, _ => Acr.Multi };
    }
}
