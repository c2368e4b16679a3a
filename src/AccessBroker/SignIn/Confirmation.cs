using AccessBroker.Approvals;
using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.SignIn;

/// <summary>Step-up inside the console: a sign-in whose page and PIN prompt name the operation, and whose proof is good for that operation only, once.</summary>
internal sealed class Confirmation(Store store, BeginSignIn signIn) : IConfirmation
{
    /// <summary>Ours: 5 min.</summary>
    private static readonly TimeSpan Lasts = TimeSpan.FromMinutes(5);

    public async Task<string> AskAsync(HttpContext context, ConfirmedOperation operation, string returnPath, CancellationToken ct, string? draft = null)
    {
        await using var work = await store.BeginAsync(ct);
        var page = signIn.Run(work, context, null, operation.Purpose, returnPath, Acr.Privileged);
        var id = page["/sign-in/".Length..];
        var back = returnPath + (returnPath.Contains('?', StringComparison.Ordinal) ? "&" : "?") + "confirmed=" + id;
        work.Write($"update sign_in.transactions set operation = {operation.Hash}, operation_text = {operation.Text}, return_path = {back}, draft = {draft} where id = {id}");
        await work.CommitAsync(ct);
        return page;
    }

    public async Task<string?> DraftAsync(HttpContext context, string? id, CancellationToken ct) =>
        Secret.Fits(id) ? await store.FindAsync($"select draft from sign_in.transactions where id = {id} and browser_hash = {BeginSignIn.BrowserOf(context)} and draft is not null", r => r.GetString(0), ct) : null;

    public async Task<ConfirmedProof?> TakeAsync(UnitOfWork work, HttpContext context, string? id, ConfirmedOperation operation, PersonId person, CancellationToken ct) =>
        !Secret.Fits(id) ? null : await work.FindAsync($"""
            update sign_in.transactions set confirmed_at = clock_timestamp()
            where id = {id} and state = 'completed' and operation = {operation.Hash} and person = {person} and browser_hash = {BeginSignIn.BrowserOf(context)} and confirmed_at is null and changed_at > clock_timestamp() - {Lasts}
            returning approval_certificate, approval_signed, approval_signature, card, approval_key, approval_authenticator, approval_client
            """, r => new ConfirmedProof(ApprovalSignatures.Read(r, 0)), ct);
}
