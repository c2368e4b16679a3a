using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>One sign-in at this terminal: claim, possession, PIN, proof. The PIN goes from the prompt to the card and nowhere else.</summary>
internal sealed partial class CardSignIn(CardReader reader, BrokerStream broker, IPinPrompt prompt, OneAtATime one, ILogger<CardSignIn> log)
{
    internal enum Outcome { Proven, Claimed, Refused, Cancelled, Busy, NotAttached, Unavailable }

    /// <summary>Redeems a handle of the page. One at a time. The code is for the page; it is null unless proven.</summary>
    internal async Task<(Outcome Outcome, string? Code)> RunAsync(string handle, CancellationToken ct)
    {
        if (broker.Terminal is not { } terminal) return (Outcome.NotAttached, null);
        if (!one.TryBegin()) return (Outcome.Busy, null);
        try
        {
            var claim = await broker.AskAsync(new() { ["type"] = "claim", ["handle"] = handle }, ct);
            var transaction = new Claimed(terminal.Id, claim.GetProperty("transaction").GetString()!, claim.GetProperty("nonce").GetString()!, claim.GetProperty("client").GetString()!, claim.GetProperty("number").GetInt32()) { Operation = claim.TryGetProperty("operation", out var operation) ? operation.GetString() : null };
            return await ProveAsync(transaction, ct);
        }
        catch (BrokerRefusedException e)
        {
            RefusedByBroker(log, e.Message);
            return (e.Message == "broker.unavailable" ? Outcome.Unavailable : Outcome.Refused, null);
        }
        finally { one.End(); }
    }

    /// <summary>Only says that this page is at this terminal: a passkey will do the rest in the browser. No card, no prompt.</summary>
    internal async Task<Outcome> ClaimAsync(string handle, CancellationToken ct)
    {
        if (broker.Terminal is null) return Outcome.NotAttached;
        if (!one.TryBegin()) return Outcome.Busy;
        try
        {
            await broker.AskAsync(new() { ["type"] = "claim", ["handle"] = handle }, ct);
            return Outcome.Claimed;
        }
        catch (BrokerRefusedException e)
        {
            RefusedByBroker(log, e.Message);
            return e.Message == "broker.unavailable" ? Outcome.Unavailable : Outcome.Refused;
        }
        finally { one.End(); }
    }

    /// <param name="Nonce">What the card signs next; the broker gives another after each wrong PIN.</param>
    private sealed record Claimed(string Terminal, string Id, string Nonce, string Client, int Number)
    {
        /// <summary>The PIN was printed: it must be replaced before anything else.</summary>
        internal bool SetPin { get; init; }
        /// <summary>What is approved with this proof, in its canonical form; null: it is a sign-in.</summary>
        internal string? Operation { get; init; }
    }

    private async Task<(Outcome, string?)> ProveAsync(Claimed transaction, CancellationToken ct)
    {
        PivCard? card = null;
        try
        {
            // Taken before the card: a card pulled from here on cancels everything below.
            var present = reader.Present;
            card = reader.Take();
            using var whilePresent = CancellationTokenSource.CreateLinkedTokenSource(ct, present);
            card.Begin();
            transaction = transaction with { SetPin = await ShowPossessionAsync(card, transaction, whilePresent.Token) };
            return await AskPinAsync(card, transaction, whilePresent.Token);
        }
        catch (CardException e)
        {
            CardFailed(log, e.Cause, e.Message);
            await CancelAsync(transaction, e.Cause);
            return (Outcome.Cancelled, null);
        }
        catch (BrokerRefusedException e) when (e.Message is not ("sign-in.refused" or "sign-in.locked"))
        {
            // The stream broke or the broker failed in the middle: the page may start again.
            await CancelAsync(transaction, "cancelled");
            throw;
        }
        catch (OperationCanceledException)
        {
            await CancelAsync(transaction, ct.IsCancellationRequested ? "cancelled" : "card-removed");
            return (Outcome.Cancelled, null);
        }
        finally { Reset(card); }
    }

    /// <summary>9E: the card is here. The broker may refuse before any PIN try is spent.</summary>
    private async Task<bool> ShowPossessionAsync(PivCard card, Claimed transaction, CancellationToken ct)
    {
        var certificate = card.ReadCertificate(PivCard.Slot.Possession);
        var signature = card.Sign(PivCard.Slot.Possession, SignedFields.Encode(SignedFields.Possession, transaction.Nonce, transaction.Terminal));
        var answer = await broker.AskAsync(new() { ["type"] = "possession", ["transaction"] = transaction.Id, ["certificate"] = Convert.ToBase64String(certificate), ["signature"] = Convert.ToBase64String(signature), ["triesLeft"] = card.TriesLeft() }, ct);
        return answer.TryGetProperty("setPin", out var set) && set.ValueKind == System.Text.Json.JsonValueKind.True;
    }

