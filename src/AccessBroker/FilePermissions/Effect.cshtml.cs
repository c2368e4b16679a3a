using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.FilePermissions;

/// <summary>What would change if this were granted: tried, not done. Of a request, or of what is typed here. <clause>MOJ 第5-4(4)</clause></summary>
[Authorize("files.read")]
internal sealed class EffectModel(Store store, IEnumerable<IFieldOptions> options, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(1000)] public string? Path { get; set; }
    [BindProperty(SupportsGet = true), StringLength(20)] public string? To { get; set; }
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Person { get; set; }
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Section { get; set; }
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Post { get; set; }
    [BindProperty(SupportsGet = true), StringLength(60)] public string? Actions { get; set; }
    [BindProperty(SupportsGet = true), StringLength(10)] public string? Effect { get; set; }
    [BindProperty(SupportsGet = true), StringLength(1)] public string? UpTo { get; set; }

    internal FileGrant? Tried { get; private set; }
    internal FileEffect? Found { get; private set; }
    public long? OfRequest { get; private set; }
    public string? Problem { get; private set; }
    internal Subjects Names { get; private set; } = Subjects.None;

    /// <summary>What can be chosen, as in the request itself.</summary>
    internal static readonly RequestField[] Choices = [.. GrantFilesKind.Given.Where(f => f.Name is "to" or "actions" or "effect" or "upTo")];

    public async Task<IActionResult> OnGetAsync(long? request, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.ReadAsync(ct);
        if (request is { } id)
        {
            if (await work.AskAsync(RequestDesk.Find(id), ct) is not { } found || found.Kind != "files.grant") return NotFound();
            OfRequest = id;
            (Tried, Problem) = await FileRequest.GrantAsync(work, found.Fields, now, ct);
        }
        else if (Path is { Length: > 0 }) await TryAsync(work, now, ct);
        if (Tried is null) return Page();
        Found = await FileEffect.OfAsync(work, Tried, now, ct);
        Names = await Subjects.OfAsync(work, [Tried.Subject, .. Found.Changes.Select(c => "person:" + c.Person)], now, ct);
        return Page();
    }

    private async Task TryAsync(UnitOfWork work, DateTimeOffset now, CancellationToken ct)
    {
        var fields = new Dictionary<string, string> { ["path"] = Path!, ["to"] = To ?? "", ["person"] = "", ["section"] = Section?.Trim() ?? "", ["post"] = Post?.Trim() ?? "", ["actions"] = Actions ?? "", ["effect"] = Effect ?? "", ["upTo"] = UpTo ?? "", ["until"] = JapaneseTime.DayOf(now).AddDays(1).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture) };
        if (Array.Exists(Choices, c => !c.Choices.Any(o => o.Value == fields[c.Name]))) { Problem = "相手・認めること・効力・機密性の上限を選んでください。"; return; }
        if (To == "person")
        {
            if (await options.First(o => o.Type == FieldType.Person).FindAsync(work, Person ?? "", now, ct) is not [var only]) { Problem = "職員が一人に決まりません。職員番号か氏名を書いてください。"; return; }
            fields["person"] = only.Value;
        }
        (Tried, Problem) = await FileRequest.GrantAsync(work, fields, now, ct);
    }
}
