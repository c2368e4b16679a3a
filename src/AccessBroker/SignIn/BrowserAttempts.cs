using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Lockout;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

/// <summary>
/// What the ways without a card share: the terminal's agent has claimed the page's handle, so that terminal and browser are known to be together; then the
/// proof comes from the page. The session leases the terminal like any other.
/// </summary>
internal sealed class BrowserAttempts(SignInSteps steps, AccessFailures failures, Active<SignInPolicy> policy, Active<AssurancePolicy> assurance, TimeProvider time)
{
    internal Store Store => steps.Store;

    /// <summary>The transaction of this browser in that state, locked; null: none.</summary>
    internal static async Task<Transaction?> LockAsync(UnitOfWork work, HttpContext context, string id, string state, CancellationToken ct) =>
        Secret.Fits(id) ? await work.AskAsync(TransactionStore.LockOfBrowser(id, BeginSignIn.BrowserOf(context), BeginSignIn.AddressOf(context), state), ct) : null;

    /// <summary>The terminal that claimed it; null: it is gone.</summary>
    internal static async Task<AttachedTerminal?> TerminalAsync(UnitOfWork work, Transaction transaction, CancellationToken ct) =>
        await work.AskAsync(TerminalRegister.Find(transaction.Terminal!.Value), ct) is { } terminal ? new(terminal, transaction.Address, []) : null;

    /// <summary>Everything the checks judge. Without a medium: what is known of the terminal only.</summary>
    internal async Task<SignInAttempt> ReadAsync(UnitOfWork work, Transaction transaction, AttachedTerminal attached, (CardId Card, PersonId Person)? medium, IReadOnlyCollection<Proof> proofs, bool attested, CancellationToken ct)
    {
        var (now, terminal) = (time.GetUtcNow(), attached.Terminal.Id);
        var terminalLock = await work.AskAsync(failures.LockOf(terminal), ct);
        // Something was tried: a refusal counts for the terminal, as with cards.
        if (medium is not var (cardId, personId)) return new SignInAttempt(work, attached, transaction) { Signature = [1], TerminalStands = attached.Terminal.InUse, TerminalLock = terminalLock };
        var (known, failed) = (LiveSessions.HasBeenAt(personId, terminal), failures.FailuresOf(personId));
        var (card, person, grant, here, everywhere) = (CardRegister.FindForUse(cardId), PeopleRegister.FindValid(personId, now), TerminalRegister.HasGrant(terminal, personId, now), failures.LockOf(personId, terminal), failures.LockOf(personId));
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
            Proofs = proofs,
            Attested = attested,
        };
    }

    /// <summary>Everything was proven: the code for the page, as the agent would bring it.</summary>
    /// <param name="password">The mark of the password that was proven: the session starts only while it stands. Default: none was.</param>
    internal async Task<IResult> ProveAsync(SignInAttempt attempt, string operation, CancellationToken ct, string? password = null)
    {
        var (work, card, terminal) = (attempt.Work, attempt.Card!, attempt.Attached.Terminal.Id);
        AccessFailures.Clear(work, card.Person, terminal);
        var code = Secret.New(16);
        TransactionStore.Prove(work, attempt.Transaction, card.Id, card.Person, attempt.Proofs, attempt.Attested, attempt.Needed, code, policy.Now.CodeLifetime, password);
        steps.Wake(attempt);
        work.Record(SignInSteps.Event(attempt, operation, HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.Json(new { code });
    }

    /// <summary>The page reads why from the transaction's state.</summary>
    internal static IResult Refused() => Problems.Json(StatusCodes.Status403Forbidden, "sign-in.refused", "サインインできませんでした。");

    internal static IResult Over() => Problems.Json(StatusCodes.Status404NotFound, "sign-in.no-such-transaction", "このサインインは終了したか、別のブラウザーで始められたものです。もう一度始めてください。");
}
