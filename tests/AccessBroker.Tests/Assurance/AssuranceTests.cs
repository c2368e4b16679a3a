using AccessBroker.Assurance;
using AccessBroker.Policies;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Assurance;

/// <summary>What counts as enough: every combination of factors, in every segment, for every need. Categories decide, never steps.</summary>
public sealed class AssuranceTests
{
    private static readonly string Directory = Path.Combine(Place.Root, "policies");
    private static readonly AssurancePolicy Policy = PolicyFiles.Load<AssurancePolicy>(Directory, "assurance");
    private static readonly string[] Segments = ["my-number", "juki-net", "lgwan", "internet"];

    private static IEnumerable<Proof[]> Combinations() => Enumerable.Range(0, 1 << Enum.GetValues<Proof>().Length).Select(bits => Enum.GetValues<Proof>().Where(p => (bits & (1 << (int)p)) != 0).ToArray())
        // One passkey ceremony either verified its user or did not.
        .Where(c => !(c.Contains(Proof.Passkey) && c.Contains(Proof.PasskeyTouch)));

    private static IEnumerable<(string Name, Func<string, Need> Of)> Needs() =>
    [
        ("everybody", s => Policy.Needed(s, null)), ("card-client", s => Policy.Needed(s, null, Acr.Card)), ("risky", s => Policy.Needed(s, null, risky: true)), ("privileged", s => Policy.Needed(s, null, privileged: true)),
    ];

    private static char Mark(Verdict verdict) => verdict.Enough ? '✔' : verdict.Missing.Count > 0 ? '+' : '✘';

    private static IEnumerable<string> Table()
    {
        yield return "# Which factors are enough where. One line per combination; one block of four marks per need, in the order my-number, juki-net, lgwan, internet.";
        yield return "# ✔ enough · + one of the other methods would complete it · ✘ nothing this person could add helps. (a) the passkey's model is attested, (-) it is not.";
        yield return "# Written by UPDATE_GOLDEN=1 ./dev test, reviewed by hand.";
        yield return $"# {"factors",-62} att {string.Join(' ', Needs().Select(n => $"{n.Name,-11}"))}";
        foreach (var combination in Combinations())
            foreach (var attested in combination.Any(p => p is Proof.Passkey or Proof.PasskeyTouch) ? [true, false] : (bool[])[false])
                yield return $"{(combination.Length == 0 ? "(nothing)" : string.Join('+', combination.Select(p => p.ToString()))),-64} {(attested ? 'a' : '-')}  "
                    + string.Join(' ', Needs().Select(n => $"{string.Concat(Segments.Select(s => Mark(AssuranceRule.Judge(new(combination, attested, TimeSpan.Zero), n.Of(s))))),-11}")).TrimEnd();
    }

    [Fact, Trait("Requirement", "IDN-01"), Trait("Requirement", "IDN-02"), Trait("Requirement", "IDN-03"), Trait("Requirement", "IDN-20")]
    public void The_table_of_factors_segments_and_needs_is_the_reviewed_one()
    {
        var file = Path.Combine(Directory, "expected-factors.txt");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllLines(file, Table());
        Assert.Equal(File.ReadAllLines(file), Table());
    }

    /// <summary>Written by hand from the requirements, not from the code: these hold whatever the table says.</summary>
    [Theory, Trait("Requirement", "IDN-01"), Trait("Requirement", "IDN-02"), Trait("Requirement", "IDN-03"), Trait("Requirement", "IDN-20")]
    [InlineData("lgwan", false, "Password", "CardPin"), InlineData("lgwan", false, "Password"), InlineData("lgwan", false, "Card", "OneTimeCode"), InlineData("lgwan", false, "Card"), InlineData("lgwan", false, "OneTimeCode"), InlineData("lgwan", false, "PasskeyTouch", "OneTimeCode"),
     InlineData("lgwan", false, "Password", "LowRisk"), InlineData("lgwan", true, "Card", "CardPin"), InlineData("lgwan", true, "OneTimeCode", "Password"), InlineData("lgwan", true, "Passkey"), InlineData("lgwan", true, "PasskeyTouch", "Password"),
     InlineData("my-number", false, "OneTimeCode", "Password"), InlineData("my-number", false, "PasskeyTouch"), InlineData("my-number", true, "Card", "CardPin"), InlineData("my-number", false, "CardPin"),
     InlineData("juki-net", true, "Card", "CardPin"), InlineData("juki-net", false, "Card"), InlineData("juki-net", false, "CardPin"), InlineData("juki-net", false, "Passkey"), InlineData("juki-net", false, "Card", "OneTimeCode", "Password")]
    public void Categories_are_counted_not_steps(string segment, bool enough, params string[] proofs) =>
        Assert.Equal(enough, AssuranceRule.Judge(new([.. proofs.Select(Enum.Parse<Proof>)], true, TimeSpan.Zero), Policy.Needed(segment, null)).Enough);

