using AccessBroker.Database;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Staff;

/// <summary>Ids that nobody uses, and ids that HR does not know. <clause>MIC 6.2(1)②(ウ)</clause></summary>
[Authorize("staff.read-dormant")]
internal sealed class DormantListModel(Store store, DormantIds dormant, Exports exports) : PageModel
{
    public IReadOnlyList<DormantLine> Rows { get; private set; } = [];

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        Rows = await dormant.FindAsync(work, ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "dormant", ["ID", "氏名", "所属と職名", "最後のサインイン", "名簿にない"],
            [.. Rows.Select(r => new[] { r.Person.Id.Value, r.Person.Name, string.Join("、", r.Person.Posts), r.LastSignIn is { } l ? JapaneseTime.Precise(l) : "", r.OrphanSince is { } o ? JapaneseTime.Precise(o) : "" })], ct);
    }
}
