using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.Keys;
using AccessBroker.Lockout;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.SignIn;

/// <summary>What the steps share: running a list of checks, and refusing.</summary>
internal sealed class SignInSteps(Store store, Wakeups wakeups, AccessFailures failures, Candidates candidates, TimeProvider time)
{
    internal Store Store => store;

    /// <summary>Runs the checks; the first refusal is counted, told and recorded, and ends the request.</summary>
    internal async Task RequireAsync(IReadOnlyList<SignInChecks.Check> checks, SignInAttempt attempt, string operation, CancellationToken ct)
    {
        foreach (var check in checks)
            if (await check(attempt, ct) is { } reason) await RefuseAsync(attempt, operation, reason, ct);
    }

    /// <summary>
    /// The transaction a message names, with everything the checks judge, in two round trips. Throws the refusal when this terminal did not claim
    /// it, or it is in another state.
    /// </summary>
    internal async Task<SignInAttempt> ReadAsync(UnitOfWork work, AttachedTerminal terminal, JsonElement message, string state, X509Certificate2? certificate, CancellationToken ct)
    {
        var (at, id) = (time.GetUtcNow(), TerminalMessage.Text(message, "transaction") ?? throw new TerminalRequestException("sign-in.no-such-transaction"));
        var (transaction, standing, terminalLock) = (TransactionStore.Lock(id, terminal.Terminal.Id, state), TerminalRegister.IsInGoodStanding(terminal, at), failures.LockOf(terminal.Terminal.Id));
        var card = CardId.TryParse(certificate?.GetNameInfo(X509NameType.SimpleName, false), null, out var named) ? CardRegister.Find(named) : null;
        await work.AskAsync(ct, card is null ? [transaction, standing, terminalLock] : [transaction, standing, terminalLock, card]);
        if (transaction.Answer is not { } found || found.Epoch != terminal.Epoch) throw new TerminalRequestException("sign-in.no-such-transaction");
        var attempt = new SignInAttempt(work, terminal, found)
        {
            Certificate = certificate,
            Signature = TerminalMessage.Bytes(message, "signature", 128),
            TriesFound = message.TryGetProperty("triesLeft", out _) ? TerminalMessage.Number(message, "triesLeft", 15) : 0,
            TerminalStands = standing.Answer,
            TerminalLock = terminalLock.Answer,
            Card = card?.Answer,
        };
        if (attempt.Card is not { } known) return attempt;
        var (person, grant, here, everywhere) = (PeopleRegister.FindValid(known.Person, at), TerminalRegister.HasGrant(terminal.Terminal.Id, known.Person, at), failures.LockOf(known.Person, terminal.Terminal.Id), failures.LockOf(known.Person));
        await work.AskAsync(ct, person, grant, here, everywhere);
        (attempt.Person, attempt.MaySitHere, attempt.PersonLock) = (person.Answer, grant.Answer, here.Answer ?? everywhere.Answer);
        return attempt;
    }

    /// <summary>The transaction a message names, if this terminal claimed it and it is in one of these states. Throws the refusal otherwise.</summary>
    internal static async Task<Transaction> FindAsync(UnitOfWork work, AttachedTerminal terminal, JsonElement message, string[] states, CancellationToken ct) =>
        TerminalMessage.Text(message, "transaction") is { } id && await work.AskAsync(TransactionStore.Lock(id, terminal.Terminal.Id, states), ct) is { } transaction ? transaction : throw new TerminalRequestException("sign-in.no-such-transaction");

    /// <summary>The lock on the attempt's person as it is now.</summary>
    internal static async Task<Lockout.Lock?> ReadLockAsync(SignInAttempt attempt, AccessFailures failures, CancellationToken ct)
    {
        var (here, everywhere) = (failures.LockOf(attempt.Card!.Person, attempt.Attached.Terminal.Id), failures.LockOf(attempt.Card.Person));
        await attempt.Work.AskAsync(ct, here, everywhere);
        return here.Answer ?? everywhere.Answer;
    }

