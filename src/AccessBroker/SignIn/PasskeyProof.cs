using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.History;
using AccessBroker.Passkeys;
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
        var (ceremony, options) = await passkeys.BeginAsync(work, context, transaction.Id);
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
        }
        catch (TerminalRequestException) { return BrowserAttempts.Refused(); }
        return await attempts.ProveAsync(attempt, "sign-in.passkey", ct);
    }
}
