using System.Globalization;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.Cards;

/// <summary>What a request leads to at the station, and what must hold before a card is handed over.</summary>
internal static class CardRequest
{
    internal static string Station(Request request) => $"/cards/station?request={request.Id}";

    /// <summary>The card that the new one replaces: named in the request, or none.</summary>
    internal static CardId? Replaced(Request request) => request.Kind is "cards.replace" || (request.Kind == "cards.consult" && request["act"] == "replace") ? CardId.TryParse(request["card"], null, out var card) ? card : null : null;

    internal static bool MakesCard(Request request) => request.Kind is "cards.issue" or "cards.replace" or "cards.temporary" || (request.Kind == "cards.consult" && request["act"] is "issue" or "replace");

    /// <summary>A card says whose it is.</summary>
    internal static async Task FillPersonAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => fields["person"] = (await work.AskAsync(CardRegister.Find(CardId.Parse(fields["card"])), ct))!.Person.Value;

    /// <summary>A card alone opens nothing: its holder needs a seat.</summary>
    internal static async Task<(string, string)?> SeatHintAsync(UnitOfWork work, PersonId? person, DateTimeOffset at, CancellationToken ct)
    {
        if (person is not { } who || (await work.AskAsync(TerminalRegister.Seats(null, who, at), ct)).Count > 0) return null;
        return (await work.AskAsync(RequestDesk.About(who.Value, null, null), ct)).Find(r => r.IsPending && r.Kind == "terminals.grant") is { } asked
            ? ("この人が使える端末は、まだありません。「端末の利用許可」の申請が、承認を待っています。", $"/requests/{asked.Id}")
            : ("この人が使える端末は、まだありません。カードができても、「端末の利用許可」が認められるまでサインインできません。", $"/requests/new/terminals.grant?person={who}");
    }

    /// <summary>Why nothing can be handed to this person, in Japanese; null: it can. <clause>MIC 5.4(1)③</clause></summary>
    internal static async Task<string?> HandOverProblemAsync(UnitOfWork work, Request request, PersonId person, DateTimeOffset at, CancellationToken ct)
    {
        if (await work.AskAsync(PeopleRegister.FindValid(person, at), ct) is null) return "この人は在籍していないか、権限が停止されています。";
        var own = await work.AskAsync(CardRegister.OfPerson(person), ct);
        if (request.Kind == "cards.temporary") return own.Exists(c => c.Request == request.Id && c.State == "personalised" && c.TemporaryUntil <= at) ? "このカードの使える時間は終わっています。" : own.Exists(c => c.TemporaryUntil is not null && c.State == "handed-over") ? "この人は、すでに当日限りのカードを使っています。" : null;
        var held = own.Where(c => c.TemporaryUntil is null && c.State is "handed-over" or "in-locker" or "suspended" or "revoked");
        return !held.Any() && (Replaced(request) is not { } old || await work.AskAsync(CardRegister.Find(old), ct) is not { State: "suspended" or "revoked" })
            ? null : "古いカードが回収されていません。先に回収するか、紛失を届け出てください(MIC 5.4(1)③)。";
    }
}

/// <summary>設定: a first card for a person. <clause>INA 第16-1</clause></summary>
internal sealed class IssueCardKind(TimeProvider time) : RequestKind
{
    public override string Name => "cards.issue";
    public override string Title => "カードの設定(新規発行)";
    public override string Explanation => "職員に操作識別カードを新しく発行します。管理者等が申請し、暗証番号管理者が発行所でカードを作り、本人に手渡します。最初の暗証番号は本人がその場で決めます。";
    public override IReadOnlyList<RequestField> Fields => [new("person", "カードを使う人", FieldType.Person)];
    public override string? ExecutedAt(Request request) => CardRequest.Station(request);
    public override Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct) => CardRequest.SeatHintAsync(work, request.Subject, time.GetUtcNow(), ct);

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        var person = PersonId.Parse(fields["person"]);
        if (await work.AskAsync(PeopleRegister.Find(person, time.GetUtcNow()), ct) is not { Standing: "valid" or "future" }) return "この人は在籍していないか、権限が停止されています。";
        return (await work.AskAsync(CardRegister.OfPerson(person), ct)).Any(c => c.TemporaryUntil is null && c.State is "handed-over" or "in-locker" or "suspended" or "personalised") ? "この人にはすでにカードがあります。「カードの変更(交換)」を申請してください。" : null;
    }

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);
}