    /// <summary>Moves the transaction on with the commit, and wakes its page.</summary>
    internal void Move(SignInAttempt attempt, string state, string? told = null)
    {
        TransactionStore.Move(attempt.Work, attempt.Transaction.Id, state, told);
        Wake(attempt);
    }

    /// <summary>With the commit, wakes the page that waits for news of this transaction.</summary>
    internal void Wake(SignInAttempt attempt) => attempt.Work.AfterCommit(() => wakeups.Wake(Topic(attempt.Transaction.Id)));

    internal static string Topic(string transaction) => $"sign-in:{transaction}";

    /// <summary>An event of this attempt, with all that is known of it.</summary>
    internal static HistoryEvent Event(SignInAttempt attempt, string operation, HistoryOutcome outcome, string reason = "") => new(operation, outcome, reason)
    {
        Terminal = attempt.Attached.Terminal.Id,
        Address = attempt.Attached.Address,
        Client = attempt.Transaction.Client,
        Card = attempt.Card?.Id ?? attempt.Transaction.Card,
        Person = attempt.Card?.Person ?? attempt.FailsAgainst ?? attempt.Transaction.Person,
        Details = new[] { ("operation", attempt.Transaction.Operation), ("named", attempt.Named?.Value) }.Where(d => d.Item2 is not null).ToDictionary(d => d.Item1, d => d.Item2!),
    };

    /// <summary>
    /// A lock is told with its end; everything else is one same sentence with a receipt number, and the reason is in the history only.
    /// A refusal of a card counts against the terminal. The lock itself does not (it must not prolong itself), nor does a claim without any
    /// card: a program on the terminal could lock it for everyone with nothing in its hands.
    /// </summary>
    internal async Task RefuseAsync(SignInAttempt attempt, string operation, string reason, CancellationToken ct)
    {
        // Nobody failed: another factor is needed, and the page says which.
        if (reason == "sign-in.factor-missing")
        {
            Move(attempt, "cancelled", $"needs-{attempt.Missing}");
            attempt.Work.Record(Event(attempt, operation, HistoryOutcome.Refused, reason) with { Details = new Dictionary<string, string> { ["missing"] = attempt.Missing } }, time.GetUtcNow());
            await attempt.Work.CommitAsync(ct);
            throw new TerminalRequestException("sign-in.factor-missing");
        }
        var receipt = Receipt();
        // Our clock is not the person's failure.
        if (attempt.Lock is null && attempt.Signature.Length > 0 && reason != "sign-in.clock-not-exact") await failures.CountAsync(attempt.Work, attempt.Attached.Terminal.Id, attempt.FailsAgainst, ct);
        // A card that must not be used was used by somebody. <clause>TAG 第3章1(A)</clause>
        if (attempt.Card is { Usable: false } card && reason == $"sign-in.card-{card.State}")
            await candidates.RaiseAsync(attempt.Work, "unusable-card", 2, card.Id.Value, attempt.Attached.Terminal.Id, card.Person, null, new Dictionary<string, string> { ["状態"] = CardNames.State(card.State) }, ct);
        Move(attempt, attempt.Lock is null ? "refused" : "locked", attempt.Lock is { } locked ? Told(locked) : receipt);
        attempt.Work.Record(Event(attempt, operation, HistoryOutcome.Refused, reason) with { Receipt = receipt }, time.GetUtcNow());
        await attempt.Work.CommitAsync(ct);
        throw new TerminalRequestException(attempt.Lock is null ? "sign-in.refused" : "sign-in.locked");
    }

    /// <summary>What the page is told of a lock: whose it is, and its end.</summary>
    internal static string Told(Lockout.Lock locked) => $"{(locked.Reason == "lockout.terminal-locked" ? "terminal" : "operator")} {locked.Until:O}";

    /// <summary>8 characters that are read on the telephone without confusion: no 0, O, 1, I, L.</summary>
    private static string Receipt() => RandomNumberGenerator.GetString("23456789ABCDEFGHJKMNPQRSTUVWXYZ", 8);

