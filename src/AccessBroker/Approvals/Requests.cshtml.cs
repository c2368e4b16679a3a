using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Approvals;

/// <summary>What this person can ask for, what they asked, and, for those concerned, everything under way.</summary>
[Authorize]
internal sealed class RequestsModel(Store store, RequestDesk desk, Permissions permissions, Exports exports, TimeProvider time) : PageModel
{
    public IReadOnlyList<RequestKind> Askable { get; private set; } = [];
    public IReadOnlyList<Request> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public RequestKind KindOf(Request request) => desk.Kind(request.Kind)!;
    public string Name(string? id) => id is null ? "" : Names.GetValueOrDefault(id, id);

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        Askable = [.. desk.Kinds.Where(k => k.IsOffered && may.Allows(k.RequestOperation))];
        var seen = new List<Request>();
        var (own, latest) = (RequestStore.Latest(PersonId.Of(User), 100), RequestStore.Latest(null, 300));
        await work.AskAsync(ct, own, latest);
        foreach (var request in own.Answer.UnionBy(latest.Answer, r => r.Id).OrderByDescending(r => r.Id))
            if (desk.Kind(request.Kind) is { } kind && (request.RequestedBy.Value == PersonId.Of(User).Value || request.Decisions.Any(d => d.By == PersonId.Of(User).Value) || may.Allows("approvals.read") || await desk.IsConcernedAsync(work, kind, request, may, ct))) seen.Add(request);
        Rows = seen;
        Names = await work.AskAsync(PeopleRegister.Names(Rows.SelectMany(r => new[] { r.RequestedBy.Value, r["person"] }), time.GetUtcNow()), ct);
        if (format != "csv") return Page();
        return await exports.CsvAsync(HttpContext, "requests", ["番号", "種類", "対象者", "端末", "カード", "申請者", "申請日時", "期限", "状態", "理由"],
            [.. Rows.Select(r => new[] { $"{r.Id}", KindOf(r).Title, Name(r["person"]), r["terminal"], r["card"], Name(r.RequestedBy.Value), JapaneseTime.Precise(r.RequestedAt), JapaneseTime.Precise(r.DueAt), ShowRequestModel.StateName(r.State), r.Reason })], ct);
    }
}
