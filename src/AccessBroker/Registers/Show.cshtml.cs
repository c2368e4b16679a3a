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

namespace AccessBroker.Registers;

/// <summary>A register as of a day: on the screen, on paper (A4), as CSV. Each look is an event. <clause>INA 第14(5)</clause></summary>
[Authorize, Audited("registers.add")]
internal sealed class ShowModel(Store store, IEnumerable<Register> registers, Permissions permissions, TimeProvider time) : PageModel
{
    [BindProperty(SupportsGet = true)] public DateOnly? AsOf { get; set; }
    [BindProperty(SupportsGet = true), StringLength(200)] public string? Subject { get; set; }
    [BindProperty] public Dictionary<string, string> Entry { get; set; } = [];

    public Register Register { get; private set; } = null!;
    public IReadOnlyList<RegisterLine> Lines { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public DateTimeOffset At { get; private set; }
    public bool MayAdd { get; private set; }
    public string? Problem { get; private set; }

    public async Task<IActionResult> OnGetAsync(string name, string? format, CancellationToken ct)
    {
        if (await ForbiddenAsync(name, ct) is { } refused) return refused;
        await LoadAsync(format, ct);
        if (format != "csv") return Page();
        var rows = Lines.Select(l => new[] { l.Subject }.Concat(Register.Columns.Select(c => Text(l, c.Field))).Concat([l.What, Person(l.By), JapaneseTime.Precise(l.At)]));
        return File(Csv.Write(["番号", .. Register.Columns.Select(c => c.Heading), "内容", "記入者", "記入日時"], rows), "text/csv; charset=utf-8", $"{Register.Name}-{JapaneseTime.ToLocal(At):yyyyMMdd}.csv");
    }

    /// <summary>An entry by hand, for the register of configuration only. <clause>INA 第14(5)</clause></summary>
    public async Task<IActionResult> OnPostAsync(string name, CancellationToken ct)
    {
        if (await ForbiddenAsync(name, ct) is { } refused) return refused;
        if (!MayAdd) return Forbid();
        var fields = Register.Columns.ToDictionary(c => c.Field, c => Entry.GetValueOrDefault(c.Field)?.Trim() ?? "");
        if (fields["name"].Length == 0 || fields["kind"].Length == 0 || fields.Values.Any(v => v.Length > FreeText.LongestName || !FreeText.Fits(v)))
            Problem = "区分と名称は必須です。どの欄も200文字までで、制御文字は使えません。";
        else
        {
            await using var work = await store.BeginAsync(ct);
            var by = PersonId.Of(User);
            work.Enter(Register.Name, fields["name"], Entry.ContainsKey("removed") ? "廃止" : "記入", by.Value, fields, time.GetUtcNow(), Entry.ContainsKey("removed"));
            work.Record(new("registers.add", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["register"] = Register.Name, ["subject"] = fields["name"] } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Redirect($"/registers/{Register.Name}");
        }
        await LoadAsync(null, ct);
        return Page();
    }

    public string Text(RegisterLine line, string field) =>
        line.Fields.GetValueOrDefault(field) is not { Length: > 0 } value ? "" : Register.PersonColumns.Contains(field) ? Person(value) : Register.Words.TryGetValue(field, out var word) ? word(value) : value;
    public string Person(string id) => id == "setup" ? "初期設定" : Names.GetValueOrDefault(id) is { } name ? $"{name} ({id})" : id;

    private async Task<IActionResult?> ForbiddenAsync(string name, CancellationToken ct)
    {
        if (registers.FirstOrDefault(r => r.Name == name) is not { } found) return NotFound();
        Register = found;
        var may = await permissions.OfAsync(User, ct);
        MayAdd = name == "configuration" && may.Allows("registers.add");
        if (may.Allows(found.Operation)) return null;
        await store.RecordAsync(new("registers.read", HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["register"] = name } }, time.GetUtcNow(), ct);
        return Forbid();
    }

    private async Task LoadAsync(string? format, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        At = AsOf is { } day && JapaneseTime.EndOf(day) is var end && end < now ? end : now;
        await using var work = await store.BeginAsync(ct);
        Lines = await work.AskAsync(Subject is { Length: > 0 } subject ? RegisterLog.Course(Register.Name, subject) : RegisterLog.AsOf(Register.Name, At), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Lines.Select(l => l.By).Concat(Lines.SelectMany(l => Register.PersonColumns.Select(c => l.Fields.GetValueOrDefault(c, "")))), At), ct);
        var by = PersonId.Of(User);
        work.Record(new(format is null ? "registers.read" : "registers.export", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["register"] = Register.Name, ["asOf"] = $"{At:O}", ["lines"] = $"{Lines.Count}", ["subject"] = Subject ?? "" } }, now);
        await work.CommitAsync(ct);
    }
}
