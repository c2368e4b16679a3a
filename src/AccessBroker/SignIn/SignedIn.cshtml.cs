using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>After sign-in: the last one, and what failed since, so that the rightful person notices misuse. <clause>MIC 6.2(4)</clause></summary>
[Authorize, Audited("sign-in.not-me")]
internal sealed class SignedInModel(Store store, SignInEndpoints endpoints, Candidates candidates, TimeProvider time) : PageModel
{
    public string Next { get; private set; } = "/";
    public string ClientName { get; private set; } = "";
    public string Name { get; private set; } = "";
    public string TerminalName { get; private set; } = "";
    public LastSession? Last { get; private set; }
    /// <summary>A proof within a sign-in, for one act: not another use of the card.</summary>
    public bool IsProof { get; private set; }
    public string LastTerminalName { get; private set; } = "";
    public long FailuresSince { get; private set; }
    public bool Reported { get; private set; }
    /// <summary>The session rests on a card in the reader.</summary>
    public bool HasCard => LiveSession.Of(HttpContext)?.Amr.Contains("sc") == true;
    /// <summary>Without anything to notice the page goes on by itself after some seconds.</summary>
    public bool GoesOn => Last is not null && FailuresSince == 0 && !Reported;

    /// <summary>After a proof for one act the person goes on at once, unless something failed since.</summary>
    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct) => !await LoadAsync(id, ct) ? Redirect("/") : IsProof && FailuresSince == 0 ? Redirect(Next) : Page();

    /// <summary>"This was not me", with the four items of a report: an event for the incident leads. The session goes on. <clause>TAG 手順1①②</clause></summary>
    public async Task<IActionResult> OnPostAsync(string id, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return Redirect("/");
        var items = new Dictionary<string, string> { ["発見と発生の日時"] = When?.Trim() ?? "", ["機器と場所"] = Where?.Trim() ?? "", ["行為と予想される被害"] = What?.Trim() ?? "", ["行った応急措置"] = FirstAid?.Trim() ?? "" };
        if (items.Values.Any(v => v.Length is 0 or > 1000 || !FreeText.Fits(v, lines: true)))
        {
            (Incomplete, Response.StatusCode) = (true, StatusCodes.Status422UnprocessableEntity);
            return Page();
        }
        var (person, terminal, now) = (PersonId.Of(User), TerminalId.Parse(User.FindFirst("terminal")!.Value), time.GetUtcNow());
        await using var work = await store.BeginAsync(ct);
        await candidates.RaiseAsync(work, "not-me", 2, person.Value, Last?.Terminal ?? terminal, person, person, items, ct);
        work.Record(new("sign-in.not-me", HistoryOutcome.Done)
        {
            Person = person,
            Terminal = terminal,
            Session = SessionId.Parse(User.FindFirst("sid")!.Value),
            Details = new Dictionary<string, string> { ["lastAt"] = $"{Last?.StartedAt:O}", ["lastTerminal"] = Last?.Terminal.Value ?? "", ["failuresSince"] = $"{FailuresSince}" },
        }, now);
        await work.CommitAsync(ct);
        Reported = true;
        return Page();
    }

    [BindProperty, StringLength(1000)] public string? When { get; set; }
    [BindProperty, StringLength(1000)] public string? Where { get; set; }
    [BindProperty, StringLength(1000)] public string? What { get; set; }
    [BindProperty, StringLength(1000)] public string? FirstAid { get; set; }
    /// <summary>An item of the report is missing.</summary>
    public bool Incomplete { get; private set; }
    /// <summary>What the report begins with: found now, happened at the last sign-in.</summary>
    public string WhenFilled => When ?? $"発見: {JapaneseTime.InWords(time.GetUtcNow())}\n発生: {(Last is { } last ? JapaneseTime.InWords(last.StartedAt) : "")}";
    public string WhereFilled => Where ?? $"{LastTerminalName} ({Last?.Terminal})";
    public string WhatFilled => What ?? (FailuresSince > 0 ? $"身に覚えのないサインインの失敗 {FailuresSince} 回" : "身に覚えのないサインイン");

    private async Task<bool> LoadAsync(string id, CancellationToken ct)
    {
        var person = PersonId.Of(User);
        if (await endpoints.FindAsync(HttpContext, id, ct) is not { State: "completed" } transaction || transaction.Person != person) return false;
        (Next, ClientName, IsProof) = (transaction.ReturnPath, transaction.ClientName, transaction.Operation is not null);
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
