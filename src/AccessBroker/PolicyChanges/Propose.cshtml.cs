using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.PolicyChanges;

/// <summary>A proposal: one file with another text. Validated by the same code that would use it; nothing changes yet.</summary>
[Authorize("policies.propose"), Audited("policies.propose"), RequestSizeLimit(1_048_576)]
internal sealed class ProposeModel(Store store, ActivePolicies active, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(200_000)] public string? Text { get; set; }
    [BindProperty, StringLength(1000)] public string? Reason { get; set; }

    public string Name { get; private set; } = "";
    public string? Problem { get; private set; }

    public async Task<IActionResult> OnGetAsync(string name, CancellationToken ct)
    {
        if (await BaseAsync(name, ct) is not { } version) return NotFound();
        Text = version.Texts[name];
        return Page();
    }

    public async Task<IActionResult> OnPostAsync(string name, CancellationToken ct)
    {
        if (await BaseAsync(name, ct) is not { } version) return NotFound();
        var texts = new Dictionary<string, string>(version.Texts) { [name] = (Text ?? "").ReplaceLineEndings("\n") };
        try
        {
            if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) throw new PolicyException("理由を2文字以上で書いてください。");
            if (texts[name].Count(c => c == '\n') > 3_000) throw new PolicyException("行が多すぎます(3,000 行まで)。");
            if (texts[name] == version.Texts[name]) throw new PolicyException("いまの版と同じです。");
            PolicySet.Of(active.Files, texts).ObjectTo(active.Newest);
        }
        catch (PolicyException e)
        {
            (Problem, Response.StatusCode) = (e.Message, StatusCodes.Status422UnprocessableEntity);
            await store.RecordAsync(new("policies.propose", HistoryOutcome.Refused, "policies.invalid") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["file"] = name } }, time.GetUtcNow(), ct);
            return Page();
        }
        await using var work = await store.BeginAsync(ct);
        var id = await PolicyVersions.AddAsync(work, texts, version.Id, PersonId.Of(User).Value, Reason!.Trim(), time.GetUtcNow(), ct);
        work.Record(new("policies.propose", HistoryOutcome.Done) { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["version"] = $"{id}", ["file"] = name, ["hash"] = PolicySet.HashOf(texts) } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Redirect($"/policies/{id}");
    }

    /// <summary>What a proposal starts from: the last that was approved, in force already or not.</summary>
    private async Task<PolicyVersion?> BaseAsync(string name, CancellationToken ct)
    {
        Name = name;
        return await store.AskAsync(PolicyVersions.LastApproved(), ct) is [var last] && await store.AskAsync(PolicyVersions.Find(last), ct) is { } version && PolicySet.Complete(version.Texts, active.Newest.Texts) is var texts && texts.ContainsKey(name) ? version with { Texts = texts } : null;
    }
}
