using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Lockout;

/// <summary>The page for people: binds, calls, maps the outcome.</summary>
[Authorize("lockout.unlock-operator"), Audited("lockout.unlock-operator")]
internal sealed class UnlockOperatorModel(Store store, UnlockOperator unlock, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), FromRoute(Name = "person"), Required] public PersonId Person { get; set; }
    [BindProperty, Required, StringLength(400, MinimumLength = 2)] public string Reason { get; set; } = "";
    public string Name { get; private set; } = "";
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }

    public async Task<IActionResult> OnGetAsync(CancellationToken ct)
    {
        if (await store.AskAsync(PeopleRegister.Find(Person, time.GetUtcNow()), ct) is not { } person) return NotFound();
        Name = person.Name;
        return Page();
    }

    public async Task<IActionResult> OnPostAsync(CancellationToken ct)
    {
        if (await OnGetAsync(ct) is NotFoundResult none) return none;
        (Succeeded, Message, Response.StatusCode) = await unlock.RunAsync(Person, PersonId.Of(User), Reason, ct) switch
        {
            UnlockOperator.Outcome.Unlocked => (true, "ロックを解除しました。", StatusCodes.Status200OK),
            UnlockOperator.Outcome.NotLocked => (false, "この人はロックされていません。", StatusCodes.Status409Conflict),
            UnlockOperator.Outcome.OwnLock => (false, "ご自身の失敗によるロックは、ご自身では解除できません。他の責任者に依頼してください。", StatusCodes.Status403Forbidden),
            _ => (false, "この人の状態が変わりました。読み直してください。", StatusCodes.Status409Conflict),
        };
        return Page();
    }
}
