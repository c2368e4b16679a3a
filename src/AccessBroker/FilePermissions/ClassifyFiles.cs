using System.Globalization;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.FilePermissions;

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
        FileRequest.Path, new("title", "呼び名"), new("owner", "所管の課", FieldType.Text, false, "空欄は、今のまま(新しい場所では、上の場所と同じ)。書くと、ほかの課・職への許可は効きません"),
        new("named", "担当者の限定", FieldType.Choice, false, "選ばないと、今のまま") { Choices = [("no", "課の許可が効く"), ("yes", "名前で認めた担当者だけ(住民データ・人事記録など)")] },
        new("confidentiality", "機密性", FieldType.Choice, false, "選ばないと、今のまま(新しい場所では、上の場所と同じ)") { Choices = [("above", "上の場所と同じ"), ("0", "未確定(機密性3として扱う)"), ("1", "機密性1"), ("2", "機密性2"), ("3", "機密性3")] },
        new("integrity", "完全性", FieldType.Choice, false) { Choices = [("1", "完全性1"), ("2", "完全性2")] }, new("availability", "可用性", FieldType.Choice, false) { Choices = [("1", "可用性1"), ("2", "可用性2")] },
    ];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (FilePath.Parse(fields["path"]) is null) return FileRequest.BadPath;
        if (fields["owner"].Length == 0) return null;
        return await work.AskAsync(FileRegister.Has($"section:{await FileRequest.SectionAsync(work, fields["owner"], time.GetUtcNow(), ct)}", time.GetUtcNow()), ct) == 0 ? "この課・職には、だれもいません。綴りを確かめてください。" : null;
    }

    /// <summary>What it is now, beside what is asked for.</summary>
    public override async Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct)
    {
        if (FilePath.Parse(request["path"]) is not { } path) return null;
        if (await work.AskAsync(FileRegister.FindLine(path), ct) is not { Set: var now }) return ("新しく登録される場所です。", $"/files?path={Uri.EscapeDataString(path)}");
        var (level, owner, whom) = (now.Confidentiality switch { null => "上の場所と同じ", 0 => "未確定", var given => $"{given}" }, now.Section ?? "上の場所と同じ", now.NamedOnly ? "担当者限定" : "課の許可が効く");
        var sentence = $"いまは、機密性 {level}、所管 {owner}、{whom}です。下げると、すでにある許可が届く範囲が広がります。";
        return (sentence, $"/files?path={Uri.EscapeDataString(path)}");
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var (now, path) = (time.GetUtcNow(), FilePath.Parse(request["path"])!);
        // What the request does not name stays as it is: correcting a title opens nothing.
        var before = await work.AskAsync(FileRegister.FindLine(path), ct);
        int? Number(string field, int? kept) => request[field] switch { "" => kept, "above" => null, var text => int.Parse(text, CultureInfo.InvariantCulture) };
        var owner = request["owner"].Length > 0 ? await FileRequest.SectionAsync(work, request["owner"], now, ct) : before?.Set.Section;
        var named = request["named"].Length > 0 ? request["named"] == "yes" : before?.Set.NamedOnly ?? false;
        await FileRegister.AddSetAsync(work, new(path, owner, named, Number("confidentiality", before?.Set.Confidentiality), false), request["title"], Number("integrity", before?.Integrity), Number("availability", before?.Availability), by.Value, now, ct);
        work.Enter(FileRequest.Register, path, "登録・格付", by.Value, new Dictionary<string, string> { ["path"] = path, ["subject"] = request["owner"], ["actions"] = request["title"], ["effect"] = request["named"] == "yes" ? "担当者限定" : "", ["upTo"] = request["confidentiality"] switch { "" => "", "above" => "上の場所と同じ", "0" => "未確定", var level => "機密性" + level }, ["reason"] = request.Reason }, now);
        work.Record(new("files.set-class", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["path"] = path, ["confidentiality"] = request["confidentiality"], ["owner"] = request["owner"], ["named"] = request["named"] } }, now);
        work.AfterCommit(() => wakeups.Wake(FileDecisions.Topic));
        return null;
    }
}