    [Fact, Trait("Requirement", "IDN-02")]
    public void More_factors_never_make_it_less_and_risk_and_policy_only_raise_the_bar()
    {
        foreach (var segment in Segments)
            foreach (var (_, of) in Needs())
                foreach (var combination in Combinations())
                {
                    var enough = AssuranceRule.Judge(new(combination, true, TimeSpan.Zero), of(segment)).Enough;
                    foreach (var more in Enum.GetValues<Proof>().Where(p => p is not (Proof.Passkey or Proof.PasskeyTouch)).Except(combination))
                        if (enough) Assert.True(AssuranceRule.Judge(new([.. combination, more], true, TimeSpan.Zero), of(segment)).Enough, $"{segment}: {string.Join('+', combination)} + {more}");
                    if (AssuranceRule.Judge(new(combination, true, TimeSpan.Zero), Policy.Needed(segment, null, risky: true)).Enough) Assert.True(AssuranceRule.Judge(new(combination, true, TimeSpan.Zero), Policy.Needed(segment, null)).Enough);
                    if (AssuranceRule.Judge(new(combination, false, TimeSpan.Zero), of(segment)).Enough) Assert.True(enough);
                    // Two of one category stay one; what is enough has at least two.
                    if (enough) Assert.True(Factors.Count(Factors.All(combination)) >= 2);
                }
    }

    [Fact]
    public void An_old_proof_is_asked_for_again_and_what_is_missing_is_named()
    {
        var need = Policy.Needed("lgwan", null, privileged: true);
        Assert.True(AssuranceRule.Judge(new([Proof.Card, Proof.CardPin], false, TimeSpan.FromMinutes(5)), need).Enough);
        var old = AssuranceRule.Judge(new([Proof.Card, Proof.CardPin], false, TimeSpan.FromMinutes(5.1)), need);
        Assert.False(old.Enough);
        Assert.Equal([Method.Card, Method.Passkey], old.Missing);
        Assert.Equal([Method.Card, Method.Passkey, Method.OneTimeCode], AssuranceRule.Judge(new([Proof.Password], false, TimeSpan.Zero), Policy.Needed("lgwan", null)).Missing);
        Assert.Equal([Method.Card], AssuranceRule.Judge(new([Proof.Passkey], true, TimeSpan.Zero), Policy.Needed("juki-net", null)).Missing);
        Assert.Equal([Method.Card], AssuranceRule.Judge(new([Proof.Passkey], true, TimeSpan.Zero), Policy.Needed("lgwan", null, Acr.Card)).Missing);
        Assert.Equal(["sc", "pin", "mfa"], Factors.Amr([Proof.CardPin, Proof.Card]));
        Assert.Equal(["otp"], Factors.Amr([Proof.OneTimeCode]));
    }

    [Theory]
    [InlineData("22:00-06:00", "23:00", true), InlineData("22:00-06:00", "05:59", true), InlineData("22:00-06:00", "06:00", false), InlineData("08:00-09:00", "08:30", true), InlineData("", "03:00", false)]
    public void Odd_hours_may_pass_midnight(string range, string at, bool odd) => Assert.Equal(odd, (Policy.Risk with { OddHours = range }).IsOdd(TimeOnly.Parse(at, System.Globalization.CultureInfo.InvariantCulture)));

    [Theory, Trait("Requirement", "PWD-08"), Trait("Requirement", "IDN-20"), Trait("Requirement", "IDN-01")]
    [InlineData("methods: [card]\n    acr: card", "methods: [card, passkey]\n    acr: card", "IDN-20"), InlineData("acr: multi\n    attested: true ", "acr: one-factor\n    attested: true ", "IDN-01"),
     InlineData("acr: multi\n    attested: true ", "acr: multi\n    attested: false ", "IDN-03"), InlineData("  methods: [card, passkey]\n  max-age", "  methods: [card, one-time-code]\n  max-age", "PWD-08"), InlineData("max-age: 5m", "max-age: 8h", "max-age"),
     InlineData("22:00-06:00", "22:00", "odd-hours")]
    public void A_weakened_policy_is_refused_with_the_requirement(string from, string to, string said)
    {
        var text = File.ReadAllText(Path.Combine(Directory, "assurance.yaml"));
        // Comments stand between the lines of the file.
        text = System.Text.RegularExpressions.Regex.Replace(text, " *#.*", m => m.Value.StartsWith('#') ? "" : " ").Replace(" \n", "\n", StringComparison.Ordinal).Replace("attested: true\n", "attested: true \n", StringComparison.Ordinal);
        Assert.Contains(from, text, StringComparison.Ordinal);
        var copy = System.IO.Directory.CreateTempSubdirectory().FullName;
        File.WriteAllText(Path.Combine(copy, "assurance.yaml"), text.Replace(from, to, StringComparison.Ordinal));
        Assert.Contains(said, Assert.Throws<PolicyException>(() => PolicyFiles.Load<AssurancePolicy>(copy, "assurance")).Message, StringComparison.Ordinal);
    }
}
