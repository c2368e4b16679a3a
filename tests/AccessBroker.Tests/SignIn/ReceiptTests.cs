using System.Text.RegularExpressions;
using AccessBroker.SignIn;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.SignIn;

public sealed partial class ReceiptTests
{
    /// <summary>Whoever is called gets words for every reason that the checks can give, locks aside: those are told on the page.</summary>
    [Fact]
    public void Every_reason_of_the_checks_has_words_of_its_own()
    {
        var unknown = ReceiptsModel.InWords(new(DateTimeOffset.UnixEpoch, "sign-in.something-else", null, null, null)).Why;
        var reasons = Reason().Matches(File.ReadAllText(Path.Combine(Place.Root, "src/AccessBroker/SignIn/SignInChecks.cs")) + File.ReadAllText(Path.Combine(Place.Root, "src/AccessBroker/Passkeys/PasskeySignIn.cs")) + File.ReadAllText(Path.Combine(Place.Root, "src/AccessBroker/SignIn/TypedProof.cs"))).Select(m => m.Groups[1].Value).Except(["sign-in.factor-missing", "sign-in.both-needed", "sign-in.password-refused", "sign-in.typed", "sign-in.temporary-password"]).Concat(["sign-in.card-lost", "sign-in.card-suspended"]).Distinct().ToList();
        Assert.InRange(reasons.Count, 10, 40);
        Assert.DoesNotContain(reasons, r => ReceiptsModel.InWords(new(DateTimeOffset.UnixEpoch, r, "p-1", "t-01", "00112233445566778899aabbccddeeff")).Why == unknown);
    }

    [GeneratedRegex("\"(sign-in\\.[a-z-]+[a-z])\"")]
    private static partial Regex Reason();
}
