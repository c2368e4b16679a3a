using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Passkeys;

/// <summary>The PIN manager's terminal: the holder answers with their key. <clause>MIC 5.4解(1)</clause></summary>
[Authorize("passkeys.execute-issue"), Audited("passkeys.enrol")]
internal sealed class IssueModel(Store store, TimeProvider time) : PageModel
{
    public Request Asked { get; private set; } = null!;
    public string HolderName { get; private set; } = "";

    public async Task<IActionResult> OnGetAsync([FromQuery(Name = "request")] long request, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (await work.AskAsync(RequestDesk.Find(request), ct) is not { Kind: "passkeys.issue", Subject: { } person } asked) return NotFound();
        (Asked, HolderName) = (asked, (await work.AskAsync(PeopleRegister.Find(person, time.GetUtcNow()), ct))?.Name ?? person.Value);
        return Page();
    }
}
