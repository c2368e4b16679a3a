using System.ComponentModel.DataAnnotations;
using System.Diagnostics;
using AccessBroker.History;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Lockout;

/// <summary>The page for people: binds, calls, maps the outcome; no rule of its own.</summary>
[Authorize("terminals.unlock"), Audited("lockout.unlock-terminal")]
internal sealed class UnlockTerminalModel(UnlockTerminal unlock) : PageModel
{
    [BindProperty(SupportsGet = true), FromRoute(Name = "terminal"), Required] public TerminalId Terminal { get; set; }
    [BindProperty, Required, StringLength(400, MinimumLength = 2)] public string Reason { get; set; } = "";

    /// <summary>What the page says after the attempt; null before it.</summary>
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }

    public void OnGet() { }

    public async Task<IActionResult> OnPostAsync(CancellationToken ct)
    {
        var outcome = await unlock.RunAsync(Terminal, PersonId.Of(User), Reason, ct);
        if (outcome == UnlockTerminal.Outcome.NoSuchTerminal) return NotFound();
        (Succeeded, Message, Response.StatusCode) = outcome switch
        {
            UnlockTerminal.Outcome.Unlocked => (true, "端末のロックを解除しました。", StatusCodes.Status200OK),
            UnlockTerminal.Outcome.NotLocked => (false, "この端末はロックされていません。", StatusCodes.Status409Conflict),
            UnlockTerminal.Outcome.OwnFailures => (false, "ご自身の失敗によるロックは、ご自身では解除できません。他の責任者に依頼してください。", StatusCodes.Status403Forbidden),
            UnlockTerminal.Outcome.NotResponsible => (false, "この端末の管理責任者ではありません。", StatusCodes.Status403Forbidden),
            UnlockTerminal.Outcome.ChangedMeanwhile => (false, "この端末の状態が変わりました。読み直してください。", StatusCodes.Status409Conflict),
            _ => throw new UnreachableException($"{outcome}"),
        };
        return Page();
    }
}
