using System.Security.Cryptography;
using System.Text;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>
/// An operation that is confirmed with card and PIN at the moment it is done: what will be done, in words, and its hash. Two operations that differ in
/// anything have different hashes. <clause>MIC 6.2(1)③(オ)</clause>
/// </summary>
/// <param name="Purpose">One Japanese line: on the page and in the PIN prompt.</param>
/// <param name="Hash">SHA-256 over the canonical form, hex.</param>
public sealed record ConfirmedOperation(string Purpose, string Hash)
{
    /// <summary>Of a yes to a request: kind, number, step and every field, length-prefixed, so that nothing can be read two ways.</summary>
    public static ConfirmedOperation Of(RequestKind kind, Request request, string step)
    {
        var canonical = new StringBuilder("accessbroker:operation:v1");
        void Add(string part) => canonical.Append(':').Append(Encoding.UTF8.GetByteCount(part)).Append(':').Append(part);
        foreach (var part in (string[])["approve", step, kind.Name, $"{request.Id}", request.RequestedBy.Value, request.Reason]) Add(part);
        foreach (var (name, value) in request.Fields.OrderBy(f => f.Key, StringComparer.Ordinal)) { Add(name); Add(value); }
        return new($"{kind.Title} 申請 {request.Id} の承認", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(canonical.ToString()))));
    }
}

/// <summary>Asks for a proof of an operation and takes it. <c>SignIn</c> has it: the proof is a sign-in for exactly this.</summary>
public interface IConfirmation
{
    /// <summary>Begins; the path of the page where the person proves themselves, and which leads back to <paramref name="returnPath"/> with <c>confirmed=</c> the proof's id.</summary>
    Task<string> AskAsync(HttpContext context, ConfirmedOperation operation, string returnPath, CancellationToken ct);

    /// <summary>Uses a proof up, in the caller's unit of work. False: unknown, another operation, another person, used, or older than 5 min (ours).</summary>
    Task<bool> TakeAsync(UnitOfWork work, HttpContext context, string? id, ConfirmedOperation operation, PersonId person, CancellationToken ct);
}
