using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Primitives;

namespace AccessBroker.Terminals;

/// <summary>A terminal whose agent holds a stream to this node.</summary>
/// <param name="Terminal">As registered when it attached.</param>
/// <param name="Address">Where its stream comes from.</param>
/// <param name="Certificate">SHA-256 thumbprint of the certificate it attached with.</param>
public sealed record AttachedTerminal(Terminal Terminal, string Address, IReadOnlyList<byte> Certificate)
{
    /// <summary>The agent's presence epoch: changes with every card event and every start of the agent.</summary>
    public string Epoch { get; internal set; } = "";
}

/// <summary>One kind of request from an agent. Several slices answer them.</summary>
public interface ITerminalRequest
{
    /// <summary>The message's <c>type</c>.</summary>
    string Type { get; }
    /// <summary>The answer: its members are sent beside <c>ok</c>. Throws <see cref="TerminalRequestException"/> to refuse.</summary>
    Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct);
}

/// <summary>Told when terminals come, stay, change and go. Sessions supplies it: the arrow would point the wrong way otherwise.</summary>
public interface ITerminalPresence
{
    /// <summary>The agent attached, or its card or reader changed: <see cref="AttachedTerminal.Epoch"/> is new. Ending sessions never throws.</summary>
    Task EpochAsync(AttachedTerminal terminal, string epoch, string cause);
    /// <summary>Ends what lives at a terminal, or of one person there, in the caller's unit of work; the caller records the returned events.</summary>
    Task<List<History.Narrowed>> EndAsync(Database.UnitOfWork work, TerminalId terminal, string reason, PersonId? person = null);
    /// <summary>A sign of life, with the same epoch or a new one: this node acts on it at once.</summary>
    void Beat(AttachedTerminal terminal);
    /// <summary>The stream ended; the lease runs out by itself unless the agent comes back.</summary>
    void Detached(AttachedTerminal terminal);
}

/// <summary>A refusal with a stable code; the text never leaves the broker.</summary>
public sealed class TerminalRequestException : Exception
{
    public TerminalRequestException() { }
    public TerminalRequestException(string code) : base(code) { }
    public TerminalRequestException(string code, Exception inner) : base(code, inner) { }
}

/// <summary>Sends and receives one JSON object per text frame, at most <see cref="Limit"/> bytes.</summary>
public sealed class JsonFrames(WebSocket socket) : IDisposable
{
    /// <summary>Ours: 32 KiB, several certificates.</summary>
    public const int Limit = 32 * 1024;
    private readonly byte[] _buffer = new byte[Limit];
    private readonly SemaphoreSlim _sending = new(1);

    /// <summary>The next frame; null when the peer closed, or sent what is not one JSON object within the limit.</summary>
    public async Task<JsonElement?> ReadAsync(CancellationToken ct)
    {
        var length = 0;
        while (true)
        {
            if (length == Limit) return null;
            var part = await socket.ReceiveAsync(_buffer.AsMemory(length), ct);
            if (part.MessageType != WebSocketMessageType.Text) return null;
            length += part.Count;
            if (!part.EndOfMessage) continue;
            return StrictJson.ParseObject(_buffer.AsMemory(0, length));
        }
    }

    /// <summary>Sends one object; callers take turns.</summary>
    public async Task SendAsync(JsonObject message, CancellationToken ct)
    {
        var bytes = JsonSerializer.SerializeToUtf8Bytes(message);
        await _sending.WaitAsync(ct);
        try { await socket.SendAsync(bytes, WebSocketMessageType.Text, true, ct); }
        finally { _sending.Release(); }
    }

    /// <summary>Close code 1001, "going away" (RFC 6455 §7.4.1): the agent attaches to another node at once.</summary>
    public async Task GoAwayAsync(CancellationToken ct)
    {
        await _sending.WaitAsync(ct);
        try { await socket.CloseOutputAsync(WebSocketCloseStatus.EndpointUnavailable, null, ct); }
        finally { _sending.Release(); }
    }

    /// <inheritdoc/>
    public void Dispose() => _sending.Dispose();
}