    private async Task<(Outcome, string?)> AskPinAsync(PivCard card, Claimed transaction, CancellationToken ct)
    {
        var description = $"業務: {transaction.Client}\n確認番号: {transaction.Number}\n{ShownOperation.Of(transaction.Operation)}画面の番号と同じときだけ、暗証番号を入力してください。";
        string? error = null;
        for (var failures = 0; ;)
        {
            var before = card.TriesLeft();
            if (before == 0) throw new CardException("card-blocked", "no PIN tries left");
            var pin = await prompt.AskAsync(new(description, error), ct);
            if (ct.IsCancellationRequested) CryptographicOperations.ZeroMemory(pin);
            ct.ThrowIfCancellationRequested();
            if (pin is null)
            {
                await CancelAsync(transaction, "cancelled");
                return (Outcome.Cancelled, null);
            }
            try
            {
                if (pin.Length is < 6 or > 8 || pin.AsSpan().ContainsAnyExceptInRange((byte)'0', (byte)'9')) { error = "暗証番号は6〜8桁の数字です。"; continue; }
                if (card.Verify(pin)) return transaction.SetPin && !await ReplaceFirstPinAsync(card, pin, transaction, ct) ? (Outcome.Cancelled, null) : await ProveAsync(card, pin, transaction, before, ct);
            }
            finally { CryptographicOperations.ZeroMemory(pin); }
            var left = card.TriesLeft();
            // The card itself says that it was there: nobody can count failures against somebody whose card they do not have.
            var present = card.Sign(PivCard.Slot.Possession, SignedFields.Encode(SignedFields.PinFailed, transaction.Nonce, transaction.Terminal, transaction.Id, failures.ToString(System.Globalization.CultureInfo.InvariantCulture)));
            var answer = await broker.AskAsync(new() { ["type"] = "pin-failed", ["transaction"] = transaction.Id, ["triesBefore"] = before, ["triesAfter"] = left, ["signature"] = Convert.ToBase64String(present) }, ct);
            failures++;
            transaction = transaction with { Nonce = answer.GetProperty("nonce").GetString()! };
            error = left == 0 ? "暗証番号が違います。カードは使えなくなりました。" : $"暗証番号が違います。あと{answer.GetProperty("left").GetInt32()}回誤ると、この端末をしばらく使えなくなります(カードの残り {left} 回)。";
        }
    }

    /// <summary>The printed PIN opens nothing but this: its owner types one of their own, twice.</summary>
    private async Task<bool> ReplaceFirstPinAsync(PivCard card, byte[] printed, Claimed transaction, CancellationToken ct)
    {
        var fresh = await NewPin.AskAsync(prompt, "いまの暗証番号は、ここで変えるまで使えません(封緘用紙のもの、または知られた疑いを届け出たもの)。新しい暗証番号を決めてください。", printed, ct);
        if (fresh is null)
        {
            await CancelAsync(transaction, "cancelled");
            return false;
        }
        try { card.ChangePin(printed, fresh); return card.Verify(fresh); }
        finally { CryptographicOperations.ZeroMemory(fresh); }
    }

    /// <summary>Key 9C wants the PIN right before each signature. The agent hashes what it has shown: the broker's word is not taken for it.</summary>
    private static JsonObject? Approve(PivCard card, byte[] pin, Claimed transaction)
    {
        if (transaction.Operation is not { } operation || transaction.SetPin || !card.Verify(pin)) return null;
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(operation)));
        var signature = card.Sign(PivCard.Slot.Signature, SignedFields.Encode(SignedFields.Approval, transaction.Nonce, transaction.Terminal, transaction.Id, hash));
        return new() { ["certificate"] = Convert.ToBase64String(card.ReadCertificate(PivCard.Slot.Signature)), ["signature"] = Convert.ToBase64String(signature) };
    }

    private async Task<(Outcome, string?)> ProveAsync(PivCard card, byte[] pin, Claimed transaction, int triesBefore, CancellationToken ct)
    {
        var signature = card.Sign(PivCard.Slot.SignIn, SignedFields.Encode(transaction.SetPin ? SignedFields.FirstPinSet : SignedFields.SignIn, transaction.Nonce, transaction.Terminal, transaction.Id));
        var certificate = card.ReadCertificate(PivCard.Slot.SignIn);
        var approval = Approve(card, pin, transaction);
        // The reset forgets the PIN; then the counter can be read, and nothing on this terminal can sign with it any more.
        card.Begin();
        var proof = new JsonObject
        {
            ["type"] = "proof",
            ["transaction"] = transaction.Id,
            ["certificate"] = Convert.ToBase64String(certificate),
            ["signature"] = Convert.ToBase64String(signature),
            ["triesBefore"] = triesBefore,
            ["triesAfter"] = card.TriesLeft(),
        };
        if (approval is not null) proof["approval"] = approval;
        var answer = await broker.AskAsync(proof, ct);
        return (Outcome.Proven, answer.GetProperty("code").GetString());
    }

    private async Task CancelAsync(Claimed transaction, string cause)
    {
        try { await broker.AskAsync(new() { ["type"] = "cancel", ["transaction"] = transaction.Id, ["cause"] = cause }, CancellationToken.None); }
        catch (BrokerRefusedException e) { RefusedByBroker(log, e.Message); }
    }

    private static void Reset(PivCard? card)
    {
        try { card?.Reset(); }
        catch (CardException) { /* it is gone, and its PIN with it */ }
    }

    [LoggerMessage(LogLevel.Information, "the broker refused: {Code}")]
    private static partial void RefusedByBroker(ILogger log, string code);
    [LoggerMessage(LogLevel.Warning, "the card cannot be used ({Cause}): {Why}")]
    private static partial void CardFailed(ILogger log, string cause, string why);
}
