using System.Security.Cryptography;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Passwords;

/// <summary>A password that was found to be the person's.</summary>
/// <param name="IsTemporary">It is good for setting another one and for nothing else. <clause>MIC 5.4(3)⑥</clause></param>
public sealed record FoundPassword(bool IsTemporary, string Stored)
{
    /// <summary>Stands for this very password, and says nothing of it.</summary>
    public string Mark => SetPassword.MarkOf(Stored);
}

/// <summary>Checking and setting passwords, for <c>SignIn</c> and the pages. Hashing takes a tenth of a second: it never happens inside a unit of work.</summary>
public sealed class SetPassword(Active<PasswordsPolicy> policy, TimeProvider time)
{
    /// <summary>A history check is several hashes: one at a time at a node, so that sign-ins go on beside it.</summary>
    private static readonly SemaphoreSlim Setting = new(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>Null: it is not this person's password, or a temporary one whose time is over. An unknown person costs what a known one does.</summary>
    public async Task<FoundPassword?> FindAsync(Store store, PersonId? person, string password, CancellationToken ct)
    {
        var stored = await store.AskAsync(PasswordStore.Find(person ?? PersonId.Parse("unknown")), ct);
        if (Normalised(password) is not { } text || !await PasswordHash.IsAsync(stored?.Hash, text, ct) || stored!.TemporaryUntil <= time.GetUtcNow()) return null;
        return new(stored.TemporaryUntil is not null, stored.Hash);
    }

    /// <summary>Stores the same password in today's form when it is in a weaker one.</summary>
    public static async Task<FoundPassword> RenewAsync(Store store, PersonId person, FoundPassword found, string password, CancellationToken ct)
    {
        if (found.IsTemporary || !PasswordHash.IsDated(found.Stored) || Normalised(password) is not { } text) return found;
        var hash = await PasswordHash.MakeAsync(text, ct);
        await using var work = await store.BeginAsync(ct);
        var replaced = await PasswordStore.ReplaceHashAsync(work, person, found.Stored, hash, ct) == 1;
        await work.CommitAsync(ct);
        return replaced ? found with { Stored = hash } : found;
    }

    /// <summary>Stands for the person's present password; null: they have none, or a temporary one.</summary>
    public static Question<string?> Mark(PersonId person) => PasswordStore.Find(person).Select(p => p is { TemporaryUntil: null } ? MarkOf(p.Hash) : null);

    internal static string MarkOf(string stored) => Convert.ToHexString(Secret.Hash(stored));

    /// <summary>A password that may be set: its hash, and what it takes the place of; or what is wrong, in Japanese.</summary>
    public async Task<(NewPassword? New, string Problem)> PrepareAsync(Store store, PersonId person, string password, CancellationToken ct)
    {
        if (Normalised(password) is not { } text) return (null, "パスワードに使えない文字があります。");
        // One sign may be many letters in the common form; what was typed must be long as well.
        if (password.EnumerateRunes().Count() < policy.Now.MinLength) return (null, PasswordRule.TooShort(policy.Now));
        if (!await Setting.WaitAsync(Patience, ct)) throw new PasswordHashUnavailableException("too many passwords are being set at once");
        try { return await JudgeAsync(store, person, text, ct); }
        finally { Setting.Release(); }
    }

    private async Task<(NewPassword? New, string Problem)> JudgeAsync(Store store, PersonId person, string text, CancellationToken ct)
    {
        var (line, current, former) = (PeopleRegister.Find(person, time.GetUtcNow()), PasswordStore.Find(person), PasswordStore.Former(person, policy.Now.History));
        await using (var work = await store.ReadAsync(ct)) await work.AskAsync(ct, line, current, former);
        if (PasswordRule.Problem(text, policy.Now, [person.Value, line.Answer?.StaffNumber ?? "", .. (line.Answer?.Name ?? "").Split(' ', '　'), line.Answer?.Name ?? ""]) is { } problem) return (null, problem);
        foreach (var earlier in former.Answer.Prepend(current.Answer?.Hash).OfType<string>().Take(policy.Now.History + 1))
            if (await PasswordHash.IsAsync(earlier, text, ct)) return (null, "前に使ったパスワードです。新しいものにしてください。");
        return (new(await PasswordHash.MakeAsync(text, ct), current.Answer?.Hash, current.Answer?.TemporaryUntil), "");
    }

    /// <summary>Sets it, in the caller's unit of work. False: it was changed meanwhile.</summary>
    public Task<bool> SetAsync(UnitOfWork work, PersonId person, NewPassword made, CancellationToken ct) => PasswordStore.SetAsync(work, person, made.Before, made.Hash, null, policy.Now.History, time.GetUtcNow(), ct);

    /// <summary>A value that can be read out without confusion, 80 bits, and its hash: good for setting one's own until its time is over.</summary>
    internal static async Task<(string Value, string Hash)> MakeTemporaryAsync(CancellationToken ct)
    {
        var value = string.Join('-', Enumerable.Range(0, 4).Select(_ => RandomNumberGenerator.GetString("23456789abcdefghjkmnpqrstuvwxyz", 4)));
        return (value, await PasswordHash.MakeAsync(value, ct));
    }

    private static string? Normalised(string password)
    {
        if (password.Length is 0 or > 4 * PasswordRule.MostLength) return null;
        try { return PasswordRule.Normalise(password); }
        catch (ArgumentException) { return null; }
    }
}

/// <summary>A password that passed every rule.</summary>
/// <param name="Before">What it takes the place of; null: there was none.</param>
public sealed record NewPassword(string Hash, string? Before, DateTimeOffset? BeforeUntil)
{
    /// <summary>Stands for it, and says nothing of it.</summary>
    public string Mark => SetPassword.MarkOf(Hash);

    /// <summary>It takes the place of the temporary password with that mark, whose time is not over.</summary>
    public bool Replaces(string? mark, DateTimeOffset now) => Before is not null && BeforeUntil > now && SetPassword.MarkOf(Before) == mark;
}
