using System.Security.Cryptography;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.OneTimeCodes;

/// <summary>A code that belongs to a token of the person and was not used when it was looked at: <see cref="OneTimeCodeSignIn.TakeAsync"/> decides.</summary>
public sealed record FoundCode(CardId Card, string Token, long Step, int Drift);

/// <summary>One-time codes for <c>SignIn</c>: finding and taking are two steps, because the HSM is asked between them and no row may wait for it.</summary>
public sealed class OneTimeCodeSignIn
{
    private readonly SealedSeeds _seeds;
    private readonly Active<OneTimeCodesPolicy> _policy;
    private readonly TimeProvider _time;

    internal OneTimeCodeSignIn(SealedSeeds seeds, Active<OneTimeCodesPolicy> policy, TimeProvider time) => (_seeds, _policy, _time) = (seeds, policy, time);

    /// <summary>The token of this person that made the code; null: none. An unknown person costs what a known one does. Throws <see cref="Keys.HsmUnavailableException"/>.</summary>
    public async Task<FoundCode?> FindAsync(Store store, PersonId? person, string code, CancellationToken ct)
    {
        var tokens = person is { } one ? await store.AskAsync(TokenRegister.OfPerson(one), ct) : [];
        if (tokens.Count == 0) CryptographicOperations.ZeroMemory(await _seeds.SealAsync("nobody", new byte[20], ct));
        FoundCode? found = null;
        foreach (var token in tokens)
        {
            var seed = await _seeds.OpenAsync(token.Id, token.Sealed, ct);
            try
            {
                if (OneTimeCodeRule.Accept(seed, token.Token, code, _time.GetUtcNow(), _policy.Now.Window, _policy.Now.MostDrift) is var (step, drift)) found ??= new(token.Card!.Value, token.Id, step, drift);
            }
            finally { CryptographicOperations.ZeroMemory(seed); }
        }
        return found;
    }

    /// <summary>Uses the code up, in the caller's unit of work. False: it, or a later one, was used meanwhile.</summary>
    public Task<bool> TakeAsync(UnitOfWork work, FoundCode code, CancellationToken ct) => TokenRegister.TakeAsync(work, code.Token, code.Step, code.Drift, _time.GetUtcNow(), ct);
}
