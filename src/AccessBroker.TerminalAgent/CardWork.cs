using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>One prompt, one card at a time: a sign-in and work on a card never mix.</summary>
internal sealed class OneAtATime
{
    private int _busy;
    internal bool TryBegin() => Interlocked.CompareExchange(ref _busy, 1, 0) == 0;
    internal void End() => Volatile.Write(ref _busy, 0);
}

/// <summary>
/// Work on a card that the broker leads: personalisation, hand-over, a PIN set anew or changed. The broker says what the card is to do; PINs are typed
/// here, go to the card, and nowhere else.
/// </summary>
internal sealed partial class CardWork(AgentOptions options, CardReader own, BrokerStream broker, IPinPrompt prompt, OneAtATime one, TimeProvider time, ILogger<CardWork> log)
{
    internal enum Outcome { Done, Failed, Busy, NotAttached }

    internal async Task<Outcome> RunAsync(string handle, CancellationToken ct)
    {
        if (broker.Terminal is null) return Outcome.NotAttached;
        if (!one.TryBegin()) return Outcome.Busy;
        try
        {
            var claimed = await broker.AskAsync(new() { ["type"] = "card-claim", ["handle"] = handle }, ct);
            return await WithReaderAsync(claimed, ct);
        }
        catch (BrokerRefusedException e)
        {
            Refused(log, e.Message);
            return Outcome.Failed;
        }
        finally { one.End(); }
    }