/// <summary>変更: a new card in place of an old one. <clause>MIC 5.4(1)③</clause></summary>
internal sealed class ReplaceCardKind : RequestKind
{
    public override string Name => "cards.replace";
    public override string Title => "カードの変更(交換)";
    public override string Explanation => "古いカードの代わりに新しいカードを発行します。古いカードを回収するか紛失を届け出るまで、新しいカードは手渡せません。";
    public override IReadOnlyList<RequestField> Fields => [new("card", "古いカード", FieldType.Card)];
    public override string? ExecutedAt(Request request) => CardRequest.Station(request);

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        await work.AskAsync(CardRegister.Find(CardId.Parse(fields["card"])), ct) is { TemporaryUntil: null, State: not ("destroyed" or "spoiled" or "personalising") } ? null : "このカードは、交換できる状態ではありません。";

    public override Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => CardRequest.FillPersonAsync(work, fields, ct);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);
}

/// <summary>The card was left at home: one for today. The other one rests meanwhile.</summary>
internal sealed class TemporaryCardKind(TimeProvider time) : RequestKind
{
    public override string Name => "cards.temporary";
    public override string Title => "当日限りのカード";
    public override string Explanation => "カードを忘れた人に、今日の業務終了時刻で自動的に使えなくなるカードを渡します。本人のカードはその間使えません。貸出しの回数は記録されます。";
    public override IReadOnlyList<RequestField> Fields => [new("person", "カードを忘れた人", FieldType.Person)];
    public override string? ExecutedAt(Request request) => CardRequest.Station(request);

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        var person = PersonId.Parse(fields["person"]);
        if (await work.AskAsync(PeopleRegister.FindValid(person, time.GetUtcNow()), ct) is null) return "この人は在籍していないか、権限が停止されています。";
        return (await work.AskAsync(CardRegister.OfPerson(person), ct)).Any(c => c.TemporaryUntil is null && c.State is "handed-over" or "in-locker") ? null : "忘れたカードが登録されていません。新規発行を申請してください。";
    }

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);
}

/// <summary>取消: a card opens nothing any more, and is to come back. <clause>INA 第16-1, -2</clause></summary>
internal sealed class CancelCardKind(CardChange change) : RequestKind
{
    public override string Name => "cards.cancel";
    public override string Title => "カードの取消";
    public override string Explanation => "カードを使えなくします。実施と同時に、そのカードによる業務は終わります。カードは回収し、暗証番号管理者に返します。";
    public override IReadOnlyList<RequestField> Fields => [new("card", "取り消すカード", FieldType.Card)];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        await work.AskAsync(CardRegister.Find(CardId.Parse(fields["card"])), ct) is { } card && CardRule.After(card.State, "revoke") is not null ? null : "このカードは、取り消せる状態ではありません。";

    public override Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => CardRequest.FillPersonAsync(work, fields, ct);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => RevokeAsync(change, work, request, by);

    internal static async Task<string?> RevokeAsync(CardChange change, UnitOfWork work, Request request, PersonId by)
    {
        if (await change.RunAsync(work, CardId.Parse(request["card"]), "revoke", "取消", by, new Dictionary<string, string> { ["request"] = request.Id.ToString(CultureInfo.InvariantCulture), ["reason"] = request.Reason }) is not { } events) return "このカードは、取り消せる状態ではありません。";
        foreach (var one in events) History.HistoryLog.Record(work, one.Event, one.At);
        return null;
    }
}

/// <summary>A blocked PIN: card present, identity checked, a form's number, and a second person who watches.</summary>
internal sealed class UnblockPinKind : RequestKind
{
    public override string Name => "cards.unblock";
    public override string Title => "暗証番号の再設定";
    public override string Explanation => "暗証番号を忘れた、または誤りが続いて止まったカードに、本人が発行所で新しい暗証番号を決めます。本人確認と、実施者とは別の立会人が必要です。";
    public override bool NeedsSecondPerson => true;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("立会人")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        new("card", "カード", FieldType.Card), new("form", "申請書の番号", Hint: "本人が書いた紙の申請書の番号です。例: 令8-暗-015"),
        new("identity", "本人確認の方法", FieldType.Choice) { Choices = IdentityCheck.Choices },
    ];
    public override string? ExecutedAt(Request request) => CardRequest.Station(request);

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        await work.AskAsync(CardRegister.Find(CardId.Parse(fields["card"])), ct) is { State: "handed-over" } ? null : "このカードは、本人が使っているものではありません。";

    public override Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => CardRequest.FillPersonAsync(work, fields, ct);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);
}

