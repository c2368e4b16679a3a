using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Incidents;

/// <summary>The queue of candidates; whoever is concerned does not judge them. <clause>MIC 1(8)②</clause></summary>
[Authorize("incidents.read"), Audited("incidents.judge")]
internal sealed class ListModel(Store store, Permissions permissions, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(1000)] public string? Finding { get; set; }
    public IReadOnlyList<Candidate> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public bool MayJudge { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public string Name(string? id) => id is null ? "" : Names.GetValueOrDefault(id, id);
    public bool IsConcerned(Candidate row) => row.Person == PersonId.Of(User).Value || row.ReportedBy == PersonId.Of(User).Value;

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await LoadAsync(ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "incidents", ["番号", "種類", "暫定レベル", "対象", "日時", "端末", "人", "所見", "確認した人"],
            [.. Rows.Select(r => new[] { $"{r.Id}", Candidates.KindName(r.Kind), $"{r.Level}", r.Subject, JapaneseTime.Precise(r.At), r.Terminal ?? "", Name(r.Person), r.Finding ?? "", Name(r.ClosedBy) })], ct);
    }

    public async Task<IActionResult> OnPostAsync(long candidate, CancellationToken ct)
    {
        await LoadAsync(ct);
        if (!MayJudge) return Forbid();
        if (Rows.FirstOrDefault(r => r.Id == candidate) is not { } row) return NotFound();
        if (IsConcerned(row)) (Message, Response.StatusCode) = ("関わった方は、その確認ができません。", StatusCodes.Status403Forbidden);
        else if (Finding?.Trim().Length is not >= 2 || !FreeText.Fits(Finding, lines: true)) (Message, Response.StatusCode) = ("所見を2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            await using var work = await store.BeginAsync(ct);
            Succeeded = await work.ExecuteAsync($"update incidents.candidates set closed_by = {PersonId.Of(User)}, closed_at = {time.GetUtcNow()}, finding = {Finding.Trim()} where id = {candidate} and closed_at is null", ct) == 1;
            Message = Succeeded ? "確認を記録しました。" : "すでに確認されています。";
            work.Record(new("incidents.judge", Succeeded ? HistoryOutcome.Done : HistoryOutcome.Refused, Succeeded ? "" : "incidents.closed-already") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["candidate"] = $"{candidate}", ["finding"] = Finding.Trim() } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            await LoadAsync(ct);
        }
        return Page();
    }

    private async Task LoadAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        MayJudge = (await permissions.OfAsync(work, PersonId.Of(User), ct)).Allows("incidents.judge");
        Rows = await work.AskAsync(Candidates.All(open: false), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.SelectMany(r => new[] { r.Person ?? "", r.ReportedBy ?? "", r.ClosedBy ?? "" }), time.GetUtcNow()), ct);
    }
}
