using System.ComponentModel.DataAnnotations;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>Blank cards: delivered, used, counted. <clause>INA 第16-6</clause></summary>
[Authorize("cards.stock"), Audited("cards.stock")]
internal sealed class StockModel(Store store, Exports exports, TimeProvider time) : PageModel
{
    internal sealed record Row(long Id, int Change, string Why, string By, DateTimeOffset At);

    [BindProperty, Range(-10000, 10000)] public int Change { get; set; }
    [BindProperty, StringLength(200)] public string? Why { get; set; }
    public long Left { get; private set; }
    public IReadOnlyList<Row> Rows { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public string? Problem { get; private set; }

    public async Task<IActionResult> OnGetAsync(string? format, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        Left = await CardTasks.StockAsync(work, ct);
        Rows = await work.QueryAsync($"select id, change, why, by, at from cards.stock where kind = 'piv-card' order by id desc limit 1000", r => new Row(r.GetInt64(0), r.GetInt32(1), r.GetString(2), r.GetString(3), r.GetFieldValue<DateTimeOffset>(4)), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Rows.Select(r => r.By), time.GetUtcNow()), ct);
        return format != "csv" ? Page() : await exports.CsvAsync(HttpContext, "stock", ["番号", "増減", "理由", "記入者", "日時"], [.. Rows.Select(r => new[] { $"{r.Id}", $"{r.Change}", r.Why, Names.GetValueOrDefault(r.By, r.By), JapaneseTime.Precise(r.At) })], ct);
    }

    public async Task<IActionResult> OnPostAsync(CancellationToken ct)
    {
        if (Change == 0 || Why?.Trim().Length is not >= 2 || !FreeText.Fits(Why)) (Problem, Response.StatusCode) = ("増減は0以外、理由は2文字以上で入力してください。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            await using var work = await store.BeginAsync(ct);
            work.Write($"insert into cards.stock (kind, change, why, by, at) values ('piv-card', {Change}, {Why.Trim()}, {PersonId.Of(User)}, {time.GetUtcNow()})");
            work.Record(new("cards.stock", HistoryOutcome.Done) { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["change"] = $"{Change}", ["why"] = Why.Trim() } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Redirect("/cards/stock");
        }
        await OnGetAsync(null, ct);
        return Page();
    }
}
