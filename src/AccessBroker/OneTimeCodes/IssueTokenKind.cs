using System.Security.Cryptography;
using AccessBroker.Approvals;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;

namespace AccessBroker.OneTimeCodes;

/// <summary>A hardware token for a person: asked for by one, handed over by the PIN manager. Its loss and its return go as for cards. <clause>MIC 5.4解(1)</clause></summary>
internal sealed class IssueTokenKind(EnrolToken enrol, TimeProvider time) : RequestKind
{
    public override string Name => "one-time-codes.issue";
    public override string Title => "ワンタイムパスワード生成器の発行";
    public override string Explanation => "在庫の生成器を職員に渡します。管理者等が申請し、暗証番号管理者が本人に手渡したときに実施します。紛失・回収・廃棄はカードと同じです。";
    public override bool IsOffered => enrol.IsOffered;
    public override IReadOnlyList<RequestField> Fields => [new("person", "生成器を使う人", FieldType.Person), new("serial", "生成器の製造番号", Hint: "生成器の裏に書かれた番号です。") { MaxLength = 40 }];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (!enrol.IsOffered) return EnrolToken.NotHere;
        var person = PersonId.Parse(fields["person"]);
        if (await work.AskAsync(PeopleRegister.FindValid(person, time.GetUtcNow()), ct) is null) return "この人は在籍していないか、権限が停止されています。";
        if (await work.AskAsync(TokenRegister.InStock(fields["serial"]), ct) is null) return "この製造番号の生成器は、在庫にありません。";
        if (await Contractors.OwnProblemAsync(work, by, fields, time.GetUtcNow(), ct) is { } own) return own;
        return await enrol.IsFullAsync(work, person, ct) ? "この人は、すでに上限の数の生成器を持っています。" : null;
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var person = request.Subject!.Value;
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended({person}, 6))", ct);
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var card = CardId.Parse(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)));
        var token = (await work.AskAsync(TokenRegister.InStock(request["serial"]), ct))!;
        if (!await TokenRegister.AssignAsync(work, token.Id, card, person, "", 0, 0, ct)) return "この製造番号の生成器は、在庫にありません。";
        await CardRegister.AddMediumAsync(work, card, person, "otp-token", token.Serial, "手渡し", by, time.GetUtcNow(), ct);
        work.Notify([person], "ワンタイムパスワード生成器が発行されました", $"製造番号 {token.Serial}。受け取っていないときは、直ちに情報セキュリティ管理者へ連絡してください。", "/one-time-codes", time.GetUtcNow());
        work.Record(new("one-time-codes.issue", HistoryOutcome.Done) { Person = by, Card = card, Details = new Dictionary<string, string> { ["subject"] = person.Value, ["serial"] = token.Serial } }, time.GetUtcNow());
        return null;
    }
}
