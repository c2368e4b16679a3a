using System.Globalization;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.FilePermissions;

/// <summary>A right to files, or its refusal: section heads propose, one of the two who administer rights approves; always with a reason and an end. <clause>MOJ 第5-4(4), MIC 6.2趣旨</clause></summary>
internal sealed class GrantFilesKind(Wakeups wakeups, TimeProvider time) : RequestKind
{
    /// <summary>Ours: a year and a day at most.</summary>
    private const int MostDays = 366;

    public override string Name => "files.grant";
    public override string Title => "ファイルの利用許可";
    public override string Explanation => "職員・課・職に、ファイルやフォルダーの利用を期限付きで認めます(または拒否します)。拒否は許可に優先します。所属長などが提案し、統括情報セキュリティ責任者か情報システム管理者が承認すると有効になります。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者または情報システム管理者")];
    internal static readonly RequestField[] Given =
    [
        FileRequest.Path, .. FileRequest.To,
        new("actions", "認めること", FieldType.Choice) { Choices = [("read", "閲覧"), ("read print", "閲覧・印刷"), ("read write", "閲覧・更新"), ("read write print", "閲覧・更新・印刷")] },
        new("effect", "効力", FieldType.Choice) { Choices = [("allow", "許可する"), ("deny", "拒否する(持出し・削除も含むすべて。ほかの許可に優先)")] },
        new("upTo", "機密性の上限", FieldType.Choice) { Choices = [("3", "機密性3まで"), ("2", "機密性2まで"), ("1", "機密性1まで")] },
        new("from", "開始日", FieldType.Day, false, "空欄は承認された時から"), new("until", "最終日", FieldType.Day, true, "必ず期限を付けます。1年以内"),
    ];
    public override IReadOnlyList<RequestField> Fields => Given;

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (FilePath.Parse(fields["path"]) is not { } path) return FileRequest.BadPath;
        if (!await FileRequest.IsKnownAsync(work, path, ct)) return FileRequest.UnknownPlace;
        var (from, until) = (FileRequest.From(fields, time.GetUtcNow()), JapaneseTime.EndOf(FileRequest.Day(fields["until"])));
        if (until <= from || until > from.AddDays(MostDays)) return "最終日は、開始日以後で1年以内にしてください。";
        return (await FileRequest.SubjectAsync(work, fields, time.GetUtcNow(), ct)).Problem;
    }

    /// <summary>What it would change, and for how many.</summary>
    public override async Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct)
    {
        if (request.State == "done") return ("いまの様子は、ファイルの利用権限の画面で確かめられます。", $"/files?path={Uri.EscapeDataString(request["path"])}");
        if (await FileRequest.GrantAsync(work, request.Fields, time.GetUtcNow(), ct) is not ({ } grant, _)) return null;
        var effect = await FileEffect.OfAsync(work, grant, time.GetUtcNow(), ct);
        var changed = effect.Changes.Select(c => c.Person).Distinct().Count();
        return ($"当てはまるのは {effect.People} 人で、{(changed == 0 ? "だれの利用も変わりません(格付の上限・所管・担当者限定・ほかの許可を確かめてください)。" : $"うち {changed} 人の利用が変わります。")}", $"/files/effect?request={request.Id}");
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var now = time.GetUtcNow();
        var grant = (await FileRequest.GrantAsync(work, request.Fields, now, ct)).Grant!;
        if (!grant.Deny && (await work.AskAsync(FileRegister.Subjects(by, now), ct)).Subjects.Contains(grant.Subject)) return "自分が当てはまる許可は、ほかの人が承認します。";
        await FileRequest.AddAsync(work, grant, request, by, now, ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}

/// <summary>A refusal ends: others' permissions count again, so it is approved like a permission. <clause>MIC 6.2趣旨</clause></summary>
internal sealed class LiftDenialKind(Wakeups wakeups, TimeProvider time) : RequestKind
{
    public override string Name => "files.lift";
    public override string Title => "ファイルの利用拒否の解除";
    public override string Explanation => "拒否を終えると、もとの許可がまた効きます。統括情報セキュリティ責任者か情報システム管理者が承認すると有効になります。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者または情報システム管理者")];
    public override IReadOnlyList<RequestField> Fields => [new("grant", "拒否の番号", Hint: "「ファイルの利用権限」の画面から申請すると、番号が入ります。")];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        await LineAsync(work, fields["grant"], ct) is { Grant.Deny: true, EndedAt: null } line && line.Grant.Until > time.GetUtcNow() ? null : "この番号の拒否はないか、すでに終わっています。";

    public override async Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct) =>
        await LineAsync(work, request["grant"], ct) is { } line ? ($"拒否: {line.Grant.Resource} {FileRequest.Words(line.Grant.Actions)}(理由: {line.Reason})", $"/files?path={Uri.EscapeDataString(line.Grant.Resource)}") : null;

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        if (await LineAsync(work, request["grant"], ct) is not { } line) return "この番号の拒否はないか、すでに終わっています。";
        if ((await work.AskAsync(FileRegister.Subjects(by, now), ct)).Subjects.Contains(line.Grant.Subject)) return "自分が当てはまる拒否は、ほかの人が承認します。";
        if (!await FileRegister.EndAsync(work, line.Grant.Id, denial: true, by.Value, now, ct)) return "この番号の拒否はないか、すでに終わっています。";
        work.Enter(FileRequest.Register, $"grant-{line.Grant.Id.ToString(CultureInfo.InvariantCulture)}", "拒否の解除", by.Value, FileRequest.Entry(line.Grant, request.Reason), now, removed: true);
        work.Record(new("files.lift-denial", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["grant"] = $"{line.Grant.Id}", ["path"] = line.Grant.Resource, ["to"] = line.Grant.Subject, ["why"] = request.Reason } }, now);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }

    private static async Task<GrantLine?> LineAsync(UnitOfWork work, string number, CancellationToken ct) =>
        long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? await work.AskAsync(FileRegister.Line(id), ct) : null;
}