    /// <summary>
    /// "PIN tried outside the broker": the card has fewer tries than we last saw. With the card proven present they count like any wrong PIN,
    /// so that nobody gains tries by keeping a failure from us. True when there were such.
    /// </summary>
    internal static async Task<bool> NoteTriesAsync(SignInAttempt attempt, Card card, int triesBefore, int triesNow, AccessFailures failures, DateTimeOffset at, CancellationToken ct, bool proven = true)
    {
        CardRegister.NoteTries(attempt.Work, card.Id, triesNow);
        if (card.TriesLeft is not { } known || triesBefore >= known) return false;
        var entry = Event(attempt, "cards.pin-tried-elsewhere", HistoryOutcome.Refused, "cards.pin-tried-elsewhere") with { Card = card.Id, Person = card.Person };
        attempt.Work.Record(entry with { Details = new Dictionary<string, string> { ["known"] = $"{known}", ["found"] = $"{triesBefore}" } }, at);
        for (var unseen = triesBefore; unseen < known; unseen++) await failures.CountAsync(attempt.Work, attempt.Attached.Terminal.Id, proven && card.Usable ? card.Person : null, ct);
        return true;
    }
}

/// <summary>Reads what an agent sent. Anything malformed refuses the request.</summary>
internal static class TerminalMessage
{
    internal static string? Text(JsonElement message, string name) => StrictJson.Text(message, name);

    internal static int Number(JsonElement message, string name, int most) =>
        message.TryGetProperty(name, out var v) && v.ValueKind == JsonValueKind.Number && v.TryGetInt32(out var number) && number >= 0 && number <= most ? number : throw Malformed();

    internal static byte[] Bytes(JsonElement message, string name, int most) =>
        message.TryGetProperty(name, out var v) && v.ValueKind == JsonValueKind.String && v.TryGetBytesFromBase64(out var bytes) && bytes.Length <= most ? bytes : throw Malformed();

    /// <summary>The certificate, or null when the card showed garbage.</summary>
    internal static X509Certificate2? Certificate(JsonElement message)
    {
        try { return X509CertificateLoader.LoadCertificate(Bytes(message, "certificate", 4096)); }
        catch (CryptographicException) { return null; }
    }

    private static TerminalRequestException Malformed() => new("terminals.malformed");
}

/// <summary>The agent claims the handle the page gave it.</summary>
internal sealed class ClaimHandle(SignInSteps steps, SignInChecks checks, AccessFailures failures, Coalescer coalescer, TimeProvider time) : ITerminalRequest
{
    public string Type => "claim";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        var (taken, standing, terminalLock) = (TransactionStore.TakeHandle(TerminalMessage.Text(request, "handle") ?? "", terminal.Terminal.Id, terminal.Epoch), TerminalRegister.IsInGoodStanding(terminal, time.GetUtcNow()), failures.LockOf(terminal.Terminal.Id));
        await work.AskAsync(ct, taken, standing, terminalLock);
        if (taken.Answer is not { } transaction)
        {
            coalescer.Add(new("sign-in.claim", HistoryOutcome.Refused, "sign-in.handle-unknown") { Address = terminal.Address });
            throw new TerminalRequestException("sign-in.handle-unknown");
        }
        var attempt = new SignInAttempt(work, terminal, transaction) { TerminalStands = standing.Answer, TerminalLock = terminalLock.Answer };
        await steps.RequireAsync(checks.OnClaim, attempt, "sign-in.claim", ct);
        steps.Move(attempt, "claimed");
        await work.CommitAsync(ct, Durability.MayBeLostInACrash);
        var answer = new JsonObject { ["transaction"] = transaction.Id, ["nonce"] = transaction.Nonce, ["client"] = transaction.ClientName, ["number"] = transaction.Number };
        // The agent shows it, hashes it itself, and has the card sign that hash.
        if (transaction.Operation is not null) answer["operation"] = await steps.Store.AskAsync(TransactionStore.OperationOf(transaction.Id), ct);
        return answer;
    }
}

