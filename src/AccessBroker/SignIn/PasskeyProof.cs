using System.Security.Cryptography;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Assurance;
using AccessBroker.History;
using AccessBroker.Passkeys;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.SignIn;

/// <summary>Sign-in with a passkey: the key answers the page of a terminal whose agent has claimed it. <clause>MIC 3(1)②(ア)</clause></summary>
internal sealed class PasskeyProof(SignInSteps steps, BrowserAttempts attempts, SignInChecks checks, PasskeySignIn passkeys, TimeProvider time)
{
    /// <param name="Ceremony">The id that came with the options.</param>
    /// <param name="Credential">PublicKeyCredential.toJSON().</param>
    internal sealed record Posted(string? Ceremony, JsonElement Credential);

    internal async Task<IResult> BeginAsync(HttpContext context, string id, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (await BrowserAttempts.LockAsync(work, context, id, "claimed", ct) is not { } transaction) return BrowserAttempts.Over();
        var (ceremony, options) = await passkeys.BeginAsync(work, context, transaction.Id, Signed(transaction) is { } signed ? SHA256.HashData(signed) : null);
        await work.CommitAsync(ct);
        return Results.Json(new { ceremony, options = JsonElement.Parse(options) });
    }

    /// <summary>The person changed their mind: the page may start again at once.</summary>
    internal async Task<IResult> CancelAsync(HttpContext context, string id, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (await BrowserAttempts.LockAsync(work, context, id, "claimed", ct) is not { } transaction) return BrowserAttempts.Over();
        TransactionStore.Move(work, transaction.Id, "cancelled", "cancelled");
        work.Record(new("sign-in.cancel", HistoryOutcome.Refused, "sign-in.cancelled") { Terminal = transaction.Terminal, Address = transaction.Address, Client = transaction.Client }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Results.NoContent();
    }

    /// <summary>The code for the page; or the refusal, which the page reads from the transaction's state.</summary>
    internal async Task<IResult> RunAsync(HttpContext context, string id, Posted posted, CancellationToken ct)
    {
        await using var work = await steps.Store.BeginAsync(ct);
        if (posted.Credential.ValueKind != JsonValueKind.Object || await BrowserAttempts.LockAsync(work, context, id, "claimed", ct) is not { } transaction || await BrowserAttempts.TerminalAsync(work, transaction, ct) is not { } terminal) return BrowserAttempts.Over();
        var (proven, reason) = await passkeys.AssertAsync(work, context, transaction.Id, posted.Ceremony, posted.Credential, ct);
        var attempt = await attempts.ReadAsync(work, transaction, terminal, proven is null ? null : (proven.Card, proven.Person), [Proof.Passkey], proven?.Attested == true, ct);
        try
        {
            if (proven is null) await steps.RefuseAsync(attempt, "sign-in.passkey", reason, ct);
            await steps.RequireAsync(checks.OnPasskey, attempt, "sign-in.passkey", ct);
            if (Signed(transaction) is { } signed) await KeepAsync(attempt, proven!, signed, ct);
        }
        catch (TerminalRequestException) { return BrowserAttempts.Refused(); }
        return await attempts.ProveAsync(attempt, "sign-in.passkey", ct);
    }

    /// <summary>What a yes to an operation is a signature over; null: it is a sign-in, whose challenge is random.</summary>
    private static byte[]? Signed(Transaction transaction) => transaction.Operation is { } operation ? SignedFields.Encode(SignedFields.Approval, transaction.Nonce!, transaction.Terminal!.Value.Value, transaction.Id, operation) : null;

    /// <summary>Kept for whoever judges it years later. Anything but a signature over exactly this operation refuses the proof.</summary>
    private async Task KeepAsync(SignInAttempt attempt, ProvenPasskey proven, byte[] signed, CancellationToken ct)
    {
        var signature = new OperationSignature.OfPasskey(proven.Card, proven.PublicKey, proven.Authenticator, proven.Client, signed, proven.Signature);
        if (!signature.Holds(attempt.Transaction.Operation!)) await steps.RefuseAsync(attempt, "sign-in.passkey", "sign-in.approval-not-signed", ct);
        attempt.Work.Write($"update sign_in.transactions set approval_signed = {signed}, approval_signature = {signature.Signature}, approval_key = {signature.PublicKey}, approval_authenticator = {signature.Authenticator}, approval_client = {signature.Client} where id = {attempt.Transaction.Id}");
    }
}
