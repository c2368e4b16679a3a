using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.TerminalAgent;
using AccessBroker.TerminalAgent.Piv;
using CardSimulator;
using Microsoft.Extensions.Logging.Abstractions;

namespace AccessBroker.Tests.Support;

/// <summary>An enrolled terminal's stream in the hands of somebody who sends what they like; its browser beside it.</summary>
internal sealed class RogueAgent : IAsyncDisposable
{
    private readonly BrokerHost _broker;
    private readonly CardReader _watch;
    private readonly BrokerStream _stream;

    internal RogueAgent(BrokerHost broker, AgentOptions options)
    {
        (_broker, Terminal) = (broker, Path.GetFileName(options.DataDirectory));
        _watch = new(new MemoryReader(CardState.Blank("none")), "", NullLogger<CardReader>.Instance);
        _stream = new(options, _watch, new(options, NullLogger<NoticeBoard>.Instance), TimeProvider.System, NullLogger<BrokerStream>.Instance);
    }

    internal string Terminal { get; }

    internal async Task StartAsync()
    {
        await _watch.StartAsync(default);
        await _stream.StartAsync(default);
        await AttachedAsync();
    }

    internal Task AttachedAsync() => Eventually.TrueAsync(() => Task.FromResult(_stream.Terminal is not null), $"{Terminal} is attached", 30);

    /// <summary>Sends a message; the answer, or the code of the refusal.</summary>
    internal async Task<(JsonElement? Answer, string? Code)> SendAsync(JsonObject message)
    {
        try { return (await _stream.AskAsync(message, default), null); }
        catch (BrokerRefusedException e) { return (null, e.Message); }
    }

    /// <summary>A sign-in up to the claim: transaction and nonce; or the code of the refusal.</summary>
    internal async Task<(string Transaction, string Nonce)?> ClaimAsync(TestBrowser browser)
    {
        var handle = await browser.HandleAsync(await browser.OpenAsync());
        var (claimed, _) = await SendAsync(new() { ["type"] = "claim", ["handle"] = handle });
        return claimed is { } c ? (c.GetProperty("transaction").GetString()!, c.GetProperty("nonce").GetString()!) : null;
    }

    /// <summary>Possession of a real card, proven.</summary>
    internal Task<(JsonElement? Answer, string? Code)> PossessAsync(PivCard card, string transaction, string nonce, int tries = 6)
    {
        lock (card)
        {
            card.Begin();
            var (certificate, signature) = (card.ReadCertificate(PivCard.Slot.Possession), card.Sign(PivCard.Slot.Possession, SignedFields.Encode(SignedFields.Possession, nonce, Terminal)));
            return SendAsync(new() { ["type"] = "possession", ["transaction"] = transaction, ["certificate"] = Convert.ToBase64String(certificate), ["signature"] = Convert.ToBase64String(signature), ["triesLeft"] = tries });
        }
    }

    /// <summary>A wrong PIN, proven by the card; or with <paramref name="card"/> null and garbage, claimed.</summary>
    internal Task<(JsonElement? Answer, string? Code)> FailAsync(PivCard? card, string transaction, string nonce, int failures, int before = 6, int after = 5)
    {
        var signature = RandomNumberGenerator.GetBytes(70);
        if (card is not null) lock (card) signature = card.Sign(PivCard.Slot.Possession, SignedFields.Encode(SignedFields.PinFailed, nonce, Terminal, transaction, $"{failures}"));
        return SendAsync(new() { ["type"] = "pin-failed", ["transaction"] = transaction, ["triesBefore"] = before, ["triesAfter"] = after, ["signature"] = Convert.ToBase64String(signature) });
    }

    public async ValueTask DisposeAsync()
    {
        await _stream.StopAsync(default);
        await _watch.StopAsync(default);
        _stream.Dispose();
        _watch.Dispose();
    }
}
