using System.Globalization;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;
using Microsoft.Extensions.Localization;

namespace AccessBroker.FilePermissions;

/// <summary>What requests about files share: whom, what, how long.</summary>
internal static class FileRequest
{
    internal const string Register = "file-rights";

    internal static readonly RequestField Path = new("path", "ファイルまたはフォルダー", Hint: "「/」から始まる場所です。フォルダーは、その下のすべてを含みます。例: /住民/令和8") { MaxLength = 1000 };
    internal static readonly RequestField[] To =
    [
        new("to", "与える相手", FieldType.Choice) { Choices = [("person", "一人の職員"), ("section", "課の全員"), ("post", "課の中の職")] },
        new("person", "職員", FieldType.Person, false, "一人の職員に与えるとき"), new("section", "課", FieldType.Text, false, "課または職に与えるとき。例: 市民課"), new("post", "職", FieldType.Text, false, "職に与えるとき。例: 窓口担当"),
    ];

    /// <summary>The subject, or what is wrong, in Japanese.</summary>
    internal static async Task<(string Subject, string? Problem)> SubjectAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, DateTimeOffset at, CancellationToken ct)
    {
        if (fields["to"] == "person") return fields["person"].Length == 0 ? ("", "職員を選んでください。") : ($"person:{fields["person"]}", await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(fields["person"]), at), ct) is null ? "この人は在籍していないか、権限が停止されています。" : null);
        if (fields["section"].Length == 0 || (fields["to"] == "post" && fields["post"].Length == 0)) return ("", "課(職に与えるときは職も)を書いてください。");
        var section = await SectionAsync(work, fields["section"], at, ct);
        var subject = fields["to"] == "section" ? $"section:{section}" : $"post:{section}/{fields["post"]}";
        return (subject, await work.AskAsync(FileRegister.Has(subject, at), ct) == 0 ? "この課・職には、だれもいません。綴りを確かめてください。" : null);
    }

    /// <summary>The code of a section that people call by its name.</summary>
    internal static async Task<string> SectionAsync(UnitOfWork work, string given, DateTimeOffset at, CancellationToken ct)
    {
        var sections = await work.AskAsync(PeopleRegister.SectionsAt(at), ct);
        return sections.ContainsKey(given) ? given : sections.Where(s => s.Value == given).Select(s => s.Key).ToList() is [var code] ? code : given;
    }

    /// <summary>The grant that a request asks for, or what is wrong, in Japanese.</summary>
    internal static async Task<(FileGrant? Grant, string? Problem)> GrantAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, DateTimeOffset now, CancellationToken ct)
    {
        if (FilePath.Parse(fields["path"]) is not { } path) return (null, BadPath);
        var (subject, problem) = await SubjectAsync(work, fields, now, ct);
        return problem is not null ? (null, problem)
            : (new(0, path, subject, fields["actions"].Split(' '), fields["effect"] == "deny", int.Parse(fields["upTo"], CultureInfo.InvariantCulture), new Dictionary<string, JsonElement>(), From(fields, now), JapaneseTime.EndOf(Day(fields["until"]))), null);
    }

    internal const string BadPath = "場所の書き方が正しくありません。「/」から始め、「..」や末尾の「/」などは使えません。";
    internal const string UnknownPlace = "この場所は登録されていません。先に「ファイルの登録・格付」を申請してください。";

    internal static DateTimeOffset From(IReadOnlyDictionary<string, string> fields, DateTimeOffset now) => fields.GetValueOrDefault("from") is { Length: > 0 } day && JapaneseTime.StartOf(Day(day)) is var start && start > now ? start : now;
    internal static DateOnly Day(string text) => DateOnly.ParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture);

    internal static string Word(string action) => action switch { "read" => "閲覧", "write" => "更新", "print" => "印刷", "export" => "持出し", "delete" => "削除", _ => action };

    internal static string Words(IEnumerable<string> actions) => string.Join("・", actions.Select(Word));

    /// <summary>In the reader's language.</summary>
    internal static string Words(IEnumerable<string> actions, IStringLocalizer text) => string.Join(text["・"], actions.Select(a => text[Word(a)].Value));

    internal static Dictionary<string, string> Entry(FileGrant grant, string reason) => new()
    {
        ["path"] = grant.Resource,
        ["subject"] = grant.Subject,
        ["actions"] = Words(grant.Actions),
        ["effect"] = grant.Deny ? "拒否" : "許可",
        ["upTo"] = $"機密性{grant.UpTo}まで",
        ["from"] = JapaneseTime.Precise(grant.From),
        ["until"] = JapaneseTime.Precise(grant.Until),
        ["reason"] = reason,
    };

    /// <summary>Writes the grant, its line in the register and its event.</summary>
    internal static async Task AddAsync(UnitOfWork work, FileGrant grant, Request request, PersonId by, DateTimeOffset now, CancellationToken ct)
    {
        var id = await FileRegister.AddGrantAsync(work, grant, request.Reason, request.RequestedBy.Value, string.Join(' ', request.Approvers.Append(by.Value).Distinct()), request.Id, ct);
        work.Enter(Register, $"grant-{id.ToString(CultureInfo.InvariantCulture)}", grant.Deny ? "拒否" : "許可", by.Value, Entry(grant, request.Reason), now);
        work.Record(new("files.add-grant", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["grant"] = $"{id}", ["path"] = grant.Resource, ["to"] = grant.Subject, ["actions"] = string.Join(' ', grant.Actions), ["effect"] = grant.Deny ? "deny" : "allow" } }, now);
    }
}

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
        new("actions", "認めること", FieldType.Choice) { Choices = [("read", "閲覧"), ("read print", "閲覧・印刷"), ("read write", "閲覧・更新"), ("read write print", "閲覧・更新・印刷"), ("read write print delete", "閲覧・更新・印刷・削除")] },
        new("effect", "効力", FieldType.Choice) { Choices = [("allow", "許可する"), ("deny", "拒否する(ほかの許可に優先)")] },
        new("upTo", "機密性の上限", FieldType.Choice) { Choices = [("3", "機密性3まで"), ("2", "機密性2まで"), ("1", "機密性1まで")] },
        new("from", "開始日", FieldType.Day, false, "空欄は承認された時から"), new("until", "最終日", FieldType.Day, true, "必ず期限を付けます。1年以内"),
    ];
    public override IReadOnlyList<RequestField> Fields => Given;

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (FilePath.Parse(fields["path"]) is not { } path) return FileRequest.BadPath;
        if (await work.AskAsync(FileRegister.FindSet(path), ct) is null) return FileRequest.UnknownPlace;
        var (from, until) = (FileRequest.From(fields, time.GetUtcNow()), JapaneseTime.EndOf(FileRequest.Day(fields["until"])));
        if (until <= from || until > from.AddDays(MostDays)) return "最終日は、開始日以後で1年以内にしてください。";
        return (await FileRequest.SubjectAsync(work, fields, time.GetUtcNow(), ct)).Problem;
    }

    /// <summary>What it would change, and for how many.</summary>
    public override async Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct)
    {
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
        await FileRequest.AddAsync(work, grant, request, by, now, ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}

/// <summary>Taking files out: by name, for a day, with the yes of the section's 情報セキュリティ管理者 as well. <clause>MIC 2(2)⑧⑨⑩, 3(1)②(イ)</clause></summary>
internal sealed class ExportFilesKind(Wakeups wakeups, TimeProvider time) : RequestKind
{
    public override string Name => "files.export";
    public override string Title => "ファイルの持出しの許可";
    public override string Explanation => "一人の職員に、その日限りのファイルの持出し(外部への提供、媒体への書出し)を認めます。情報セキュリティ管理者と、統括情報セキュリティ責任者か情報システム管理者の、両方の承認が必要です。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("情報セキュリティ管理者", "manager"), Step("統括情報セキュリティ責任者または情報システム管理者", "administration")];
    public override IReadOnlyList<RequestField> Fields => [FileRequest.Path, new("person", "持ち出す人", FieldType.Person), new("purpose", "提供先と目的", FieldType.Lines) { MaxLength = 500 }];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        FilePath.Parse(fields["path"]) is not { } path ? FileRequest.BadPath
        : await work.AskAsync(FileRegister.FindSet(path), ct) is null ? FileRequest.UnknownPlace
        : await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(fields["person"]), time.GetUtcNow()), ct) is null ? "この人は在籍していないか、権限が停止されています。" : null;

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var now = time.GetUtcNow();
        await FileRequest.AddAsync(work, new(0, FilePath.Parse(request["path"])!, $"person:{request["person"]}", ["export"], false, 3, new Dictionary<string, JsonElement>(), now, JapaneseTime.EndOf(JapaneseTime.DayOf(now))), request, by, now, ct);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}