/// <summary>What one person may do on this day only, with the yes of the 情報セキュリティ管理者 and of those who administer rights.</summary>
internal abstract class OneDayFilesKind(Wakeups wakeups, TimeProvider time) : RequestKind
{
    /// <summary>What the grant allows.</summary>
    protected abstract string Action { get; }
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("情報セキュリティ管理者", "manager"), Step("統括情報セキュリティ責任者または情報システム管理者", "administration")];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        FilePath.Parse(fields["path"]) is not { } path ? FileRequest.BadPath
        : !await FileRequest.IsKnownAsync(work, path, ct) ? FileRequest.UnknownPlace
        : await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(fields["person"]), time.GetUtcNow()), ct) is null ? "この人は在籍していないか、権限が停止されています。" : null;

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var now = time.GetUtcNow();
        await FileRequest.AddAsync(work, new(0, FilePath.Parse(request["path"])!, $"person:{request["person"]}", [Action], false, 3, new Dictionary<string, JsonElement>(), now, JapaneseTime.EndOf(JapaneseTime.DayOf(now))), request, by, now, ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}

/// <summary>Taking files out. <clause>MIC 2(2)⑧⑨, 3(1)②(イ)</clause></summary>
internal sealed class ExportFilesKind(Wakeups wakeups, TimeProvider time) : OneDayFilesKind(wakeups, time)
{
    protected override string Action => "export";
    public override string Name => "files.export";
    public override string Title => "ファイルの持出しの許可";
    public override string Explanation => "一人の職員に、その日限りのファイルの持出し(外部への提供、媒体への書出し)を認めます。情報セキュリティ管理者と、統括情報セキュリティ責任者か情報システム管理者の、両方の承認が必要です。";
    public override IReadOnlyList<RequestField> Fields => [FileRequest.Path, new("person", "持ち出す人", FieldType.Person), new("purpose", "提供先と目的", FieldType.Lines) { MaxLength = 500 }];
}

/// <summary>Disposing of files: with permission, and a record of when, who and how. <clause>MOJ 第5-8(1)ア, MIC 2(2)⑩</clause></summary>
internal sealed class DisposeFilesKind(Wakeups wakeups, TimeProvider time) : OneDayFilesKind(wakeups, time)
{
    protected override string Action => "delete";
    public override string Name => "files.dispose";
    public override string Title => "ファイルの消去の許可";
    public override string Explanation => "一人の職員に、その日限りのファイルの消去を認めます。消した人と日時は、操作履歴に残ります。情報セキュリティ管理者と、統括情報セキュリティ責任者か情報システム管理者の、両方の承認が必要です。";
    public override IReadOnlyList<RequestField> Fields => [FileRequest.Path, new("person", "消去する人", FieldType.Person), new("treatment", "消去する理由と、控えの扱い", FieldType.Lines) { MaxLength = 500 }];
}
