using AccessBroker.Approvals;
using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.Passwords;

/// <summary>A temporary password for somebody who has none, or has forgotten it: asked for by one, made and handed over by the PIN manager. <clause>MIC 5.4(3)⑥, 6.2(5)②</clause></summary>
internal sealed class ResetPasswordKind(Active<AssurancePolicy> assurance, BrokerOptions options, TimeProvider time) : RequestKind
{
    public override string Name => "passwords.reset";
    public override string Title => "仮パスワードの発行";
    public override string Explanation => "仮のパスワードを作り、立会人の前で本人に手渡します。仮のパスワードは、本人が自分のものを決めるためだけに、期限まで使えます。いまのパスワードは直ちに使えなくなります。";
    public override bool IsOffered => NotHereOf(assurance.Now, options) is null;
    public override bool NeedsSecondPerson => true;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("立会人")];
    public override IReadOnlyList<RequestField> Fields => [new("person", "パスワードを使う人", FieldType.Person)];
    public override string? ExecutedAt(Request request) => $"/password/issue?request={request.Id}";

    /// <summary>What is said where passwords do not count; null: they do.</summary>
    internal static string? NotHereOf(AssurancePolicy assurance, BrokerOptions options) => assurance.Segments[options.Segment].Methods.Contains(Method.Password) ? null : "この区分では、パスワードは使えません。";

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        NotHereOf(assurance.Now, options) is { } notHere ? notHere
        : await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(fields["person"]), time.GetUtcNow()), ct) is null ? "この人は在籍していないか、権限が停止されています。"
        : await Contractors.OwnProblemAsync(work, by, fields, time.GetUtcNow(), ct);

    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => ProblemAsync(work, request.Fields, by, ct);
}