/// <summary>The card has signed with 9E. Only now may the agent ask for the PIN.</summary>
internal sealed class ProvePossession(SignInSteps steps, SignInChecks checks) : ITerminalRequest
{
    public string Type => "possession";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        using var certificate = TerminalMessage.Certificate(request);
        var attempt = await steps.ReadAsync(work, terminal, request, "claimed", certificate, ct);
        await steps.RequireAsync(checks.OnPossession, attempt, "sign-in.possession", ct);
        work.Write($"update sign_in.transactions set state = 'pin', card = {attempt.Card!.Id}, person = {attempt.Card.Person}, told = null, changed_at = clock_timestamp() where id = {attempt.Transaction.Id}");
        steps.Wake(attempt);
        await work.CommitAsync(ct);
        return attempt.Card.FirstPinUntil is null ? [] : new() { ["setPin"] = true };
    }
}

/// <summary>
/// The card refused a PIN. Counted for terminal and person; the card itself signs each one with a nonce of its own, so that nobody counts failures
/// against somebody whose card they do not have, not even with an agent that says whatever it likes. <clause>MIC 6.2(4)</clause>
/// </summary>
internal sealed class ReportPinFailure(SignInSteps steps, AccessFailures failures, TimeProvider time) : ITerminalRequest
{
    public string Type => "pin-failed";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        var transaction = await SignInSteps.FindAsync(work, terminal, request, ["pin"], ct);
        var attempt = new SignInAttempt(work, terminal, transaction) { Card = await work.AskAsync(CardRegister.Find(transaction.Card!.Value), ct) };
        var (before, after) = (TerminalMessage.Number(request, "triesBefore", 15), TerminalMessage.Number(request, "triesAfter", 15));
        var present = IsPresent(attempt.Card!, transaction, terminal.Terminal.Id, TerminalMessage.Bytes(request, "signature", 128));
        await SignInSteps.NoteTriesAsync(attempt, attempt.Card!, before, after, failures, time.GetUtcNow(), ct, present);
        // A card that was reported lost meanwhile does not count against its person.
        var locks = await failures.CountAsync(work, terminal.Terminal.Id, present && attempt.Card!.Usable ? attempt.Card.Person : null, ct);
        var nonce = Secret.New();
        work.Write($"update sign_in.transactions set nonce = {nonce}, failures = failures + 1 where id = {transaction.Id}");
        work.Record(SignInSteps.Event(attempt, "sign-in.pin", HistoryOutcome.Refused, present ? "sign-in.wrong-pin" : "sign-in.wrong-pin-not-proven") with { Details = new Dictionary<string, string> { ["triesLeft"] = $"{after}" } }, time.GetUtcNow());
        var left = await failures.LeftAsync(work, transaction.Person!.Value, terminal.Terminal.Id, ct);
        if (locks.Count > 0) steps.Move(attempt, "locked", SignInSteps.Told(locks.MaxBy(l => l.Until)!));
        await work.CommitAsync(ct);
        return locks.Count > 0 ? throw new TerminalRequestException("sign-in.locked") : new() { ["left"] = left, ["nonce"] = nonce };
    }

    private static bool IsPresent(Card card, Transaction transaction, TerminalId terminal, byte[] signature)
    {
        if (card.PossessionKey.Length == 0) return false;
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(card.PossessionKey, out _);
        return key.VerifyData(SignedFields.Encode(SignedFields.PinFailed, transaction.Nonce!, terminal.Value, transaction.Id, transaction.Failures.ToString(System.Globalization.CultureInfo.InvariantCulture)), signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
    }
}

