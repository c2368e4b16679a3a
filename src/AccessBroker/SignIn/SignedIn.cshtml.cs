using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>After sign-in: the last one, and what failed since, so that the rightful person notices misuse. <clause>MIC 6.2(4)</clause></summary>
[Authorize, Audited("sign-in.not-me")]
internal sealed class SignedInModel(Store store, SignInEndpoints endpoints, TimeProvider time) : PageModel
{
    public string Next { get; private set; } = "/";
    public string ClientName { get; private set; } = "";
    public string Name { get; private set; } = "";
    public string TerminalName { get; private set; } = "";
    public LastSession? Last { get; private set; }
    public string LastTerminalName { get; private set; } = "";
    public long FailuresSince { get; private set; }
    public bool Reported { get; private set; }
    /// <summary>Without anything to notice the page goes on by itself after some seconds.</summary>
    public bool GoesOn => Last is not null && FailuresSince == 0 && !Reported;

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct) => await LoadAsync(id, ct) ? Page() : Redirect("/");

    /// <summary>"This was not me": an event for the incident responders. The session goes on.</summary>
    public async Task<IActionResult> OnPostAsync(string id, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return Redirect("/");
        await store.RecordAsync(new("sign-in.not-me", HistoryOutcome.Done)
        {
            Person = PersonId.Of(User),
            Terminal = TerminalId.Parse(User.FindFirst("terminal")!.Value),
            Session = SessionId.Parse(User.FindFirst("sid")!.Value),
            Details = new Dictionary<string, string> { ["lastAt"] = $"{Last?.StartedAt:O}", ["lastTerminal"] = Last?.Terminal.Value ?? "", ["failuresSince"] = $"{FailuresSince}" },
        }, time.GetUtcNow(), ct);
        Reported = true;
        return Page();
    }

    private async Task<bool> LoadAsync(string id, CancellationToken ct)
    {
        var person = PersonId.Of(User);
        if (await endpoints.FindAsync(HttpContext, id, ct) is not { State: "completed" } transaction || transaction.Person != person) return false;
        (Next, ClientName) = (transaction.ReturnPath, transaction.ClientName);
        await using var work = await store.ReadAsync(ct);
        var (known, terminal, last) = (PeopleRegister.FindValid(person, time.GetUtcNow()), TerminalRegister.Find(transaction.Terminal!.Value), LiveSessions.FindLast(person, SessionId.Parse(User.FindFirst("sid")!.Value)));
        await work.AskAsync(ct, known, terminal, last);
        (Name, TerminalName, Last) = (known.Answer?.Name ?? person.Value, terminal.Answer?.Name ?? "", last.Answer);
        // Somebody may have tried a new card before its owner did.
        var (there, failures) = (TerminalRegister.Find(Last?.Terminal ?? transaction.Terminal.Value), HistoryLog.CountRefusals(person, Last?.StartedAt ?? DateTimeOffset.UnixEpoch));
        await work.AskAsync(ct, there, failures);
        (LastTerminalName, FailuresSince) = (there.Answer?.Name ?? "", failures.Answer);
        return true;
    }
}
