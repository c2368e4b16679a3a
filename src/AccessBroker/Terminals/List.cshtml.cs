using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Registers;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Terminals;

/// <summary>All terminals, searched by id, name, place or system.</summary>
[Authorize("terminals.read")]
internal sealed class ListModel(Store store, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Text { get; set; }
    public IReadOnlyList<TerminalLine> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        Rows = await work.AskAsync(TerminalRegister.Search(Text ?? ""), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.Select(r => r.Responsible.Value), time.GetUtcNow()), ct);
        if (format != "csv") return Page();
        return await exports.CsvAsync(HttpContext, "terminals", ["番号", "名称", "設置場所", "系統", "アドレス", "管理責任者", "状態"],
            [.. Rows.Select(r => new[] { r.Id.Value, r.Name, r.Place, r.System, r.Address, Names.GetValueOrDefault(r.Responsible.Value, ""), StateName(r.State) })], ct);
    }

    internal static string StateName(string state) => state switch { "in-use" => "使用中", "disabled" => "利用停止", "lost" => "紛失", "isolated" => "切離し", "out" => "持出し中", "quarantine" => "検査待ち", _ => state };
}
