using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Passkeys;

/// <summary>A key for somebody who cannot enrol one: no card, or a contractor. The holder comes with the key to the PIN manager's terminal. <clause>MIC 5.4解(1), 6.2(1)注1</clause></summary>
internal sealed class IssuePasskeyKind(EnrolPasskey enrol, TimeProvider time) : RequestKind
{
    public override string Name => "passkeys.issue";
    public override string Title => "パスキーの登録";
    public override string Explanation => "カードを持たない人や委託先の人のパスキーを、暗証番号管理者の端末で、本人の立会いのもとに登録します。キーの暗証番号や指紋は、本人が入力します。";
    public override bool IsOffered => enrol.IsOffered;
    public override IReadOnlyList<RequestField> Fields => [new("person", "キーを使う人", FieldType.Person)];
    public override string? ExecutedAt(Request request) => $"/passkeys/issue?request={request.Id}";

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        !enrol.IsOffered ? EnrolPasskey.NotHere : await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(fields["person"]), time.GetUtcNow()), ct) is null ? "この人は在籍していないか、権限が停止されています。" : await Contractors.OwnProblemAsync(work, by, fields, time.GetUtcNow(), ct);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => ProblemAsync(work, request.Fields, by, ct);
}

/// <summary>Enters a key and, where it was made for a request, carries that out by the same commit.</summary>
internal sealed class IssuePasskey(Store store, EnrolPasskey enrol, RequestDesk desk, Permissions permissions)
{
    /// <summary>What a request leads to at this session; null: no such request waits, or it is not theirs to carry out.</summary>
    internal async Task<EnrolPasskey.Enrolment?> FindAsync(LiveSession at, long request, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        return (await permissions.OfAsync(work, at.Person, ct)).Allows("passkeys.execute-issue") && await work.AskAsync(RequestDesk.Find(request), ct) is { Kind: "passkeys.issue", IsPending: true, Subject: { } person } asked ? new(person, at, asked) : null;
    }

    internal async Task<EnrolPasskey.Outcome> RegisterAsync(HttpContext context, LiveSession at, long? request, string? ceremony, JsonElement credential, string? name, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var enrolment = new EnrolPasskey.Enrolment(at.Person, at);
        if (request is { } id)
        {
            // Who may, and who may not because of what they did before in this case.
            var (refusal, open) = await desk.BeginExecutionAsync(work, at.Person, id, null, ct);
            if (open is not { Kind: "passkeys.issue" }) return new("passkeys.not-permitted", refusal switch { RequestDesk.Outcome.Separated s => string.Concat(s.Rules.Select(Separation.Sentence)), RequestDesk.Outcome.Problem p => p.Sentence, _ => "この申請は実施できません。" });
            enrolment = new(open.Subject!.Value, at, open);
        }
        var outcome = await enrol.RegisterAsync(work, context, enrolment, ceremony, credential, name, ct);
        if (outcome.Code.Length == 0 && enrolment.Request is { } done && await desk.CompleteAsync(work, done, at.Person, "", ct) is { } sentence) return new("passkeys.not-permitted", sentence);
        await work.CommitAsync(ct);
        return outcome;
    }
}
