using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>A yes as its card signed it.</summary>
public sealed record SignedApproval(string Step, string Document, CardSignature Proof)
{
    /// <summary>
    /// True when the signature is this certificate's, over bytes that name this document. Whether the certificate was a card of the approver's is the
    /// CA's word: its chain.
    /// </summary>
    public bool Holds()
    {
        using var certificate = X509CertificateLoader.LoadCertificate(Proof.Certificate);
        using var key = certificate.GetECDsaPublicKey();
        var hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Document)));
        return key?.VerifyData(Proof.Content, Proof.Signature, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence) == true
            && SignedFields.Decode(Proof.Content) is [SignedFields.Approval, _, _, _, var named] && named == hash;
    }
}

/// <summary>Signatures of approvals: kept with the decision, judged again before what was approved begins. <clause>MIC 6.2(1)③(オ)</clause></summary>
public static class ApprovalSignatures
{
    internal static void Keep(UnitOfWork work, long request, string step, ConfirmedOperation operation, CardSignature proof) => work.Write($"""
        insert into approvals.signatures (request, step, document, signed, signature, certificate) values ({request}, {step}, {operation.Text}, {proof.Content}, {proof.Signature}, {proof.Certificate})
        """);

    /// <summary>The signatures of a request, by step.</summary>
    public static Question<List<SignedApproval>> Of(long request) => Question.All($"select step, document, signed, signature, certificate from approvals.signatures where request = {request} order by step",
        r => new SignedApproval(r.GetString(0), r.GetString(1), new(r.GetFieldValue<byte[]>(4), r.GetFieldValue<byte[]>(2), r.GetFieldValue<byte[]>(3))));

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
