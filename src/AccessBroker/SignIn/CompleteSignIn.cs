using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Lockout;
using AccessBroker.Passwords;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.SignIn;

/// <summary>Cookie and code meet: the browser that opened the transaction brings the code its terminal was given. Then the session starts.</summary>
internal sealed class CompleteSignIn(Store store, LiveSessions sessions, Wakeups wakeups, Active<AssurancePolicy> assurance, Active<LockoutPolicy> lockout, BrokerOptions options, TimeProvider time)
{
    internal sealed record Posted(string Code);

    internal abstract record Outcome
    {
        private Outcome() { }
        internal sealed record SignedIn(string Cookie, string Next) : Outcome;
        internal sealed record Refused(string Code) : Outcome;
    }

    internal async Task<Outcome> RunAsync(string id, string? code, byte[] browser, string address, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var taken = Secret.Fits(code) ? await TakeAsync(work, id, code!, ct) : null;
        if (taken is null) return new Outcome.Refused("sign-in.code-unknown");
        var (transaction, sameBrowser) = taken;
        var entry = new HistoryEvent("sign-in.complete", HistoryOutcome.Done) { Person = transaction.Person, Card = transaction.Card, Terminal = transaction.Terminal, Client = transaction.Client, Address = address };
        // The code in a stranger's hands: it is burnt, and the terminal starts again.
        if (!sameBrowser(browser, address)) return await RefuseAsync(work, transaction, entry, "sign-in.code-without-browser", ct);
        if (await RefusalNowAsync(work, transaction, ct) is { } refusal) return await RefuseAsync(work, transaction, entry, refusal, ct);
        var outcome = await sessions.StartAsync(work, new(transaction.Person!.Value, transaction.Card!.Value, transaction.Terminal!.Value, address, transaction.Epoch!, transaction.Acr!, transaction.Amr, transaction.Attested), ct);
        switch (outcome)
        {
            case LiveSessions.StartOutcome.CardMoved: return await RefuseAsync(work, transaction, entry, "sign-in.card-moved", ct);
            case LiveSessions.StartOutcome.ElsewhereToo elsewhere:
                return await RefuseAsync(work, transaction, entry with { Details = new Dictionary<string, string> { ["liveAt"] = elsewhere.Terminal.Value } }, "sign-in.session-elsewhere", ct);
            case LiveSessions.StartOutcome.Started started:
                work.Record(entry with { Session = started.Session, Details = new Dictionary<string, string> { ["acr"] = transaction.Acr!, ["renewed"] = started.Renewed ? "yes" : "no" } }, time.GetUtcNow());
                work.AfterCommit(() => wakeups.Wake(SignInSteps.Topic(id)));
                try { await work.CommitAsync(ct); }
                catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.UniqueViolation) { return await LostRaceAsync(id, entry, ct); }
                return new Outcome.SignedIn(started.Cookie, $"/signed-in/{id}");
            default: throw new InvalidOperationException($"{outcome}");
        }
    }

    /// <summary>The code may be held back for a minute: what was true at the proof is asked again. A card that is being reported lost waits for this, or this for it.</summary>
    private async Task<string?> RefusalNowAsync(UnitOfWork work, Transaction transaction, CancellationToken ct)
    {
        var (card, person, grant) = (CardRegister.FindForUse(transaction.Card!.Value), PeopleRegister.FindValid(transaction.Person!.Value, time.GetUtcNow()), TerminalRegister.HasGrant(transaction.Terminal!.Value, transaction.Person.Value, time.GetUtcNow()));
        await work.AskAsync(ct, card, person, grant);
        // Reported as known to others, or set anew, since it was typed. <clause>MIC 5.4(3)④</clause>
        if (transaction.Amr.Contains("pwd") && await work.AskAsync(SetPassword.Mark(transaction.Person.Value), ct) != transaction.Told) return "sign-in.password-changed";
        return card.Answer is not { Usable: true } ? $"sign-in.card-{card.Answer?.State ?? "unknown"}" : card.Answer.TemporaryUntil <= time.GetUtcNow() ? "sign-in.card-expired" : card.Answer.FirstPinUntil is not null ? "sign-in.first-pin-not-set" : person.Answer is null ? "sign-in.person-not-valid" : !grant.Answer ? "sign-in.no-grant"
            // By the policies of this moment: they may have changed since the proof.
            : AssuranceRule.Judge(new(Factors.OfAmr(transaction.Amr), transaction.Attested, TimeSpan.Zero), assurance.Now.Needed(options.Segment, transaction.Client, transaction.Wanted, person.Answer.Roles.Any(lockout.Now.Privileged.Roles.Contains))).Enough ? null : "sign-in.factor-missing";
    }

    /// <summary>Two sign-ins of one person, or at one terminal, met at the commit: the other one won, and nothing of this one was written.</summary>
    private async Task<Outcome> LostRaceAsync(string id, HistoryEvent entry, CancellationToken ct)
    {
        // The code was rolled back with the rest: it must not be good for another try.
        await using var work = await store.BeginAsync(ct);
        work.Write($"update sign_in.transactions set state = 'cancelled', code_hash = null, changed_at = clock_timestamp() where id = {id}");
        work.Record(entry with { Outcome = HistoryOutcome.Refused, Reason = "sign-in.session-elsewhere" }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return new Outcome.Refused("sign-in.session-elsewhere");
    }

    private async Task<Outcome> RefuseAsync(UnitOfWork work, Transaction transaction, HistoryEvent entry, string reason, CancellationToken ct)
    {
        TransactionStore.Move(work, transaction.Id, "cancelled", reason == "sign-in.card-moved" ? "card-removed" : "cancelled");
        work.Record(entry with { Outcome = HistoryOutcome.Refused, Reason = reason }, time.GetUtcNow());
        work.AfterCommit(() => wakeups.Wake(SignInSteps.Topic(transaction.Id)));
        await work.CommitAsync(ct);
        return new Outcome.Refused(reason);
    }

    private sealed record Taken(Transaction Transaction, Func<byte[], string, bool> SameBrowser);

    /// <summary>Single-use: the row leaves the state "proven" in the statement that finds it.</summary>
    private static Task<Taken?> TakeAsync(UnitOfWork work, string id, string code, CancellationToken ct) => work.FindAsync<Taken>($"""
        update sign_in.transactions set state = 'completed', code_hash = null, changed_at = clock_timestamp()
        where id = {id} and state = 'proven' and code_hash = {Secret.Hash(code)} and code_expires_at > clock_timestamp()
        returning id, address, number, client, client_name, return_path, state, terminal, epoch, nonce, card, person, told, failures, wanted, acr, amr, attested, operation, browser_hash
        """, r =>
        {
            var (transaction, expected) = (TransactionStore.Read(r), r.GetFieldValue<byte[]>(19));
            return new(transaction, (browser, address) => Secret.Same(browser, expected) && address == transaction.Address);
        }, ct);

}
