using AccessBroker.Assurance;
using AccessBroker.History;
using AccessBroker.OneTimeCodes;
using AccessBroker.Passwords;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

/// <summary>
/// Sign-in with what is typed, where policy lets it count: staff number, password (知識) and one-time code (所持), judged together, so that nobody learns
/// which of them was wrong. Hashing and the HSM come first; then one short unit of work takes the code and decides. <clause>MIC 3(1)②(ア), 4.4注2</clause>
/// </summary>
internal sealed class TypedProof(SignInSteps steps, BrowserAttempts attempts, SignInChecks checks, OneTimeCodeSignIn codes, SetPassword passwords, TimeProvider time)
{
    /// <param name="Person">The staff number.</param>
    internal sealed record Posted(string? Person, string? Password, string? Code);

    /// <param name="Password">The person's own, in place of the temporary one.</param>
    internal sealed record NewPosted(string? Password);

    private static readonly Proof[] Both = [Proof.OneTimeCode, Proof.Password];

    /// <summary>The code for the page; that a password of one's own is needed first; or the refusal, which the page reads from the transaction's state.</summary>
    internal async Task<IResult> RunAsync(HttpContext context, string id, Posted posted, CancellationToken ct)
    {
        var code = OneTimeCodeRule.Typed(posted.Code);
        if (string.IsNullOrWhiteSpace(posted.Person) || string.IsNullOrEmpty(posted.Password) || code.Length == 0)
            return Problems.Json(StatusCodes.Status422UnprocessableEntity, "sign-in.both-needed", "職員番号、パスワード、ワンタイムパスワードのすべてが必要です。一つの要素だけではサインインできません。");
        if (await FirstAsync(context, id, ct) is { } refusal) return refusal;
        var person = await steps.Store.AskAsync(PeopleRegister.FindByStaffNumber(posted.Person, time.GetUtcNow()), ct);
        var (password, found) = (await passwords.FindAsync(steps.Store, person, posted.Password, ct), await codes.FindAsync(steps.Store, person, code, ct));
        if (password is not null) password = await SetPassword.RenewAsync(steps.Store, person!.Value, password, posted.Password, ct);
        await using var work = await steps.Store.BeginAsync(ct);
        if (await BrowserAttempts.LockAsync(work, context, id, "claimed", ct) is not { } transaction || await BrowserAttempts.TerminalAsync(work, transaction, ct) is not { } terminal) return BrowserAttempts.Over();
        // A right code is used up whatever else is wrong: nobody tries passwords beside it.
        var taken = found is not null && await codes.TakeAsync(work, found, ct);
        var attempt = await attempts.ReadAsync(work, transaction, terminal, found is null || person is null ? null : (found.Card, person.Value), Both, false, ct);
        attempt.Named = person;
        // One of two was right: somebody has half of what it takes. Nothing right says nothing about the person, nor does a token that is lost.
        attempt.FailsAgainst = taken != password is not null && attempt.PersonLock is null && attempt.Card is not { Usable: false } ? person : null;
        // Whoever holds the token is told of the lock, whatever password they try beside it.
        if (taken) attempt.Lock = attempt.PersonLock;
        try
        {
            if (Refusal(attempt, taken, found is not null, password is not null) is { } reason) await steps.RefuseAsync(attempt, "sign-in.typed", reason, ct);
            await steps.RequireAsync(checks.OnTyped, attempt, "sign-in.typed", ct);
        }
        catch (TerminalRequestException) { return BrowserAttempts.Refused(); }
        return password!.IsTemporary ? await AskForNewAsync(attempt, password, ct) : await attempts.ProveAsync(attempt, "sign-in.typed", ct, password.Mark);
    }

    /// <summary>What token and lock say comes before what the password says.</summary>
    private static string? Refusal(SignInAttempt attempt, bool taken, bool known, bool passwordIsRight) =>
        attempt.Lock is { } locked ? locked.Reason
        : taken && attempt.Card is { Usable: false } card ? $"sign-in.card-{card.State}"
        : taken && passwordIsRight ? null
        : attempt.Named is null ? "sign-in.unknown-person" : known && !taken ? "sign-in.code-used" : taken ? "sign-in.wrong-password" : passwordIsRight ? "sign-in.wrong-code" : "sign-in.wrong-password-and-code";

    /// <summary>A password in place of the temporary one; with it the sign-in goes on. A refused one may be tried again. <clause>MIC 5.4(3)⑥, 6.2(5)②</clause></summary>
    internal async Task<IResult> SetNewAsync(HttpContext context, string id, NewPosted posted, CancellationToken ct)
    {
        PersonId person;
        await using (var read = await steps.Store.BeginAsync(ct))
        {
            if (await BrowserAttempts.LockAsync(read, context, id, "new-password", ct) is not { } waiting) return BrowserAttempts.Over();
            person = waiting.Person!.Value;
        }
        var (made, problem) = await passwords.PrepareAsync(steps.Store, person, posted.Password ?? "", ct);
        if (made is null) return Problems.Json(StatusCodes.Status422UnprocessableEntity, "sign-in.password-refused", problem);
        await using var work = await steps.Store.BeginAsync(ct);
        // In place of the temporary value that was proven, and of no other: whatever came meanwhile stays.
        if (await BrowserAttempts.LockAsync(work, context, id, "new-password", ct) is not { } transaction || await BrowserAttempts.TerminalAsync(work, transaction, ct) is not { } terminal || !made.Replaces(transaction.Told, time.GetUtcNow())) return BrowserAttempts.Over();
        var attempt = await attempts.ReadAsync(work, transaction, terminal, (transaction.Card!.Value, person), Both, false, ct);
        try { await steps.RequireAsync(checks.OnTyped, attempt, "sign-in.typed", ct); }
        catch (TerminalRequestException) { return BrowserAttempts.Refused(); }
        if (!await passwords.SetAsync(work, person, made, ct)) return BrowserAttempts.Over();
        work.Record(SignInSteps.Event(attempt, "passwords.first-set", HistoryOutcome.Done), time.GetUtcNow());
        return await attempts.ProveAsync(attempt, "sign-in.typed", ct, made.Mark);
    }

    /// <summary>What is judged before anything is looked at: a locked terminal tries nothing, and without exact time no code means anything. <clause>MOJ 第5-4(6), 第5-3(8)</clause></summary>
    private async Task<IResult?> FirstAsync(HttpContext context, string id, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (await BrowserAttempts.LockAsync(work, context, id, "claimed", ct) is not { } transaction || await BrowserAttempts.TerminalAsync(work, transaction, ct) is not { } terminal) return BrowserAttempts.Over();
        var attempt = await attempts.ReadAsync(work, transaction, terminal, null, [], false, ct);
        try { await steps.RequireAsync(checks.BeforeTyped, attempt, "sign-in.typed", ct); }
        catch (TerminalRequestException) { return BrowserAttempts.Refused(); }
        return null;
    }

    private async Task<IResult> AskForNewAsync(SignInAttempt attempt, FoundPassword proven, CancellationToken ct)
    {
        attempt.Work.Write($"update sign_in.transactions set state = 'new-password', card = {attempt.Card!.Id}, person = {attempt.Card.Person}, told = {proven.Mark}, changed_at = clock_timestamp() where id = {attempt.Transaction.Id}");
        steps.Wake(attempt);
        attempt.Work.Record(SignInSteps.Event(attempt, "sign-in.temporary-password", HistoryOutcome.Done), time.GetUtcNow());
        await attempt.Work.CommitAsync(ct);
        return Results.Json(new { newPassword = true });
    }
}
