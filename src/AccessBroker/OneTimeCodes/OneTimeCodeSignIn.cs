using System.Security.Cryptography;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.OneTimeCodes;

/// <summary>A code that belongs to a token of the person; whether it is still good <see cref="OneTimeCodeSignIn.TakeAsync"/> decides.</summary>
public sealed record FoundCode(CardId Card, string Token, long Step, int Drift);

/// <summary>One-time codes for <c>SignIn</c>: finding and taking are two steps, because the HSM is asked between them and no row may wait for it.</summary>
public sealed class OneTimeCodeSignIn
{
    private readonly SealedSeeds _seeds;
    private readonly Active<OneTimeCodesPolicy> _policy;
    private readonly TimeProvider _time;

    internal OneTimeCodeSignIn(SealedSeeds seeds, Active<OneTimeCodesPolicy> policy, TimeProvider time) => (_seeds, _policy, _time) = (seeds, policy, time);

    /// <summary>The token of this person that made the code, used or not; null: none. An unknown person costs what a known one does. Throws <see cref="Keys.HsmUnavailableException"/>.</summary>
    public async Task<FoundCode?> FindAsync(Store store, PersonId? person, string code, CancellationToken ct)
    {
        // As many as one may have, and one more, so that a lost token in use is noticed; the HSM is asked as often for whoever has fewer.
        var count = _policy.Now.MostPerPerson + 1;
        var tokens = await store.AskAsync(TokenRegister.Candidates(person ?? PersonId.Parse("unknown"), count, _time.GetUtcNow()), ct);
        for (var missing = tokens.Count; missing < count; missing++) await _seeds.SealAsync("nobody", new byte[20], ct);
        FoundCode? found = null;
        foreach (var token in tokens)
        {
            var seed = await _seeds.OpenAsync(token.Id, token.Sealed, ct);
            try
            {
                if (OneTimeCodeRule.Accept(seed, token.Token with { LastStep = 0 }, code, _time.GetUtcNow(), _policy.Now.Window, _policy.Now.MostDrift) is var (step, drift)) found ??= new(token.Card!.Value, token.Id, step, drift);
            }
            finally { CryptographicOperations.ZeroMemory(seed); }
        }
        return found;
    }

    /// <summary>Uses the code up, in the caller's unit of work. False: it, or a later one, was used meanwhile.</summary>
    public Task<bool> TakeAsync(UnitOfWork work, FoundCode code, CancellationToken ct) => TokenRegister.TakeAsync(work, code.Token, code.Step, code.Drift, _time.GetUtcNow(), ct);
}
