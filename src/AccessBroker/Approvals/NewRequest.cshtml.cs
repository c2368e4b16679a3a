using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Approvals;

/// <summary>The form of a kind of request. What is typed for a person, card or terminal is looked up; several that fit are offered.</summary>
[Authorize, Audited("approvals.submit")]
internal sealed class NewRequestModel(Store store, RequestDesk desk, Permissions permissions, IEnumerable<IFieldOptions> options, TimeProvider time) : PageModel
{
    [BindProperty] public Dictionary<string, string?> Given { get; set; } = [];
    [BindProperty, StringLength(1000)] public string? Reason { get; set; }

    public RequestKind Kind { get; private set; } = null!;
    public string? Problem { get; private set; }
    /// <summary>Fields with several that fit: the choices.</summary>
    public Dictionary<string, IReadOnlyList<(string Value, string Label)>> Offered { get; } = [];

    public async Task<IActionResult> OnGetAsync(string kind, CancellationToken ct)
    {
        if (await RefusedAsync(kind, ct) is { } refused) return refused;
        foreach (var field in Kind.Fields) if (Request.Query[field.Name].ToString() is { Length: > 0 and <= 200 } value) Given[field.Name] = value;
        await OfferAsync(ct);
        return Page();
    }

    /// <summary>Ids are not for people: what is already found is shown by name; cards and terminals are listed while they are few.</summary>
    private async Task OfferAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        foreach (var field in Kind.Fields.Where(f => !Offered.ContainsKey(f.Name)))
        {
            if (options.FirstOrDefault(o => o.Type == field.Type) is not { } finder) continue;
            if (Given.GetValueOrDefault(field.Name)?.Trim() is { Length: > 0 } text)
            {
                if (await finder.FindAsync(work, text, time.GetUtcNow(), ct) is [var one]) (Offered[field.Name], Given[field.Name]) = ([one], one.Value);
            }
            else if (field.Type is FieldType.Card or FieldType.Terminal && await finder.FindAsync(work, "", time.GetUtcNow(), ct) is { Count: > 0 and < 20 } all) Offered[field.Name] = await Kind.OfferableAsync(work, field, all, PersonId.Of(User), ct);
        }
    }

    public async Task<IActionResult> OnPostAsync(string kind, CancellationToken ct)
    {
        if (await RefusedAsync(kind, ct) is { } refused) return refused;
        if (!await ResolveAsync(ct))
        {
            await OfferAsync(ct);
            return Page();
        }
        switch (await desk.SubmitAsync(PersonId.Of(User), Kind.Name, Given.ToDictionary(g => g.Key, g => g.Value ?? ""), Reason ?? "", ct))
        {
            case RequestDesk.Outcome.Done done: return Redirect($"/requests/{done.Request}?filed");
            case RequestDesk.Outcome.Problem problem: Problem = problem.Sentence; break;
            case RequestDesk.Outcome.NotPermitted: return Forbid();
            default: return NotFound();
        }
        Response.StatusCode = StatusCodes.Status422UnprocessableEntity;
        await OfferAsync(ct);
        return Page();
    }

    private async Task<bool> ResolveAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        foreach (var field in Kind.Fields)
        {
            if (Given.GetValueOrDefault(field.Name)?.Trim() is not { Length: > 0 and <= 200 } text || options.FirstOrDefault(o => o.Type == field.Type) is not { } finder) continue;
            var found = await finder.FindAsync(work, text, time.GetUtcNow(), ct);
            if (found.Count == 1 || found.Any(f => f.Value == text)) Given[field.Name] = found.Count == 1 ? found[0].Value : text;
            else if (found.Count > 1) Offered[field.Name] = found;
            else Problem = $"「{field.Label}」に当てはまるものが見つかりません。";
        }
        if (Problem is null && Offered.Count > 0) Problem = "当てはまるものが複数あります。選んでください。";
        if (Problem is not null) Response.StatusCode = StatusCodes.Status422UnprocessableEntity;
        return Problem is null;
    }

    private async Task<IActionResult?> RefusedAsync(string kind, CancellationToken ct)
    {
        if (desk.Kind(kind) is not { } found) return NotFound();
        Kind = found;
        if ((await permissions.OfAsync(User, ct)).Allows(found.RequestOperation)) return null;
        await store.RecordAsync(new(found.RequestOperation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
        return Forbid();
    }
}
