using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>
/// An operation that is confirmed with card and PIN at the moment it is done: what will be done, in words, and its hash. Two operations that differ in
/// anything have different hashes. <clause>MIC 6.2(1)③(オ)</clause>
/// </summary>
/// <param name="Purpose">One Japanese line: on the page and in the PIN prompt.</param>
/// <param name="Text">The canonical form: JSON, members in ordinal order, no white space. What the agent shows, and the card's signature is about.</param>
public sealed record ConfirmedOperation(string Purpose, string Text)
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>SHA-256 over <see cref="Text"/> in UTF-8, hex.</summary>
    public string Hash { get; } = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Text)));

    /// <summary>Of a yes to a request: one and the same for everybody who approves it, so that all can compare its hash.</summary>
    public static ConfirmedOperation Of(RequestKind kind, Request request) => Of(kind, request, "approve", $"{kind.Title} 申請 {request.Id} の承認");

    /// <summary>Of an act on a request: act, kind, number, who asked, why, and every field.</summary>
    public static ConfirmedOperation Of(RequestKind kind, Request request, string act, string purpose) => Of(act, kind.Name, kind.Title, request.Id, request.RequestedBy, request.Reason, request.Fields, purpose);

    /// <summary>Of an act that may have no request (0).</summary>
    public static ConfirmedOperation Of(string act, string kind, string title, long request, PersonId requestedBy, string reason, IReadOnlyDictionary<string, string> fields, string purpose)
    {
        var parts = new SortedDictionary<string, object>(StringComparer.Ordinal)
        {
            ["act"] = act,
            ["fields"] = new SortedDictionary<string, string>(fields.ToDictionary(), StringComparer.Ordinal),
            ["kind"] = kind,
            ["reason"] = reason,
            ["request"] = request,
            ["requestedBy"] = requestedBy.Value,
            ["title"] = title,
            ["version"] = 1,
        };
        return new(purpose, JsonSerializer.Serialize(parts, Format));
    }
}

/// <summary>What was proven for an operation.</summary>
/// <param name="Signature">What the card's key 9C or the passkey signed; null: nothing that could be judged later.</param>
public sealed record ConfirmedProof(OperationSignature? Signature);

/// <summary>Asks for a proof of an operation and takes it. <c>SignIn</c> has it: the proof is a sign-in for exactly this.</summary>
public interface IConfirmation
{
    /// <summary>Begins; the path of the page where the person proves themselves, and which leads back to <paramref name="returnPath"/> with <c>confirmed=</c> the proof's id.</summary>
    /// <param name="draft">What the person has typed there, kept until they are back: addresses stay in histories. Null: nothing.</param>
    Task<string> AskAsync(HttpContext context, ConfirmedOperation operation, string returnPath, CancellationToken ct, string? draft = null);

    /// <summary>What was typed before this proof was asked for, at this browser. Null: nothing.</summary>
    Task<string?> DraftAsync(HttpContext context, string? id, CancellationToken ct);

    /// <summary>Uses a proof up, in the caller's unit of work. Null: unknown, another operation, another person, used, or older than 5 min (ours).</summary>
    Task<ConfirmedProof?> TakeAsync(UnitOfWork work, HttpContext context, string? id, ConfirmedOperation operation, PersonId person, CancellationToken ct);
}
