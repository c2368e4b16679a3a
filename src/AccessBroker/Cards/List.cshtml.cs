using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>Cards by state and holder: in use, not yet returned, due for inspection, …</summary>
[Authorize("cards.read")]
internal sealed class ListModel(Store store, Exports exports, Active<CardsPolicy> policy, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Text { get; set; }
    [BindProperty(SupportsGet = true), StringLength(40)] public string? State { get; set; }
    public IReadOnlyList<Card> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();

    internal static readonly IReadOnlyList<(string Value, string Label)> Filters = [("", "すべて"), ("handed-over", "使用中"), ("outstanding", "未返還"), ("personalised", "作成済み(手渡し前)"), ("in-locker", "保管中"), ("lost", "紛失"), ("returned", "返還済み"), ("spoiled", "作成失敗(要廃棄)"), ("temporary", "当日限り"), ("inspection", "点検の時期")];

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.ReadAsync(ct);
        var people = Text is { Length: > 0 } ? await work.AskAsync(PeopleRegister.Search(Text, now), ct) : [];
        string[] states = State switch { null or "" or "temporary" => [], "outstanding" => ["revoked", "collected", "suspended"], "inspection" => ["handed-over", "in-locker"], { } one => [one] };
        Rows = await work.AskAsync(CardRegister.Search(states, [.. people.Select(p => p.Id.Value)], Text?.Trim() ?? "", State == "temporary", State == "inspection" ? now - policy.Now.InspectionEvery : null), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.Select(r => r.Person.Value), now), ct);
        if (format != "csv") return Page();
        return await exports.CsvAsync(HttpContext, "cards", ["カード", "使用者", "状態", "保管場所", "当日限り", "変更日時", "点検"],
            [.. Rows.Select(r => new[] { r.Id.Value, $"{Names.GetValueOrDefault(r.Person.Value, "")} ({r.Person})", CardNames.State(r.State), r.Locker, r.TemporaryUntil is { } u ? JapaneseTime.Precise(u) : "", JapaneseTime.Precise(r.ChangedAt), r.InspectedAt is { } i ? JapaneseTime.Precise(i) : "" })], ct);
    }
}
