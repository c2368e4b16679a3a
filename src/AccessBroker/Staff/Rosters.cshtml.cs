using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Staff;

/// <summary>Imports of the HR roster: upload, look at the difference, have it applied by somebody else. <clause>MIC 6.2(1)②</clause></summary>
[Authorize("staff.read-rosters"), Audited("staff.import-roster"), RequestSizeLimit(Roster.MostBytes + 65_536)]
internal sealed class RostersModel(Store store, RosterImport import, RequestDesk desk, Permissions permissions, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty] public IFormFile? Upload { get; set; }
    [BindProperty] public DateOnly? Effective { get; set; }
    [BindProperty] public bool Confirmed { get; set; }

    public IReadOnlyList<RosterImport.Import> Latest { get; private set; } = [];
    public RosterImport.Import? Shown { get; private set; }
    public RosterEffects Effects { get; private set; } = RosterEffects.None;
    public IReadOnlyList<RosterProblem> Problems { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public MayDo May { get; private set; } = null!;
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public bool Mine => Shown?.ImportedBy == PersonId.Of(User).Value;
    public string Name(string? id) => id is null ? "" : Names.GetValueOrDefault(id, id);

    public async Task<IActionResult> OnGetAsync(long? id, string? format, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return NotFound();
        if (id is null && format == "csv") return await exports.CsvAsync(HttpContext, "roster", [.. Roster.Headings], await import.CurrentAsync(ct), ct);
        return format != "csv" || Shown is null ? Page() : await exports.CsvAsync(HttpContext, $"roster-{id}", ["種類", "職員番号", "氏名", "変更前", "変更後", "権限と端末"], [.. Shown.Changes.Select(c => new[] { RosterImport.Word(c.Kind), c.StaffNumber, c.Name, Effects.Place(c.Before), Effects.Place(c.After), Effects.Of(c) })], ct);
    }

    public async Task<IActionResult> OnPostAsync(long? id, string? act, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return NotFound();
        if (id is not null && act == "ask-cards") return await AskCardsAsync(ct);
        var operation = id is null || (act == "discard" && Shown!.ImportedBy == PersonId.Of(User).Value) ? "staff.import-roster" : "staff.apply-roster";
        if (!May.Allows(operation))
        {
            await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
            return Forbid();
        }
        if (id is { } put && act == "discard")
        {
            (Succeeded, Message, Response.StatusCode) = await import.DiscardAsync(put, PersonId.Of(User), ct) ? (true, "この取込みを取りやめました。何も反映していません。", StatusCodes.Status200OK) : (false, "すでに反映されたか、取りやめられています。", StatusCodes.Status409Conflict);
            await LoadAsync(id, ct);
            return Page();
        }
        if (id is { } one)
        {
            (Succeeded, Message, Response.StatusCode) = await import.ApplyAsync(one, PersonId.Of(User), Confirmed, ct) switch
            {
                RosterImport.Outcome.Applied => (true, "反映しました。発効日から有効です。", StatusCodes.Status200OK),
                RosterImport.Outcome.NotConfirmed => (false, "この反映には、確かめが要ります。警告を読み、承知のうえであれば印を付けて反映してください。何も反映していません。", StatusCodes.Status422UnprocessableEntity),
                RosterImport.Outcome.ForOneself => (false, "この反映であなた自身の役割が増えます。ほかの人が反映してください。何も反映していません。", StatusCodes.Status403Forbidden),
                RosterImport.Outcome.OwnImport => (false, "取り込んだ人とは別の人が反映します。", StatusCodes.Status403Forbidden),
                RosterImport.Outcome.AppliedAlready => (false, "すでに反映されています。", StatusCodes.Status409Conflict),
                RosterImport.Outcome.RegisterChanged => (false, "取込みの後に職員の登録が変わりました。もう一度取り込んで、違いを確かめてください。何も反映していません。", StatusCodes.Status409Conflict),
                _ => (false, "この取込みはありません。", StatusCodes.Status404NotFound),
            };
            await LoadAsync(id, ct);
            return Page();
        }
        if (Upload is null || Effective is null) (Message, Response.StatusCode) = ("ファイルと発効日を選んでください。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            using var bytes = new MemoryStream();
            await Upload.CopyToAsync(bytes, ct);
            var (staged, problems) = await import.StageAsync(bytes.ToArray(), JapaneseTime.StartOf(Effective.Value), PersonId.Of(User), ct);
            if (staged is not null) return Redirect($"/people/rosters/{staged}");
            (Problems, Message, Response.StatusCode) = (problems, "名簿に誤りがあります。何も反映していません。", StatusCodes.Status422UnprocessableEntity);
        }
        return Page();
    }

    /// <summary>A card for everybody who joins, the cancellation of the card of everybody who leaves: one request each, in one go. <clause>INA 第16-1</clause></summary>
    private async Task<IActionResult> AskCardsAsync(CancellationToken ct)
    {
        if (Shown!.AppliedAt is null || !May.Allows("cards.request-issue") || !May.Allows("cards.request-cancel")) return Forbid();
        var (by, filed, not) = (PersonId.Of(User), 0, 0);
        foreach (var change in Shown.Changes.Where(c => c.Kind is "join" or "leave"))
        {
            var person = PersonId.Parse(change.Person);
            var pending = (await store.AskAsync(RequestDesk.About(change.Person, null, null), ct)).Any(r => r.IsPending && r.Kind is "cards.issue");
            if (change.Kind == "join" && !pending)
                _ = await desk.SubmitAsync(by, "cards.issue", new Dictionary<string, string> { ["person"] = change.Person }, $"人事異動({Shown.Effective:yyyy-MM-dd})による採用", ct) is RequestDesk.Outcome.Done ? filed++ : not++;
            if (change.Kind == "leave")
                foreach (var card in (await store.AskAsync(CardRegister.MediaOfPerson(person), ct)).Where(c => c.State is "handed-over" or "in-locker"))
                    if (!(await store.AskAsync(RequestDesk.About(null, card.Id.Value, null), ct)).Any(r => r.IsPending && r.Kind == "cards.cancel"))
                        _ = await desk.SubmitAsync(by, "cards.cancel", new Dictionary<string, string> { ["card"] = card.Id.Value }, $"人事異動({Shown.Effective:yyyy-MM-dd})による退職", ct) is RequestDesk.Outcome.Done ? filed++ : not++;
        }
        (Succeeded, Message) = (not == 0, $"{filed} 件を申請しました。{(not > 0 ? $"{not} 件は申請できませんでした。" : "")}");
        return Page();
    }

    private async Task<bool> LoadAsync(long? id, CancellationToken ct)
    {
        May = await permissions.OfAsync(User, ct);
        Latest = await import.LatestAsync(ct);
        if (id is { } one && (Shown = await import.FindAsync(one, ct)) is null) return false;
        if (Shown is { AppliedAt: null }) Effects = await import.EffectsAsync(Shown, PersonId.Of(User), ct);
        Names = await store.AskAsync(PeopleRegister.Names(Latest.SelectMany(l => new[] { l.ImportedBy, l.AppliedBy ?? "" }), time.GetUtcNow()), ct);
        return true;
    }
}
