using AccessBroker.Policies;
using AccessBroker.Web;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>The sign-in page: banner, number, what to do next. Its state comes from the broker, never from the agent's port.</summary>
internal sealed class SignInModel(SignInEndpoints endpoints, Active<SignInPolicy> policy, Lockout.AccessFailures failures, Active<Assurance.AssurancePolicy> assurance, Active<Passwords.PasswordsPolicy> passwords, Approvals.RequestDesk desk, Database.Store store, BrokerOptions options) : PageModel
{
    /// <summary>A passkey can be enough here.</summary>
    public bool Passkeys => Helps(true, Assurance.Proof.Passkey);
    /// <summary>Password and one-time code together can be enough here.</summary>
    public bool Typed => Helps(false, Assurance.Proof.Password, Assurance.Proof.OneTimeCode);
    private Transaction? _transaction;

    /// <summary>What could never be enough for this relying party, or this operation, is not offered.</summary>
    private bool Helps(bool attested, params Assurance.Proof[] proofs) =>
        _transaction is not null && Assurance.AssuranceRule.Judge(new(proofs, attested, TimeSpan.Zero), assurance.Now.Needed(options.Segment, _transaction.Client, _transaction.Wanted)).Enough;

    public int MinPassword => passwords.Now.MinLength;
    public string Banner => policy.Now.Banner;
    public string PinManager => policy.Now.PinManagerContact;
    public string UnlockContact => failures.UnlockContact;
    public string Agents => string.Join(' ', options.AgentOrigins);
    public string TransactionId { get; private set; } = "";
    public string ClientName { get; private set; } = "";
    public int Number { get; private set; }
    /// <summary>What will be signed, whole, and the beginning of its hash; null: it is a sign-in.</summary>
    public (IReadOnlyList<(string Label, string Value)> Lines, string Hash)? Operation { get; private set; }

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        if (await endpoints.FindAsync(HttpContext, id, ct) is not { State: not "completed" } transaction)
        {
            Response.StatusCode = StatusCodes.Status404NotFound;
            return Page();
        }
        _transaction = transaction;
        (TransactionId, ClientName, Number) = (transaction.Id, transaction.ClientName, transaction.Number);
        if (transaction.Operation is { } hash && await store.AskAsync(TransactionStore.OperationOf(id), ct) is { } text) Operation = (Lines(text), hash[..16]);
        return Page();
    }

    /// <summary>As the PIN prompt shows it: a key that answers the page has no screen of its own.</summary>
    private List<(string Label, string Value)> Lines(string operation)
    {
        var parts = System.Text.Json.JsonElement.Parse(operation);
        var kind = desk.Kind(parts.GetProperty("kind").GetString());
        string Label(string name) => SignedWords.Of.GetValueOrDefault(name) ?? kind?.Fields.FirstOrDefault(f => f.Name == name)?.Label ?? kind?.CompletedFields.FirstOrDefault(f => f.Name == name).Label ?? name;
        return [("内容", parts.GetProperty("title").GetString() + (parts.GetProperty("request").GetInt64() is > 0 and var number ? $" ({number})" : "")), ("申請者", parts.GetProperty("requestedBy").GetString()!),
            .. parts.GetProperty("fields").EnumerateObject().Select(f => (Label(f.Name), f.Value.GetString()!)).Where(f => f.Item2.Length > 0), ("理由", parts.GetProperty("reason").GetString()!)];
    }
}