    private async Task<Outcome> WithReaderAsync(JsonElement claimed, CancellationToken ct)
    {
        var id = claimed.GetProperty("work").GetString()!;
        // Away from the page, not from the work: closing the browser must not leave a card half-made.
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        try
        {
            if (claimed.GetProperty("issuing").GetBoolean())
            {
                if (options.IssuingReader.Length == 0) throw new CardException("no-reader", "no IssuingReader is configured");
                return await PrepareCard.WithCardAsync(options.IssuingReader, card => FollowAsync(card, id, claimed, limit.Token), time);
            }
            var card = own.Take();
            using var whilePresent = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, own.Present);
            try { return await FollowAsync(card, id, claimed, whilePresent.Token); }
            finally { Reset(card); }
        }
        catch (CardException e)
        {
            CardFailed(log, e.Cause, e.Message);
            await FailAsync(id, e.Cause);
        }
        catch (PcscException e)
        {
            CardFailed(log, "pcsc", e.Message);
            await FailAsync(id, e.NoCard ? "no-card" : e.Gone ? "card-removed" : "no-reader");
        }
        catch (OperationCanceledException) { await FailAsync(id, "card-removed"); }
        catch (BrokerRefusedException)
        {
            await FailAsync(id, "card-unreadable");
            throw;
        }
        return Outcome.Failed;
    }

    private async Task<Outcome> FollowAsync(PivCard card, string id, JsonElement round, CancellationToken ct)
    {
        card.Begin();
        while (true)
        {
            var results = new JsonArray();
            foreach (var command in round.GetProperty("commands").EnumerateArray()) results.Add((JsonNode)await DoAsync(card, command, ct));
            round = await broker.AskAsync(new() { ["type"] = "card-next", ["work"] = id, ["results"] = results }, ct);
            if (round.TryGetProperty("done", out var done)) return done.GetBoolean() ? Outcome.Done : Outcome.Failed;
        }
    }

    private async Task<JsonObject> DoAsync(PivCard card, JsonElement command, CancellationToken ct)
    {
        byte[] Bytes(string name) => command.GetProperty(name).GetBytesFromBase64();
        string Text(string name) => command.GetProperty(name).GetString()!;
        PivCard.Slot Slot() => Text("slot") switch { "9A" => PivCard.Slot.SignIn, "9C" => PivCard.Slot.Signature, "9E" => PivCard.Slot.Possession, var other => throw new CardException("card-unreadable", $"slot {other}") };
        switch (Text("do"))
        {
            case "read": return new() { ["card"] = card.ReadId(), ["serial"] = card.ReadSerial() };
            case "challenge": return new() { ["challenge"] = Convert.ToBase64String(card.Challenge((byte)command.GetProperty("algorithm").GetInt32())) };
            case "authenticate": return new() { ["ok"] = card.Authenticate((byte)command.GetProperty("algorithm").GetInt32(), Bytes("response")) };
            case "generate": return new() { ["publicKey"] = Convert.ToBase64String(card.Generate(Slot())) };
            case "write": card.WriteCertificate(Slot(), Bytes("certificate")); return Ok();
            case "set-management-key": Wiping(Bytes("key"), card.ChangeManagementKey); return Ok();
            case "set-puk": Wiping(Bytes("current"), current => Wiping(Bytes("next"), next => card.ChangePuk(current, next))); return Ok();
            case "scramble-pin": Wiping(Bytes("puk"), puk => Wiping(NewPin.Random(), pin => card.ResetPin(puk, pin))); return Ok();
            case "prove": return new() { ["signature"] = Convert.ToBase64String(card.Sign(PivCard.Slot.Possession, SignedFields.Encode(SignedFields.Possession, Text("nonce"), broker.Terminal!.Value.Id))) };
            case "new-pin": return await SetPinAsync(card, Bytes("puk"), Text("nonce"), Text("card"), () => NewPin.AskAsync(prompt, $"{Text("name")} さんが新しい暗証番号を決めてください。ほかの人に見られないようにしてください。", null, ct), null);
            case "slip-pin": return await SetPinAsync(card, Bytes("puk"), Text("nonce"), Text("card"), () => Task.FromResult<byte[]?>(NewPin.Random()), pin => PrintAsync(Text("name"), pin));
            case "change-pin": return await ChangePinAsync(card, ct);
            case var other: throw new CardException("card-unreadable", $"the broker asks for {other}");
        }
    }

    private static JsonObject Ok() => new() { ["ok"] = true };

    private static void Wiping(byte[] secret, Action<byte[]> use)
    {
        try { use(secret); }
        finally { CryptographicOperations.ZeroMemory(secret); }
    }

    /// <summary>RESET RETRY COUNTER with the PUK, then the card's own receipt: 9A signs after the new PIN.</summary>
    private static async Task<JsonObject> SetPinAsync(PivCard card, byte[] puk, string nonce, string id, Func<Task<byte[]?>> choose, Func<byte[], Task<bool>>? print)
    {
        var pin = await choose();
        try
        {
            if (pin is null) return new() { ["ok"] = false, ["cause"] = "cancelled" };
            // Paper first: a PIN that is on the card but not on the slip would be nobody's.
            if (print is not null && !await print(pin)) return new() { ["ok"] = false, ["cause"] = "printer-failed" };
            if (!card.ResetPin(puk, pin)) return new() { ["ok"] = false, ["puk"] = "wrong" };
            if (!card.Verify(pin)) throw new CardException("card-unreadable", "the new PIN is not accepted");
            var receipt = card.Sign(PivCard.Slot.SignIn, SignedFields.Encode(SignedFields.Receipt, nonce, id));
            card.Begin();
            return new() { ["ok"] = true, ["signature"] = Convert.ToBase64String(receipt) };
        }
        finally
        {
            CryptographicOperations.ZeroMemory(puk);
            CryptographicOperations.ZeroMemory(pin);
        }
    }

    private async Task<JsonObject> ChangePinAsync(PivCard card, CancellationToken ct)
    {
        if (card.TriesLeft() == 0) return new() { ["ok"] = false, ["cause"] = "card-blocked" };
        var current = await prompt.AskAsync(new("暗証番号を変更します。はじめに、いまの暗証番号を入力してください。", null, "現在の暗証番号"), ct);
        var fresh = current is null ? null : await NewPin.AskAsync(prompt, "新しい暗証番号を決めてください。", current, ct);
        try
        {
            if (current is null || fresh is null) return new() { ["ok"] = false, ["cause"] = "cancelled" };
            if (!NewPin.Fits(current) || !card.Verify(current)) return new() { ["ok"] = false, ["cause"] = card.TriesLeft() == 0 ? "card-blocked" : "wrong-pin" };
            card.ChangePin(current, fresh);
            return Ok();
        }
        finally
        {
            CryptographicOperations.ZeroMemory(current);
            CryptographicOperations.ZeroMemory(fresh);
        }
    }

    private async Task<bool> PrintAsync(string name, byte[] pin)
    {
        if (options.SlipPrinter.Length == 0) return false;
        using var process = new System.Diagnostics.Process { StartInfo = new(options.SlipPrinter) { RedirectStandardInput = true, UseShellExecute = false } };
        try { process.Start(); }
        catch (System.ComponentModel.Win32Exception e)
        {
            Refused(log, e.Message);
            return false;
        }
        await process.StandardInput.BaseStream.WriteAsync(Encoding.UTF8.GetBytes($"{name} 様\n仮の暗証番号: "));
        await process.StandardInput.BaseStream.WriteAsync(pin);
        await process.StandardInput.BaseStream.WriteAsync("\n最初のサインインで、ご自分の暗証番号に変えてください。\n"u8.ToArray());
        process.StandardInput.Close();
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        try { await process.WaitForExitAsync(limit.Token); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            return false;
        }
        return process.ExitCode == 0;
    }

    private async Task FailAsync(string work, string cause)
    {
        try { await broker.AskAsync(new() { ["type"] = "card-failed", ["work"] = work, ["cause"] = cause }, CancellationToken.None); }
        catch (BrokerRefusedException e) { Refused(log, e.Message); }
    }

    private static void Reset(PivCard card)
    {
        try { card.Reset(); }
        catch (CardException) { /* it is gone, and its PIN with it */ }
    }

    [LoggerMessage(LogLevel.Information, "work on a card: the broker refused: {Code}")]
    private static partial void Refused(ILogger log, string code);
    [LoggerMessage(LogLevel.Warning, "work on a card broke off ({Cause}): {Why}")]
    private static partial void CardFailed(ILogger log, string cause, string why);
}

