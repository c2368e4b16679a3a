using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>The operating standard: everybody reads and acknowledges it before working; the PIN manager writes the next version. <clause>INA 第7-2, MOJ 第5-4(3)</clause></summary>
[Authorize, Audited("cards.standard")]
internal sealed class ReadStandardModel(Store store, Permissions permissions, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(400)] public string? To { get; set; }
    [BindProperty, StringLength(200)] public string? Title { get; set; }
    [BindProperty, StringLength(100_000)] public string? Text { get; set; }
    [BindProperty] public DateOnly? From { get; set; }
    public Standard? InForce { get; private set; }
    public bool Unread { get; private set; }
    public bool MayWrite { get; private set; }
    public IReadOnlyList<Standard> All { get; private set; } = [];
    public IReadOnlyDictionary<int, long> Counts { get; private set; } = new Dictionary<int, long>();
    public string? Problem { get; private set; }

    public async Task OnGetAsync(CancellationToken ct) => await LoadAsync(ct);

    public async Task<IActionResult> OnPostAsync(string act, CancellationToken ct)
    {
        await LoadAsync(ct);
        var (me, now) = (PersonId.Of(User), time.GetUtcNow());
        await using var work = await store.BeginAsync(ct);
        if (act == "acknowledge" && InForce is { } standard)
        {
            Standard.Acknowledge(work, me, standard.Version, now);
            work.Record(new("cards.acknowledge-standard", HistoryOutcome.Done) { Person = me, Details = new Dictionary<string, string> { ["version"] = $"{standard.Version}" } }, now);
            await work.CommitAsync(ct);
            return Redirect(LocalPath.OrRoot(To));
        }
        if (act != "publish") return NotFound();
        if (!MayWrite)
        {
            work.Record(new("cards.publish-standard", HistoryOutcome.Refused, "authorization.not-permitted") { Person = me }, now);
            await work.CommitAsync(ct);
            return Forbid();
        }
        if (string.IsNullOrWhiteSpace(Title) || string.IsNullOrWhiteSpace(Text) || !FreeText.Fits(Title) || !FreeText.Fits(Text, lines: true) || From is null)
        {
            (Problem, Response.StatusCode) = ("題名、本文、施行日を入力してください。", StatusCodes.Status422UnprocessableEntity);
            return Page();
        }
        await work.ExecuteAsync($"insert into cards.standards (version, title, text, effective_from, published_by, published_at) select coalesce(max(version), 0) + 1, {Title}, {Text}, {JapaneseTime.StartOf(From.Value)}, {me}, {now} from cards.standards", ct);
        work.Record(new("cards.publish-standard", HistoryOutcome.Done) { Person = me, Details = new Dictionary<string, string> { ["title"] = Title, ["from"] = $"{From:yyyy-MM-dd}" } }, now);
        await work.CommitAsync(ct);
        return Redirect("/standard");
    }

    private async Task LoadAsync(CancellationToken ct)
    {
        var (me, now) = (PersonId.Of(User), time.GetUtcNow());
        await using var work = await store.ReadAsync(ct);
        var (inForce, unread, all, counts) = (Standard.InForce(now), Standard.IsUnread(me, now), Standard.All(), Standard.Counts());
        await work.AskAsync(ct, inForce, unread, all, counts);
        (InForce, Unread, All, Counts) = (inForce.Answer, unread.Answer, all.Answer, counts.Answer);
        MayWrite = (await permissions.OfAsync(work, me, ct)).Allows("cards.publish-standard");
    }
}
