using System.Security.Cryptography;
using AccessBroker.Assurance;
using AccessBroker.Keys;
using AccessBroker.Lockout;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.TimeSource;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

/// <summary>
/// Everything a sign-in must pass, in order. A check returns null, or the reason code of the refusal; the first refusal ends the step.
/// No PIN try is spent before the first two lists are through.
/// </summary>
internal sealed class SignInChecks
{
    internal delegate Task<string?> Check(SignInAttempt attempt, CancellationToken ct);

    /// <summary>When an agent claims a handle.</summary>
    internal IReadOnlyList<Check> OnClaim { get; }
    /// <summary>When the card has signed with 9E: it is there. The PIN prompt follows.</summary>
    internal IReadOnlyList<Check> OnPossession { get; }
    /// <summary>When the card has signed with 9A: its holder knows the PIN. The session follows.</summary>
    internal IReadOnlyList<Check> OnProof { get; }

    /// <summary>When a passkey has signed, with user verification. The session follows.</summary>
    internal IReadOnlyList<Check> OnPasskey { get; }

    /// <summary>Before what was typed is looked at.</summary>
    internal IReadOnlyList<Check> BeforeTyped { get; }

    /// <summary>When password and one-time code were right. The session follows.</summary>
    internal IReadOnlyList<Check> OnTyped { get; }

    private readonly Active<AssurancePolicy> _assurance;
    private readonly Active<LockoutPolicy> _lockout;
    private readonly string _segment;
    private readonly ClockCheck _clock;
    private readonly CertificateAuthorities _authorities;
    private readonly AccessFailures _failures;
    private readonly Active<SignInPolicy> _policy;
    private readonly TimeProvider _time;

    public SignInChecks(CertificateAuthorities authorities, AccessFailures failures, Active<SignInPolicy> policy, Active<AssurancePolicy> assurance, Active<LockoutPolicy> lockout, BrokerOptions options, ClockCheck clock, TimeProvider time)
    {
        (_authorities, _failures, _policy, _time, _assurance, _lockout, _segment, _clock) = (authorities, failures, policy, time, assurance, lockout, options.Segment, clock);
        OnClaim = [BrowserIsAtTheTerminal, TerminalIsInUse, TerminalIsNotLocked, HoursAreOpen];
        OnPossession = [CertificateIsOurs, CardIsKnown, CardIsThere, CardIsUsable, FirstPinIsInTime, PersonIsValid, PersonMaySitHere, UnseenTriesAreCounted, PersonIsNotLocked];
        OnProof = [TerminalIsInUse, CertificateIsOurs, CardIsKnown, CardIsTheSame, HolderKnowsThePin, CardIsUsable, FirstPinIsInTime, PersonIsValid, PersonMaySitHere, TerminalIsNotLocked, PersonIsNotLocked, ClockIsExact, FactorsAreEnough];
        OnPasskey = [TerminalIsInUse, CardIsKnown, CardIsUsable, PersonIsValid, PersonMaySitHere, TerminalIsNotLocked, PersonIsNotLocked, HoursAreOpen, ClockIsExact, FactorsAreEnough];
        BeforeTyped = [TypingCounts, TerminalIsInUse, TerminalIsNotLocked, HoursAreOpen, CodesAreTimely];
        OnTyped = [TerminalIsInUse, CardIsKnown, CardIsUsable, PersonIsValid, PersonMaySitHere, TerminalIsNotLocked, PersonIsNotLocked, HoursAreOpen, CodesAreTimely, FactorsAreEnough];
    }

