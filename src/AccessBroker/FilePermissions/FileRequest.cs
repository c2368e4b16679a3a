using System.Globalization;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
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
            // Whoever is refused a place is refused everything there, also what no form offers: taking out, deleting.
            : (new(0, path, subject, fields["effect"] == "deny" ? [.. FileRule.Actions] : fields["actions"].Split(' '), fields["effect"] == "deny", int.Parse(fields["upTo"], CultureInfo.InvariantCulture), new Dictionary<string, JsonElement>(), From(fields, now), JapaneseTime.EndOf(Day(fields["until"]))), null);
    }

    /// <summary>Registered, or below a place that is: a single file need not be registered before somebody may ask for it.</summary>
    internal static async Task<bool> IsKnownAsync(UnitOfWork work, string path, CancellationToken ct) => await work.AskAsync(FileRegister.IsBelowSet(path), ct);

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
        await FileRegister.EnsureSetAsync(work, grant.Resource, by.Value, now, ct);
        if (grant.Subject.StartsWith("person:", StringComparison.Ordinal)) work.Notify([PersonId.Parse(grant.Subject["person:".Length..])], grant.Deny ? "ファイルの利用が拒否されました" : "ファイルの利用が認められました", $"{grant.Resource} — {Words(grant.Actions)}、{JapaneseTime.InWords(grant.Until)} まで", "/", now);
        var id = await FileRegister.AddGrantAsync(work, grant, request.Reason, request.RequestedBy.Value, string.Join(' ', request.Approvers.Append(by.Value).Distinct()), request.Id, ct);
        work.Enter(Register, $"grant-{id.ToString(CultureInfo.InvariantCulture)}", grant.Deny ? "拒否" : "許可", by.Value, Entry(grant, request.Reason), now);
        work.Record(new("files.add-grant", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["grant"] = $"{id}", ["path"] = grant.Resource, ["to"] = grant.Subject, ["actions"] = string.Join(' ', grant.Actions), ["effect"] = grant.Deny ? "deny" : "allow" } }, now);
    }
}
