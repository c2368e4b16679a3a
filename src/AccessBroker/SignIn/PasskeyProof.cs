using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Lockout;
using AccessBroker.Passkeys;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

/// <summary>
/// Sign-in with a passkey: the terminal's agent has claimed the page's handle, so that terminal and browser are known to be together; then the key
/// answers the page. The session leases the terminal like any other. <clause>MIC 3(1)②(ア)</clause>
/// </summary>
internal sealed class PasskeyProof(SignInSteps steps, SignInChecks checks, PasskeySignIn passkeys, AccessFailures failures, Active<SignInPolicy> policy, Active<AssurancePolicy> assurance, TimeProvider time)
{
    /// <param name="Ceremony">The id that came with the options.</param>
    /// <param name="Credential">PublicKeyCredential.toJSON().</param>
    internal sealed record Posted(string? Ceremony, JsonElement Credential);

    internal async Task<IResult> BeginAsync(HttpContext context, string id, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (await FindAsync(work, context, id, ct) is not { } transaction) return Over();
        var (ceremony, options) = await passkeys.BeginAsync(work, context, transaction.Id);
        await work.CommitAsync(ct);
        return Results.Json(new { ceremony, options = JsonElement.Parse(options) });
    }

    /// <summary>The person changed their mind: the page may start again at once.</summary>
    internal async Task<IResult> CancelAsync(HttpContext context, string id, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (await FindAsync(work, context, id, ct) is not { } transaction) return Over();
        TransactionStore.Move(work, transaction.Id, "cancelled", "cancelled");
        work.Record(new("sign-in.cancel", HistoryOutcome.Refused, "sign-in.cancelled") { Terminal = transaction.Terminal, Address = transaction.Address, Client = transaction.Client }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.NoContent();
    }

    /// <summary>The code for the page, as the agent would bring it; or the refusal, which the page reads from the transaction's state.</summary>
    internal async Task<IResult> RunAsync(HttpContext context, string id, Posted posted, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (posted.Credential.ValueKind != JsonValueKind.Object || await FindAsync(work, context, id, ct) is not { } transaction || await work.AskAsync(TerminalRegister.Find(transaction.Terminal!.Value), ct) is not { } terminal) return Over();
        var (proven, reason) = await passkeys.AssertAsync(work, context, transaction.Id, posted.Ceremony, posted.Credential, ct);
        var attempt = await ReadAsync(work, transaction, new(terminal, transaction.Address, []), proven, ct);
        try
        {
            if (proven is null) await steps.RefuseAsync(attempt, "sign-in.passkey", reason, ct);
            await steps.RequireAsync(checks.OnPasskey, attempt, "sign-in.passkey", ct);
        }
        catch (TerminalRequestException) { return Problems.Json(StatusCodes.Status403Forbidden, "sign-in.refused", "サインインできませんでした。"); }
        AccessFailures.Clear(work, proven!.Person, terminal.Id);
        var code = Secret.New(16);
        TransactionStore.Prove(work, transaction, proven.Card, proven.Person, attempt.Proofs, proven.Attested, attempt.Needed, code, policy.Now.CodeLifetime);
        steps.Wake(attempt);
        work.Record(SignInSteps.Event(attempt, "sign-in.passkey", HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.Json(new { code });
    }

    private async Task<SignInAttempt> ReadAsync(UnitOfWork work, Transaction transaction, AttachedTerminal attached, ProvenPasskey? proven, CancellationToken ct)
    {
        var (now, terminal) = (time.GetUtcNow(), attached.Terminal.Id);
        var terminalLock = await work.AskAsync(failures.LockOf(terminal), ct);
        // A signature was tried: a refusal counts for the terminal, as with cards.
        var bare = new SignInAttempt(work, attached, transaction) { Signature = [1], TerminalStands = attached.Terminal.InUse, TerminalLock = terminalLock };
        if (proven is null) return bare;
        var (known, failed) = (LiveSessions.HasBeenAt(proven.Person, terminal), failures.FailuresOf(proven.Person));
        var (card, person, grant, here, everywhere) = (CardRegister.FindForUse(proven.Card), PeopleRegister.FindValid(proven.Person, now), TerminalRegister.HasGrant(terminal, proven.Person, now), failures.LockOf(proven.Person, terminal), failures.LockOf(proven.Person));
        await work.AskAsync(ct, card, person, grant, here, everywhere, known, failed);
        return new(work, attached, transaction)
        {
            Signature = [1],
            TerminalStands = attached.Terminal.InUse,
            TerminalLock = terminalLock,
            Card = card.Answer,
            Person = person.Answer,
            MaySitHere = grant.Answer,
            PersonLock = here.Answer ?? everywhere.Answer,
            IsRisky = assurance.Now.Risk is var risk && ((risk.NewTerminal && !known.Answer) || failed.Answer >= risk.Failures || risk.IsOdd(TimeOnly.FromDateTime(JapaneseTime.ToLocal(now).DateTime))),
            Proofs = [Proof.Passkey],
            Attested = proven.Attested,
        };
    }

    private static async Task<Transaction?> FindAsync(UnitOfWork work, HttpContext context, string id, CancellationToken ct) =>
        Secret.Fits(id) ? await work.AskAsync(TransactionStore.LockOfBrowser(id, BeginSignIn.BrowserOf(context), BeginSignIn.AddressOf(context)), ct) : null;

    private static IResult Over() => Problems.Json(StatusCodes.Status404NotFound, "sign-in.no-such-transaction", "このサインインは終了したか、別のブラウザーで始められたものです。もう一度始めてください。");
}
