using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.FilePermissions;

/// <summary>Who may use this file and why; what may this person use; both as of any day. A right is ended here at once. <clause>MOJ 第5-4(4), MIC 2(2)①</clause></summary>
[Authorize("files.read"), Audited("files.end-grant")]
internal sealed class RightsModel(Store store, Permissions permissions, EndGrants end, IEnumerable<IFieldOptions> options, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }

    /// <summary>One line: who or where, what of it is allowed, what is not although granted.</summary>
    internal sealed record Line(string Key, IReadOnlyList<string> May, IReadOnlyList<(string Action, string Reason)> MayNot);

    public string? Path { get; private set; }
    public PersonLine? Person { get; private set; }
    public DateOnly On { get; private set; }
    /// <summary>A past day, or one to come: as far as is known now.</summary>
    public bool IsOtherDay { get; private set; }
    public IReadOnlyList<SetLine> Sets { get; private set; } = [];
    /// <summary>There is more than the page shows.</summary>
    public bool IsCut { get; private set; }
    public IReadOnlyList<GrantLine> Grants { get; private set; } = [];
    public IReadOnlyList<Line> Lines { get; private set; } = [];
    /// <summary>People whom the typed text fits, when it is more than one.</summary>
    public IReadOnlyList<(string Value, string Label)> Found { get; private set; } = [];
    public MayDo May { get; private set; } = null!;
    public string? Problem { get; private set; }
    public string? Message { get; private set; }
    internal Subjects Names { get; private set; } = Subjects.None;
    public static string Class(int? level) => level switch { null => "", 0 => "未確定(3として扱う)", _ => $"機密性{level}" };
    public static string Why(string reason) => reason switch { "denied" => "拒否されています", "in-batch" => "一括処理中です", _ => reason };

    /// <param name="who">What somebody typed for a person: name, kana, staff number, section.</param>
    public async Task<IActionResult> OnGetAsync([StringLength(1000)] string? path, PersonId? person, DateOnly? on, [StringLength(100)] string? who, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        On = on ?? JapaneseTime.DayOf(now);
        // A past day is judged at its end, today as of now.
        var at = On == JapaneseTime.DayOf(now) ? now : JapaneseTime.EndOf(On).AddSeconds(-1);
        IsOtherDay = On != JapaneseTime.DayOf(now);
        await using var work = await store.ReadAsync(ct);
        May = await permissions.OfAsync(work, PersonId.Of(User), ct);
        Sets = await work.AskAsync(FileRegister.SetLines(), ct);
        if (person is null && !string.IsNullOrWhiteSpace(who))
        {
            Found = await options.First(o => o.Type == FieldType.Person).FindAsync(work, who, now, ct);
            if (Found.Count == 0) Problem = "当てはまるものが見つかりません。";
            if (Found is [var only]) (person, path) = (PersonId.Parse(only.Value), null);
        }
        if (!string.IsNullOrWhiteSpace(path)) await OfPathAsync(work, path.Trim(), at, ct);
        else if (person is { } one) await OfPersonAsync(work, one, at, ct);
        Names = await Subjects.OfAsync(work, [.. Grants.SelectMany(g => new[] { g.Grant.Subject, g.RequestedBy }), .. Path is null ? [] : Lines.Select(l => l.Key)], now, ct);
        return Page();
    }

    /// <summary>Ends a right at once: what narrows waits for nobody's yes.</summary>
    public async Task<IActionResult> OnPostAsync(long grant, [StringLength(1000)] string? path, PersonId? person, CancellationToken ct)
    {
        await OnGetAsync(path, person, null, null, ct);
        if (!May.Allows("files.end-grant"))
        {
            await store.RecordAsync(new("files.end-grant", HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
            return Forbid();
        }
        if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true))
        {
            (Message, Response.StatusCode) = ("理由を2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
            return Page();
        }
        var ended = await end.RunAsync([grant], PersonId.Of(User), Reason.Trim());
        await OnGetAsync(path, person, null, null, ct);
        Message = ended > 0 ? "終了しました。進行中のダウンロードも切れます。" : "この許可は、すでに終わっています。";
        return Page();
    }

    private async Task OfPathAsync(UnitOfWork work, string given, DateTimeOffset at, CancellationToken ct)
    {
        if (FilePath.Parse(given) is not { } path)
        {
            Problem = "場所の書き方が正しくありません。「/」から始め、「..」や末尾の「/」などは使えません。";
            return;
        }
        Path = path;
        if (!FileRule.Chain(path).Any(level => Sets.Any(s => s.Set.Resource == level))) Problem = "この場所も、その上の場所も登録されていません。登録されていない場所は、だれも使えません。";
        var (everybody, grants) = (FileRegister.Everybody(path, at), FileRegister.LinesOn(FileRule.Chain(path), at));
        await work.AskAsync(ct, everybody, grants);
        (Grants, Lines, IsCut) = (grants.Answer, Group(everybody.Answer), everybody.Answer.Count >= FileRegister.MostLines);
    }

    private async Task OfPersonAsync(UnitOfWork work, PersonId who, DateTimeOffset at, CancellationToken ct)
    {
        var (line, everywhere, grants) = (PeopleRegister.Find(who, at), FileRegister.Everywhere(who, at), FileRegister.LinesOf(who, at));
        await work.AskAsync(ct, line, everywhere, grants);
        (Person, Grants, Lines, IsCut) = (line.Answer, grants.Answer, Group(everywhere.Answer), everywhere.Answer.Count >= FileRegister.MostLines);
    }

    private static List<Line> Group(IEnumerable<(string Key, string Action, bool Allowed, string Reason, long? Grant)> answers) =>
        [.. answers.GroupBy(a => a.Key).Select(g => new Line(g.Key, [.. Ordered(g).Where(a => a.Allowed).Select(a => a.Action)], [.. Ordered(g).Where(a => !a.Allowed).Select(a => (a.Action, a.Reason))]))];

    private static IEnumerable<(string Key, string Action, bool Allowed, string Reason, long? Grant)> Ordered(IEnumerable<(string Key, string Action, bool Allowed, string Reason, long? Grant)> answers) => FileRule.Actions.SelectMany(action => answers.Where(a => a.Action == action));
}