/// <summary>The card has signed with 9A after its PIN: the answer is the code that the page must bring.</summary>
internal sealed class ProveSignIn(SignInSteps steps, SignInChecks checks, Active<SignInPolicy> policy, AccessFailures failures, CertificateAuthorities authorities, TimeProvider time) : ITerminalRequest
{
    public string Type => "proof";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        using var certificate = TerminalMessage.Certificate(request);
        var attempt = await steps.ReadAsync(work, terminal, request, "pin", certificate, ct);
        attempt.Proofs = [Proof.Card, Proof.CardPin];
        await steps.RequireAsync(checks.OnProof, attempt, "sign-in.proof", ct);
        await SignInSteps.NoteTriesAsync(attempt, attempt.Card!, TerminalMessage.Number(request, "triesBefore", 15), TerminalMessage.Number(request, "triesAfter", 15), failures, time.GetUtcNow(), ct);
        AccessFailures.Clear(work, attempt.Card!.Person, terminal.Terminal.Id);
        if (attempt.Card.FirstPinUntil is not null)
        {
            CardRegister.FirstPinSet(work, attempt.Card.Id);
            work.Record(SignInSteps.Event(attempt, "cards.first-pin-set", HistoryOutcome.Done), time.GetUtcNow());
        }
        if (attempt.Transaction.Operation is { } operation && request.TryGetProperty("approval", out var approval)) await KeepAsync(attempt, operation, approval, ct);
        var code = Secret.New(16);
        TransactionStore.Prove(work, attempt.Transaction, attempt.Card.Id, attempt.Card.Person, attempt.Proofs, false, attempt.Needed, code, policy.Now.CodeLifetime);
        steps.Wake(attempt);
        work.Record(SignInSteps.Event(attempt, "sign-in.proof", HistoryOutcome.Done), time.GetUtcNow());
        await work.CommitAsync(ct);
        return new() { ["code"] = code };
    }

    /// <summary>What key 9C signed: kept only when it is this card's key, certified by us, over exactly this operation. Anything else refuses the proof.</summary>
    private async Task KeepAsync(SignInAttempt attempt, string operation, JsonElement approval, CancellationToken ct)
    {
        using var certificate = TerminalMessage.Certificate(approval);
        var (signature, registered) = (TerminalMessage.Bytes(approval, "signature", 128), await attempt.Work.AskAsync(CardRegister.SignatureKey(attempt.Card!.Id), ct));
        var signed = SignedFields.Encode(SignedFields.Approval, attempt.Transaction.Nonce!, attempt.Attached.Terminal.Id.Value, attempt.Transaction.Id, operation);
        using var key = certificate?.GetECDsaPublicKey();
        if (certificate is null || key is null || registered is not [var own] || !authorities.OperatorCards.Vouches(certificate, time.GetUtcNow()) || !certificate.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(own)
            || !key.VerifyData(signed, signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))
            await steps.RefuseAsync(attempt, "sign-in.proof", "sign-in.approval-not-signed", ct);
        attempt.Work.Write($"update sign_in.transactions set approval_certificate = {certificate!.RawData}, approval_signed = {signed}, approval_signature = {signature} where id = {attempt.Transaction.Id}");
    }
}

/// <summary>The person cancelled, pulled the card, or the card does not work: told by the agent's prompt; the page may try again.</summary>
internal sealed class CancelSignIn(SignInSteps steps, TimeProvider time) : ITerminalRequest
{
    private static readonly string[] Causes = ["cancelled", "card-removed", "card-unreadable", "card-blocked", "no-card", "no-reader"];

    public string Type => "cancel";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        var cause = TerminalMessage.Text(request, "cause") is { } given && Causes.Contains(given) ? given : "cancelled";
        var attempt = new SignInAttempt(work, terminal, await SignInSteps.FindAsync(work, terminal, request, ["claimed", "pin"], ct));
        steps.Move(attempt, "cancelled", cause);
        work.Record(SignInSteps.Event(attempt, "sign-in.cancel", HistoryOutcome.Refused, $"sign-in.{cause}"), time.GetUtcNow());
        await work.CommitAsync(ct);
        return [];
    }
}
