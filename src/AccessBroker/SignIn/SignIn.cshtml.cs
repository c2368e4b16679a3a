using AccessBroker.Policies;
using AccessBroker.Web;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>The sign-in page: banner, number, what to do next. Its state comes from the broker, never from the agent's port.</summary>
internal sealed class SignInModel(SignInEndpoints endpoints, Active<SignInPolicy> policy, Lockout.AccessFailures failures, Active<Assurance.AssurancePolicy> assurance, Active<Passwords.PasswordsPolicy> passwords, BrokerOptions options) : PageModel
{
    /// <summary>Passkeys count in this segment.</summary>
    public bool Passkeys => assurance.Now.Segments[options.Segment].Methods.Contains(Assurance.Method.Passkey);
    /// <summary>Password and one-time code count in this segment, together.</summary>
    public bool Typed => assurance.Now.Segments[options.Segment].Methods is var methods && methods.Contains(Assurance.Method.Password) && methods.Contains(Assurance.Method.OneTimeCode);
    public int MinPassword => passwords.Now.MinLength;
    public string Banner => policy.Now.Banner;
    public string PinManager => policy.Now.PinManagerContact;
    public string UnlockContact => failures.UnlockContact;
    public string Agents => string.Join(' ', options.AgentOrigins);
    public string TransactionId { get; private set; } = "";
    public string ClientName { get; private set; } = "";
    public int Number { get; private set; }

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        if (await endpoints.FindAsync(HttpContext, id, ct) is not { State: not "completed" } transaction)
        {
            Response.StatusCode = StatusCodes.Status404NotFound;
            return Page();
        }
        (TransactionId, ClientName, Number) = (transaction.Id, transaction.ClientName, transaction.Number);
        return Page();
    }
}
