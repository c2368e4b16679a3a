namespace AccessBroker.Assurance;

/// <summary>What a factor rests on. Categories are counted, never steps. <clause>MIC 3(1)②(ア)</clause></summary>
[Flags]
public enum Categories
{
    /// <summary>None.</summary>
    None = 0,
    /// <summary>知識: what one knows.</summary>
    Knowledge = 1,
    /// <summary>所持: what one has.</summary>
    Possession = 2,
    /// <summary>存在: what one is.</summary>
    Inherence = 4,
}

/// <summary>One thing that was proven in a sign-in.</summary>
public enum Proof
{
    /// <summary>The operator card is in the reader (9E): 所持.</summary>
    Card,
    /// <summary>Its holder knows its PIN (9A): 知識, and worth nothing without the card.</summary>
    CardPin,
    /// <summary>A passkey without user verification: 所持 only. <clause>MIC 図表17-18</clause></summary>
    PasskeyTouch,
    /// <summary>A passkey with user verification: 所持, and 知識 or 存在 (which of the two its model keeps to itself).</summary>
    Passkey,
    /// <summary>A one-time code: 所持 of its token.</summary>
    OneTimeCode,
    /// <summary>A password that the broker knows: 知識.</summary>
    Password,
    /// <summary>A good risk score: nothing. It is listed under 存在 there, but is no complete authentication. <clause>MIC 図表17-18</clause></summary>
    LowRisk,
}

/// <summary>A way to sign in, as policy names it: the proofs that belong to it.</summary>
public enum Method
{
    /// <summary>Operator card and its PIN.</summary>
    Card,
    /// <summary>FIDO2 key or platform passkey.</summary>
    Passkey,
    /// <summary>RFC 6238 token or app.</summary>
    OneTimeCode,
    /// <summary>Password at the broker.</summary>
    Password,
}

/// <summary>Pure facts about proofs.</summary>
public static class Factors
{
    /// <summary>What a proof counts as, all others of the sign-in given. Never throws on a defined proof.</summary>
    public static Categories CategoriesOf(Proof proof, IReadOnlyCollection<Proof> all) => proof switch
    {
        Proof.Card or Proof.PasskeyTouch or Proof.OneTimeCode => Categories.Possession,
        Proof.CardPin => all.Contains(Proof.Card) ? Categories.Knowledge : Categories.None,
        // Whether a PIN or a finger was asked is not known: counted as 知識, so that a password beside it adds nothing.
        Proof.Passkey => Categories.Possession | Categories.Knowledge,
        Proof.Password => Categories.Knowledge,
        Proof.LowRisk => Categories.None,
        _ => throw new ArgumentOutOfRangeException(nameof(proof), proof, null),
    };

    /// <summary>The method a proof belongs to; null: to none.</summary>
    public static Method? MethodOf(Proof proof) => proof switch
    {
        Proof.Card or Proof.CardPin => Method.Card,
        Proof.Passkey or Proof.PasskeyTouch => Method.Passkey,
        Proof.OneTimeCode => Method.OneTimeCode,
        Proof.Password => Method.Password,
        _ => null,
    };

    /// <summary>How many distinct categories.</summary>
    public static int Count(Categories categories) => System.Numerics.BitOperations.PopCount((uint)categories);

    /// <summary><c>amr</c> values of RFC 8176 for what was proven.</summary>
    public static IReadOnlyList<string> Amr(IReadOnlyCollection<Proof> proofs)
    {
        var amr = new List<string>();
        foreach (var proof in proofs.Order())
            amr.AddRange(proof switch { Proof.Card => ["sc"], Proof.CardPin => ["pin"], Proof.PasskeyTouch => ["hwk"], Proof.Passkey => ["hwk", "user"], Proof.OneTimeCode => ["otp"], Proof.Password => ["pwd"], _ => (string[])[] });
        if (Count(All(proofs)) > 1) amr.Add("mfa");
        return amr;
    }

    /// <summary>What a session's <c>amr</c> says was proven.</summary>
    public static IReadOnlyCollection<Proof> OfAmr(IReadOnlyCollection<string> amr)
    {
        var proofs = new List<Proof>();
        if (amr.Contains("sc")) proofs.Add(Proof.Card);
        if (amr.Contains("pin") && amr.Contains("sc")) proofs.Add(Proof.CardPin);
        if (amr.Contains("hwk")) proofs.Add(amr.Contains("user") ? Proof.Passkey : Proof.PasskeyTouch);
        if (amr.Contains("otp")) proofs.Add(Proof.OneTimeCode);
        if (amr.Contains("pwd")) proofs.Add(Proof.Password);
        return proofs;
    }

    internal static Categories All(IReadOnlyCollection<Proof> proofs) => proofs.Aggregate(Categories.None, (sum, p) => sum | CategoriesOf(p, proofs));
}
