using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Staff;

/// <summary>People, by name, kana, number, section or post, as of a day.</summary>
[Authorize("people.read")]
internal sealed class ListModel(Store store, Exports exports, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Text { get; set; }
    [BindProperty(SupportsGet = true)] public DateOnly? AsOf { get; set; }
    public IReadOnlyList<PersonLine> Rows { get; private set; } = [];

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        var at = AsOf is { } day ? JapaneseTime.EndOf(day).AddTicks(-1) : time.GetUtcNow();
        Rows = await store.AskAsync(PeopleRegister.Search(Text ?? "", at, format == "csv" ? 50_000 : 200), ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "people", ["ID", "職員番号", "氏名", "カナ", "所属と職名", "役割", "雇用区分", "状態", "登録", "退職"],
            [.. Rows.Select(r => new[] { r.Id.Value, r.StaffNumber ?? "", r.Name, r.Kana, string.Join("、", r.Posts), string.Join(" ", r.Roles), r.Employment, StandingName(r.Standing), JapaneseTime.Precise(r.ValidFrom), r.ValidUntil is { } u ? JapaneseTime.Precise(u) : "" })], ct);
    }

    internal static string EmploymentName(string employment) => employment switch { "regular" => "正規", "temporary" => "会計年度任用・臨時", "contractor" => "委託先", _ => employment };
    internal static string StandingName(string standing) => standing switch { "valid" => "在籍", "future" => "採用予定", "left" => "退職", "suspended" => "権限停止", _ => standing };
}