/// <summary>A PIN that somebody chooses: twice the same, 6 to 8 digits, not one that everybody tries first. <clause>MIC 5.4(3)③</clause></summary>
internal static class NewPin
{
    internal static bool Fits(ReadOnlySpan<byte> pin) => pin.Length is >= 6 and <= 8 && !pin.ContainsAnyExceptInRange((byte)'0', (byte)'9');

    /// <summary>Fits, and is neither one digit over and over nor counted up or down.</summary>
    internal static bool IsGood(ReadOnlySpan<byte> pin)
    {
        if (!Fits(pin)) return false;
        var (same, up, down) = (true, true, true);
        for (var i = 1; i < pin.Length; i++)
        {
            var step = pin[i] - pin[i - 1];
            (same, up, down) = (same && step == 0, up && step is 1 or -9, down && step is -1 or 9);
        }
        return !same && !up && !down;
    }

    /// <summary>The digits, to be wiped; null: cancelled.</summary>
    internal static async Task<byte[]?> AskAsync(IPinPrompt prompt, string description, byte[]? former, CancellationToken ct)
    {
        string? error = null;
        while (!ct.IsCancellationRequested)
        {
            var first = await prompt.AskAsync(new($"{description}(6〜8桁の数字)", error, "新しい暗証番号"), ct);
            if (first is null) return null;
            if (!IsGood(first) || (former is not null && first.AsSpan().SequenceEqual(former)))
            {
                CryptographicOperations.ZeroMemory(first);
                error = "6〜8桁の数字で、同じ数字の繰返しや連番、前と同じ番号は使えません。";
                continue;
            }
            var second = await prompt.AskAsync(new("確かめのため、同じ番号をもう一度入力してください(2回目)。", null, "もう一度、新しい暗証番号"), ct);
            var same = second is not null && second.AsSpan().SequenceEqual(first);
            if (second is not null) CryptographicOperations.ZeroMemory(second);
            if (same) return first;
            CryptographicOperations.ZeroMemory(first);
            if (second is null) return null;
            error = "二回の入力が違います。";
        }
        return null;
    }

    /// <summary>Eight random digits.</summary>
    internal static byte[] Random()
    {
        var pin = new byte[8];
        do { for (var i = 0; i < pin.Length; i++) pin[i] = (byte)('0' + RandomNumberGenerator.GetInt32(10)); } while (!IsGood(pin));
        return pin;
    }
}
