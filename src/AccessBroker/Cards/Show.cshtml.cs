using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Cards;

/// <summary>One card: its life so far, and what this person may do to it. A loss is one click, a reason, and done. <clause>MIC 5.4(1)②</clause></summary>
[Authorize("cards.read"), Audited("cards.act")]
internal sealed class ShowModel(Store store, Permissions permissions, Separation separation, CardChange change, HistorySpool history, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }
    [BindProperty, StringLength(100)] public string? Locker { get; set; }
    [BindProperty, StringLength(100)] public string? Method { get; set; }
    [BindProperty, StringLength(100)] public string? Witness { get; set; }
    [BindProperty, StringLength(1000)] public string? Unavoidable { get; set; }

    /// <summary>Act, operation, label, effect, and the word of the register.</summary>
    internal static readonly IReadOnlyList<(string Act, string Operation, string Label, string Effect, string What)> All =
    [
        ("report-lost", "cards.report-lost", "紛失を届け出る", "このカードは直ちに使えなくなり、このカードによる業務は数秒以内に終わります。", "紛失届"),
        ("find", "cards.collect", "見つかった", "紛失したカードが見つかりました。使えるようには戻りません。回収して返還・廃棄します。", "発見"),
        ("check-in", "cards.keep", "保管庫に入れる", "保管している間、このカードは使えません。", "保管"),
        ("check-out", "cards.keep", "保管庫から出す", "本人に渡します。使えるようになります。", "払出し"),
        ("collect", "cards.collect", "回収する", "本人から受け取りました。使えなくなり、暗証番号管理者への返還待ちになります。", "回収"),
        ("receive", "cards.receive", "返還を受領する", "管理者等から受け取りました。回収した人とは別の人が受領します。", "返還受領"),
        ("destroy", "cards.destroy", "廃棄する", "復元できない方法で壊し、方法と立会人を記録します。", "廃棄"),
        ("bring-back", "cards.keep", "一時停止を解く", "本人がカードを持ってきました。使えるようになります。", "再開"),
        ("inspect", "cards.inspect", "点検した", "現物を確かめました。", "点検"),
    ];

    private static readonly IReadOnlyList<(string Kind, string Label, string[] States)> Requestable =
    [
        ("cards.replace", "交換を申請する", ["handed-over", "in-locker", "lost", "revoked", "collected"]),
        ("cards.unblock", "暗証番号の再設定を申請する", ["handed-over"]),
        ("cards.cancel", "取消を申請する", ["personalised", "handed-over", "in-locker", "suspended"]),
    ];

    public Card Card { get; private set; } = null!;
    public string HolderName { get; private set; } = "";
    /// <summary>Names of the terminals its holder may use.</summary>
    public IReadOnlyList<string> Seats { get; private set; } = [];
    public IReadOnlyList<RegisterLine> Course { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public IReadOnlyList<(string Act, string Label, string Effect)> Acts { get; private set; } = [];
    public IReadOnlyList<(string Kind, string Label)> Requests { get; private set; } = [];
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public string? Blocked { get; private set; }
    public string Name(string? id) => id is null ? "" : Names.GetValueOrDefault(id, id);

    public async Task<IActionResult> OnGetAsync(CardId id, CancellationToken ct) => await LoadAsync(id, ct) ? Page() : NotFound();

    public async Task<IActionResult> OnPostAsync(CardId id, string act, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return NotFound();
        if (Acts.All(a => a.Act != act))
        {
            var operation = All.FirstOrDefault(a => a.Act == act).Operation ?? "cards.act";
            await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User), Card = id }, time.GetUtcNow(), ct);
            return (await permissions.OfAsync(User, ct)).Allows(operation) ? StatusCode(StatusCodes.Status409Conflict) : Forbid();
        }
        if (await ProblemAsync(act, ct) is { } problem) (Message, Response.StatusCode) = (problem, StatusCodes.Status422UnprocessableEntity);
        else if (await RunAsync(id, act, ct)) (Succeeded, Message) = (true, "記録しました。");
        else if (Message is null) (Message, Response.StatusCode) = ("カードの状態が変わりました。読み直してください。", StatusCodes.Status409Conflict);
        await LoadAsync(id, ct);
        return Page();
    }

    private async Task<string?> ProblemAsync(string act, CancellationToken ct)
    {
        if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) return "理由を2文字以上で書いてください。";
        if (act == "check-in" && string.IsNullOrWhiteSpace(Locker)) return "保管場所を書いてください。";
        if (act != "destroy") return null;
        if (string.IsNullOrWhiteSpace(Method)) return "廃棄の方法を書いてください。";
        var found = await store.AskAsync(PeopleRegister.Search(Witness ?? "", time.GetUtcNow(), 50).Select(people => people.Where(p => p.Standing == "valid").ToList()), ct);
        if (string.IsNullOrWhiteSpace(Witness) || found is not [var witness]) return "立会人を、氏名か職員番号で一人に決まるように書いてください。";
        Witness = witness.Id.Value;
        return witness.Id == PersonId.Of(User) ? "立会人は、廃棄する本人とは別の人です。" : null;
    }

    private async Task<bool> RunAsync(CardId id, string act, CancellationToken ct)
    {
        var by = PersonId.Of(User);
        var (_, _, _, _, what) = All.First(a => a.Act == act);
        var more = new Dictionary<string, string> { ["reason"] = Reason!.Trim() };
        if (act == "destroy") (more["method"], more["witness"]) = (Method!.Trim(), Witness!);
        if (act is not ("check-out" or "bring-back" or "inspect" or "receive")) return await CardChange.NarrowAsync(change, history, id, act, what, by, more, act == "check-in" ? Locker!.Trim() : act == "collect" ? "" : null);
        await using var work = await store.BeginAsync(ct);
        if (act == "inspect") return await InspectAsync(work, id, by, more, ct);
        if (act == "receive" && Card.CollectedBy is { } collector)
        {
            var verdict = await separation.JudgeAsync(work, Act.Execute, await permissions.OfAsync(work, by, ct), new(collector, [], Card.Person.Value), null, $"カード {id} の返還の受領", Unavoidable, ct);
            if (verdict is Separation.Verdict.Forbidden forbidden)
            {
                (Message, Response.StatusCode, Blocked) = (string.Concat(forbidden.Rules.Select(Separation.Sentence)), StatusCodes.Status403Forbidden, forbidden.MayBeUnavoidable ? act : null);
                work.Record(new("cards.receive", HistoryOutcome.Refused, $"approvals.{forbidden.Rules[0]}") { Person = by, Card = id }, time.GetUtcNow());
                await work.CommitAsync(ct);
                return false;
            }
        }
        if (await change.RunAsync(work, id, act, what, by, more, act == "check-out" ? "" : null) is not { } events) return false;
        foreach (var one in events) work.Record(one.Event, one.At);
        await work.CommitAsync(ct);
        return true;
    }

    private async Task<bool> InspectAsync(UnitOfWork work, CardId id, PersonId by, Dictionary<string, string> more, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        if (await work.AskAsync(CardRegister.Lock(id), ct) is not { State: "handed-over" or "in-locker" } card) return false;
        work.Write($"update cards.cards set inspected_at = {now} where id = {id}");
        work.Enter("cards", id.Value, "点検", by.Value, card.Entry().Concat(more).ToDictionary(), now);
        work.Record(new("cards.inspect", HistoryOutcome.Done) { Person = by, Card = id, Details = more }, now);
        await work.CommitAsync(ct);
        return true;
    }

    private async Task<bool> LoadAsync(CardId id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var (found, course) = (CardRegister.Find(id), RegisterLog.Course("cards", id.Value));
        await work.AskAsync(ct, found, course);
        if (found.Answer is not { } card) return false;
        (Card, Course) = (card, course.Answer);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        Acts = [.. All.Where(a => may.Allows(a.Operation) && (a.Act == "inspect" ? card.State is "handed-over" or "in-locker" : CardRule.After(card.State, a.Act) is not null)).Select(a => (a.Act, a.Label, a.Effect))];
        Requests = [.. Requestable.Where(r => r.States.Contains(card.State) && may.Allows(r.Kind.Replace(".", ".request-", StringComparison.Ordinal))).Select(r => (r.Kind, r.Label))];
        Names = await work.AskAsync(PeopleRegister.Names(Course.SelectMany(l => new[] { l.By, l.Fields.GetValueOrDefault("witness", "") }).Append(card.Person.Value), time.GetUtcNow()), ct);
        HolderName = Name(card.Person.Value);
        var seats = new List<string>();
        foreach (var terminal in (await work.AskAsync(TerminalRegister.Seats(null, card.Person, time.GetUtcNow()), ct)).Select(s => s.Terminal).Distinct()) seats.Add((await work.AskAsync(TerminalRegister.Find(terminal), ct))?.Name ?? terminal.Value);
        Seats = seats;
        return true;
    }
}