/// <summary>The PIN manager acts on their own initiative: only after consultation with one of the 管理者等, who confirms it. <clause>INA 第16-3</clause></summary>
internal sealed class ConsultKind(CardChange change, TimeProvider time) : RequestKind
{
    public override string Name => "cards.consult";
    public override string Title => "暗証番号管理者の発意による設定・取消・変更";
    public override string Explanation => "暗証番号管理者が自ら設定・取消・変更を行う前に、管理者等と協議した記録です。協議した相手が確かめた後に実施できます。";
    public override bool RequesterMayExecute => true;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("協議した管理者等")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        new("act", "行うこと", FieldType.Choice) { Choices = [("issue", "設定(新規発行)"), ("replace", "変更(交換)"), ("cancel", "取消")] },
        new("person", "カードを使う人", FieldType.Person), new("card", "対象のカード", FieldType.Card, false), new("consulted", "協議した相手", FieldType.Person), new("outcome", "協議の結果", FieldType.Lines) { MaxLength = 1000 },
    ];
    public override string? ExecutedAt(Request request) => request["act"] == "cancel" ? null : CardRequest.Station(request);

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (fields["act"] != "issue" && fields["card"].Length == 0) return "対象のカードを選んでください。";
        if (fields["consulted"] == by.Value) return "ご自身とは協議できません。";
        if (fields["act"] == "issue") return fields["card"].Length == 0 ? await new IssueCardKind(time).ProblemAsync(work, fields, by, ct) : "新規発行では、対象のカードを空欄にしてください。";
        if (await work.AskAsync(CardRegister.Find(CardId.Parse(fields["card"])), ct) is not { } card || card.Person.Value != fields["person"]) return "このカードは、この人のものではありません。";
        return fields["act"] != "cancel" || CardRule.After(card.State, "revoke") is not null ? null : "このカードは、取り消せる状態ではありません。";
    }

    public override Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, MayDo may, CancellationToken ct) => Task.FromResult(may.Allows(asked.Operation) && may.Person!.Id.Value == request["consulted"]);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) =>
        request["act"] == "cancel" ? CancelCardKind.RevokeAsync(change, work, request, by) : Task.FromResult<string?>(null);
}

/// <summary>Cards of a request's form: by the holder's name, kana or number, or the card's own id.</summary>
internal sealed class CardOptions : IFieldOptions
{
    public FieldType Type => FieldType.Card;

    public async Task<IReadOnlyList<(string Value, string Label)>> FindAsync(UnitOfWork work, string text, DateTimeOffset at, CancellationToken ct)
    {
        var people = text.Trim().Length == 0 ? [] : await work.AskAsync(PeopleRegister.Search(text, at, 20), ct);
        var cards = await work.AskAsync(CardRegister.Search([], [.. people.Select(p => p.Id.Value)], text.Trim()), ct);
        var names = await work.AskAsync(PeopleRegister.Names(cards.Select(c => c.Person.Value), at), ct);
        return [.. cards.Where(c => c.State != "destroyed").Take(20).Select(c => (c.Id.Value, $"{names.GetValueOrDefault(c.Person.Value, "")} — {CardNames.State(c.State)} — {JapaneseTime.Day(c.ChangedAt)}"))];
    }
}

/// <summary>Japanese names of states.</summary>
public static class CardNames
{
    /// <summary>The kind of medium in a word.</summary>
    public static string Kind(string kind) => kind switch { "piv-card" => "ICカード", "fido-key" => "FIDOキー", "otp-token" => "ワンタイムパスワード生成器", _ => kind };

    /// <summary>The state in a word.</summary>
    public static string State(string state) => state switch
    {
        "personalising" => "作成中",
        "personalised" => "作成済み(手渡し前)",
        "handed-over" => "使用中",
        "in-locker" => "保管中",
        "suspended" => "一時停止",
        "lost" => "紛失",
        "revoked" => "取消(未回収)",
        "collected" => "回収済み(返還前)",
        "returned" => "返還済み",
        "spoiled" => "作成失敗(要廃棄)",
        "destroyed" => "廃棄済み",
        _ => state,
    };
}
