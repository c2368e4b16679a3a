using System.Security.Cryptography;
using System.Text;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Approvals;

/// <summary>A yes as its card or passkey signed it.</summary>
/// <param name="At">When, by the record; not signed.</param>
public sealed record SignedApproval(string Step, string Document, OperationSignature Proof, DateTimeOffset At)
{
    /// <summary>True when the signature is its key's, over bytes that name this document.</summary>
    public bool Holds() => Proof.Holds(Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Document))));
}

/// <summary>Signatures of approvals: kept with the decision, judged again before what was approved begins. <clause>MIC 6.2(1)③(オ)</clause></summary>
public static class ApprovalSignatures
{
    internal static void Keep(UnitOfWork work, long request, string step, ConfirmedOperation operation, OperationSignature proof)
    {
        var (card, key) = (proof as OperationSignature.OfCard, proof as OperationSignature.OfPasskey);
        work.Write($"""
            insert into approvals.signatures (request, step, document, signed, signature, certificate, card, public_key, authenticator, client)
            values ({request}, {step}, {operation.Text}, {proof.Content}, {proof.Signature}, {card?.Certificate}, {key?.Card.Value}, {key?.PublicKey}, {key?.Authenticator}, {key?.Client})
            """);
    }

    /// <summary>What the event of it says: the hash of what was signed, and whose passkey it was (a card's certificate says it itself).</summary>
    public static IEnumerable<KeyValuePair<string, string>> Evidence(ConfirmedOperation operation, OperationSignature? proof)
    {
        yield return new("confirmed", operation.Hash);
        if (proof is OperationSignature.OfPasskey key) yield return new("key", Convert.ToHexStringLower(SHA256.HashData(key.PublicKey)));
    }

    /// <summary>The signatures of a request, by step.</summary>
    public static Question<List<SignedApproval>> Of(long request) => Question.All($"select step, document, certificate, signed, signature, card, public_key, authenticator, client, d.at from approvals.signatures s join approvals.decisions d using (request, step) where request = {request} order by step",
        r => new SignedApproval(r.GetString(0), r.GetString(1), Read(r, 2)!, r.GetFieldValue<DateTimeOffset>(9)));

    /// <summary>Certificate, content, signature, card, public key, authenticator, client, from that column on. Null: nothing was signed.</summary>
    public static OperationSignature? Read(NpgsqlDataReader r, int first)
    {
        byte[] Bytes(int column) => r.GetFieldValue<byte[]>(first + column);
        return !r.IsDBNull(first) ? new OperationSignature.OfCard(Bytes(0), Bytes(1), Bytes(2))
            : !r.IsDBNull(first + 4) ? new OperationSignature.OfPasskey(CardId.Parse(r.GetString(first + 3)), Bytes(4), Bytes(5), Bytes(6), Bytes(1), Bytes(2)) : null;
    }

    /// <summary>True when every step of the request was approved by somebody of their own, with a signature over exactly the request as it is now.</summary>
    public static async Task<bool> CoverAsync(UnitOfWork work, RequestKind kind, Request request, CancellationToken ct)
    {
        var signed = await work.AskAsync(Of(request.Id), ct);
        return kind.StepsOf(request).All(step => signed.Exists(s => s.Step == step.Name && s.Holds() && s.Document == ConfirmedOperation.Of(kind, request).Text))
            && IsComplete(kind.StepsOf(request).Count, request.RequestedBy.Value, request.Approvers);
    }

    /// <summary>So many different people, none of them who asked.</summary>
    internal static bool IsComplete(int needed, string requester, IReadOnlyList<string> approvers) => approvers.Count >= needed && approvers.Distinct().Count() == approvers.Count && !approvers.Contains(requester);
}