    /// <summary>The transaction was opened by a browser at this terminal's address: a handle carried elsewhere opens nothing.</summary>
    private static Task<string?> BrowserIsAtTheTerminal(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(a.Transaction.Address == a.Attached.Address ? null : "sign-in.browser-elsewhere");

    /// <clause>MIC 6.2(3)</clause>
    private static Task<string?> TerminalIsInUse(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.TerminalStands ? null : "sign-in.terminal-not-in-use");

    /// <clause>MOJ 第5-4(6)</clause>
    private static Task<string?> TerminalIsNotLocked(SignInAttempt a, CancellationToken ct) => Task.FromResult((a.Lock = a.TerminalLock)?.Reason);

    /// <clause>MIC 6.2(1)解</clause>
    private Task<string?> HoursAreOpen(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(_policy.Now.IsOpenAt(TimeOnly.FromDateTime(JapaneseTime.ToLocal(_time.GetUtcNow()).DateTime)) ? null : "sign-in.outside-hours");

    private Task<string?> CertificateIsOurs(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(a.Certificate is { } certificate && _authorities.OperatorCards.Vouches(certificate, _time.GetUtcNow()) ? null : "sign-in.foreign-card");

    private static Task<string?> CardIsKnown(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.Card is null ? "sign-in.unknown-card" : null);

    /// <summary>9E signed this nonce for this terminal: the card is in the reader now.</summary>
    private static Task<string?> CardIsThere(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(Signed(a, a.Card!.PossessionKey, SignedFields.Encode(SignedFields.Possession, a.Transaction.Nonce!, a.Attached.Terminal.Id.Value)) ? null : "sign-in.possession-not-proven");

    private static Task<string?> CardIsTheSame(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.Card!.Id == a.Transaction.Card ? null : "sign-in.card-exchanged");

    /// <summary>9A signed nonce, terminal and transaction: the card does so after its PIN only. <clause>MOJ 第5-4(2)</clause></summary>
    private static Task<string?> HolderKnowsThePin(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(Signed(a, a.Card!.SignInKey, SignedFields.Encode(a.Card!.FirstPinUntil is null ? SignedFields.SignIn : SignedFields.FirstPinSet, a.Transaction.Nonce!, a.Attached.Terminal.Id.Value, a.Transaction.Id)) ? null : "sign-in.pin-not-proven");

    /// <clause>MIC 5.4(1)②</clause>
    private Task<string?> CardIsUsable(SignInAttempt a, CancellationToken ct) => Task.FromResult(!a.Card!.Usable ? $"sign-in.card-{a.Card.State}" : a.Card.TemporaryUntil <= _time.GetUtcNow() ? "sign-in.card-expired" : null);

    /// <summary>A printed PIN is good for setting another one, for a while. <clause>MIC 6.2(5)②</clause></summary>
    private Task<string?> FirstPinIsInTime(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.Card!.FirstPinUntil <= _time.GetUtcNow() ? "sign-in.first-pin-expired" : null);

    /// <clause>MOJ 第5-4(2)</clause>
    private static Task<string?> PersonIsValid(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.Person is null ? "sign-in.person-not-valid" : null);

    /// <clause>MOJ 第5-4(1)</clause>
    private static Task<string?> PersonMaySitHere(SignInAttempt a, CancellationToken ct) => Task.FromResult(a.MaySitHere ? null : "sign-in.no-grant");

    /// <summary>Refuses nobody: wrong PINs that did not reach us are counted before the lock is judged. <clause>MIC 6.2(4)</clause></summary>
    private async Task<string?> UnseenTriesAreCounted(SignInAttempt a, CancellationToken ct)
    {
        if (await SignInSteps.NoteTriesAsync(a, a.Card!, a.TriesFound, a.TriesFound, _failures, _time.GetUtcNow(), ct))
            a.PersonLock = await SignInSteps.ReadLockAsync(a, _failures, ct);
        return null;
    }

    /// <clause>MIC 6.2(4)</clause>
    private static Task<string?> PersonIsNotLocked(SignInAttempt a, CancellationToken ct) => Task.FromResult((a.Lock = a.PersonLock)?.Reason);

    /// <summary>What is privileged is short: with a clock that is wrong nobody knows how short. <clause>MOJ 第5-3(8)</clause></summary>
    private Task<string?> ClockIsExact(SignInAttempt a, CancellationToken ct) => Task.FromResult(_assurance.Now.Needed(_segment, a.Transaction.Client, a.Transaction.Wanted).Acr == Acr.Privileged && !_clock.IsExact ? "sign-in.clock-not-exact" : null);

    /// <summary>Where passwords or codes do not count, none is looked at.</summary>
    private Task<string?> TypingCounts(SignInAttempt a, CancellationToken ct) =>
        Task.FromResult(_assurance.Now.Segments[_segment].Methods is var methods && methods.Contains(Method.Password) && methods.Contains(Method.OneTimeCode) ? null : "sign-in.method-not-offered");

    /// <summary>A code is a matter of seconds. <clause>MOJ 第5-3(8)</clause></summary>
    private Task<string?> CodesAreTimely(SignInAttempt a, CancellationToken ct) => Task.FromResult(_clock.IsExact ? null : "sign-in.clock-not-exact");

    /// <summary>Categories are counted, and segment, relying party and person say how many of which are needed. <clause>MIC 3(1)②(ア), 6.2(1)③(オ)</clause></summary>
    private Task<string?> FactorsAreEnough(SignInAttempt a, CancellationToken ct)
    {
        a.Needed = _assurance.Now.Needed(_segment, a.Transaction.Client, a.Transaction.Wanted).Acr;
        var privileged = a.Person!.Roles.Any(_lockout.Now.Privileged.Roles.Contains);
        var verdict = AssuranceRule.Judge(new(a.Proofs, a.Attested, TimeSpan.Zero), _assurance.Now.Needed(_segment, a.Transaction.Client, a.Transaction.Wanted, privileged, a.IsRisky));
        if (verdict.Enough) return Task.FromResult<string?>(null);
        var because = a.IsRisky && AssuranceRule.Judge(new(a.Proofs, a.Attested, TimeSpan.Zero), _assurance.Now.Needed(_segment, a.Transaction.Client, a.Transaction.Wanted, privileged)).Enough;
        a.Missing = because ? "card-now" : privileged && verdict.Missing.Contains(Method.Card) ? "card-for-you" : verdict.Missing.Contains(Method.Card) ? "card" : verdict.Missing.Count > 0 ? "passkey" : "other";
        return Task.FromResult<string?>("sign-in.factor-missing");
    }

    private static bool Signed(SignInAttempt a, byte[] registeredKey, byte[] data)
    {
        // The certificate's key must be the one on the register for this slot: a 9A signature does not pass for 9E.
        if (!a.Certificate!.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(registeredKey)) return false;
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(registeredKey, out _);
        return key.VerifyData(data, a.Signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
    }
}