/// <summary>A place is registered or classified anew. What nobody has classified counts as the highest. <clause>MIC 2(1), 2(2)④(ウ)</clause></summary>
internal sealed class ClassifyFilesKind(Wakeups wakeups, TimeProvider time) : RequestKind
{
    public override string Name => "files.classify";
    public override string Title => "ファイルの登録・格付";
    public override string Explanation => "フォルダーまたはファイルを登録し、機密性・完全性・可用性の格付と所管の課を決めます。情報セキュリティ管理者が承認すると有効になります。上の場所より低い機密性にしても、上の格付が効きます。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("情報セキュリティ管理者")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        FileRequest.Path, new("title", "呼び名"), new("owner", "所管の課", FieldType.Text, false, "空欄は上の場所と同じ。書くと、ほかの課・職への許可は効きません"),
        new("named", "担当者の限定", FieldType.Choice) { Choices = [("no", "課の許可が効く"), ("yes", "名前で認めた担当者だけ(住民データ・人事記録など)")] },
        new("confidentiality", "機密性", FieldType.Choice, false, "選ばないと、上の場所と同じ") { Choices = [("0", "未確定(機密性3として扱う)"), ("1", "機密性1"), ("2", "機密性2"), ("3", "機密性3")] },
        new("integrity", "完全性", FieldType.Choice, false) { Choices = [("1", "完全性1"), ("2", "完全性2")] }, new("availability", "可用性", FieldType.Choice, false) { Choices = [("1", "可用性1"), ("2", "可用性2")] },
    ];

    public override Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        Task.FromResult(FilePath.Parse(fields["path"]) is null ? FileRequest.BadPath : null);

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        int? Number(string field) => int.TryParse(request[field], NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;
        var (now, path) = (time.GetUtcNow(), FilePath.Parse(request["path"])!);
        await FileRegister.AddSetAsync(work, new(path, request["owner"] is { Length: > 0 } owner ? await FileRequest.SectionAsync(work, owner, now, ct) : null, request["named"] == "yes", Number("confidentiality"), false), request["title"], Number("integrity"), Number("availability"), by.Value, now, ct);
        work.Enter(FileRequest.Register, path, "登録・格付", by.Value, new Dictionary<string, string> { ["path"] = path, ["subject"] = request["owner"], ["actions"] = request["title"], ["effect"] = request["named"] == "yes" ? "担当者限定" : "", ["upTo"] = request["confidentiality"] switch { "" => "", "0" => "未確定", var level => "機密性" + level }, ["reason"] = request.Reason }, now);
        work.Record(new("files.set-class", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["path"] = path, ["confidentiality"] = request["confidentiality"], ["owner"] = request["owner"], ["named"] = request["named"] } }, now);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}
