using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>What a field of a request's form holds.</summary>
public enum FieldType
{
    /// <summary>One line.</summary>
    Text,
    /// <summary>Several lines.</summary>
    Lines,
    /// <summary>A person's id; the form searches by name and kana.</summary>
    Person,
    /// <summary>A card's id.</summary>
    Card,
    /// <summary>A terminal's id.</summary>
    Terminal,
    /// <summary>A day, yyyy-MM-dd.</summary>
    Day,
    /// <summary>One of <see cref="RequestField.Choices"/>.</summary>
    Choice,
}

/// <summary>One field of a request's form.</summary>
/// <param name="Name">Its key in the request.</param>
/// <param name="Label">Japanese label.</param>
/// <param name="Type">What it holds.</param>
/// <param name="Required">Must it be filled. Default: yes.</param>
/// <param name="Hint">What helps to fill it.</param>
public sealed record RequestField(string Name, string Label, FieldType Type = FieldType.Text, bool Required = true, string Hint = "")
{
    /// <summary>Values and labels of a choice.</summary>
    public IReadOnlyList<(string Value, string Label)> Choices { get; init; } = [];
    /// <summary>Longest text. Default 200.</summary>
    public int MaxLength { get; init; } = 200;
}

/// <summary>One yes that a request needs. <paramref name="Operation"/> names who may give it.</summary>
/// <param name="Name">Stored with the decision.</param>
/// <param name="Label">Japanese: as whom.</param>
public sealed record ApprovalStep(string Name, string Label, string Operation);

/// <summary>A request as stored.</summary>
/// <param name="State">open, approved, done, refused, withdrawn, expired.</param>
public sealed record Request(long Id, string Kind, IReadOnlyDictionary<string, string> Fields, string Reason, PersonId RequestedBy, DateTimeOffset RequestedAt, DateTimeOffset DueAt, string State, DateTimeOffset? ClosedAt, IReadOnlyList<Decision> Decisions)
{
    /// <summary>A field, empty when it was left so.</summary>
    public string this[string field] => Fields.GetValueOrDefault(field, "");
    /// <summary>Not finished yet.</summary>
    public bool IsPending => State is "open" or "approved";
    /// <summary>Whose card, rights or seat it is about.</summary>
    public PersonId? Subject => PersonId.TryParse(this["person"], null, out var person) ? person : null;
    /// <summary>Who has approved.</summary>
    public IReadOnlyList<string> Approvers => [.. Decisions.Where(d => d.Step.StartsWith("approve-", StringComparison.Ordinal)).Select(d => d.By)];
}

/// <summary>What was decided on a request, by whom.</summary>
/// <param name="Exception">The exception that allowed it in spite of a rule; null: none was needed.</param>
public sealed record Decision(string Step, string By, DateTimeOffset At, string Note, long? Exception);

/// <summary>
/// A kind of request: its form, who must say yes, who carries it out, and what happens then. Slices declare theirs and register them in the
/// container. Operations: <c>slice.request-verb</c>, those of the steps, <c>slice.execute-verb</c>.
/// </summary>
public abstract class RequestKind
{
    /// <summary><c>slice.verb</c>; never renamed.</summary>
    public abstract string Name { get; }
    /// <summary>Japanese title.</summary>
    public abstract string Title { get; }
    /// <summary>What it will do, in Japanese: shown before anybody asks or decides.</summary>
    public abstract string Explanation { get; }
    /// <summary>The form.</summary>
    public abstract IReadOnlyList<RequestField> Fields { get; }
    /// <summary>Who must say yes, in any order. Default: nobody.</summary>
    public virtual IReadOnlyList<ApprovalStep> Steps => [];
    /// <summary>Who must say yes to this very request: some of <see cref="Steps"/>. Default: all of them.</summary>
    public virtual IReadOnlyList<ApprovalStep> StepsOf(Request request) => Steps;
    /// <summary>True when somebody carries it out after the last yes; false: it takes effect with the last yes. Default: true.</summary>
    public virtual bool IsExecuted => true;
    /// <summary>False where it makes no sense, such as tokens in a segment without them: it is not offered. Default: true.</summary>
    public virtual bool IsOffered => true;
    /// <summary>False where no reason opens a rule of separation. Default: true, as approvals.yaml says.</summary>
    public virtual bool IsExceptionable => true;
    /// <summary>True when a yes is confirmed with card and PIN (or an attested passkey) at that moment, for exactly this. For kinds that take effect with the last yes. Default: false.</summary>
    public virtual bool NeedsConfirmation => false;
    /// <summary>True when only the approver's card will do: its signature over the request is kept and can be verified for years. Default: false.</summary>
    public virtual bool NeedsSignature => false;
    /// <summary>True when an approver is the second person who watches the work. Default: false.</summary>
    public virtual bool NeedsSecondPerson => false;
    /// <summary>True when who asked may carry it out: somebody else has confirmed it. Default: false.</summary>
    public virtual bool RequesterMayExecute => false;
    /// <summary>What carrying it out is: an act of office, or the requester's own work. Default: <see cref="Act.Execute"/>.</summary>
    public virtual Act CarriedOutAs => Act.Execute;
    /// <summary>By when what is approved must be carried out, where that is not the request's own day; null: it is.</summary>
    public virtual DateTimeOffset? ExecuteBy(Request request) => null;
    /// <summary>When it is to be done at the latest, where the request itself says so; null: as the policy says for all.</summary>
    public virtual DateTimeOffset? DueAt(IReadOnlyDictionary<string, string> fields) => null;
    /// <summary>Fields that <see cref="CompleteAsync"/> adds and people are to read: names and labels. Default: none.</summary>
    public virtual IReadOnlyList<(string Name, string Label)> CompletedFields => [];
    /// <summary>False for a report that must be taken note of. Default: true.</summary>
    public virtual bool IsWithdrawable => true;
    /// <summary>Where it is carried out when that needs more than a click; null: on the request's page.</summary>
    public virtual string? ExecutedAt(Request request) => null;

    /// <summary>Who may ask.</summary>
    public string RequestOperation => Operation("request");
    /// <summary>Who may carry it out.</summary>
    public string ExecuteOperation => Operation("execute");
    /// <summary>Every operation of this kind.</summary>
    public IEnumerable<string> Operations => Steps.Select(s => s.Operation).Prepend(RequestOperation).Concat(IsExecuted ? [ExecuteOperation] : []);

    /// <summary>A step with the operation <c>slice.approve-verb[-as-role]</c>.</summary>
    protected ApprovalStep Step(string label, string role = "") => new($"approve-{(role.Length == 0 ? "it" : role)}", label, Operation("approve") + (role.Length == 0 ? "" : $"-as-{role}"));

    private string Operation(string act) => Name.Split('.') is [var slice, var verb] ? $"{slice}.{act}-{verb}" : throw new InvalidOperationException(Name);

    /// <summary>Adds what follows from the fields: whose card it is, so that the rules know whom it is about. Default: nothing.</summary>
    public virtual Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct) => Task.CompletedTask;

    /// <summary>What is wrong with the fields beyond their form, in Japanese; null: nothing.</summary>
    public virtual Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) => Task.FromResult<string?>(null);

    /// <summary>Of what was found for a field, what can be asked for at all: a lost card gets no new PIN. Default: everything, unless the form is about one card.</summary>
    public async Task<IReadOnlyList<(string Value, string Label)>> OfferableAsync(UnitOfWork work, RequestField field, IReadOnlyList<(string Value, string Label)> found, PersonId by, CancellationToken ct)
    {
        if (field.Type != FieldType.Card || Fields[0] != field) return found;
        var offered = new List<(string, string)>();
        foreach (var one in found) if (await ProblemAsync(work, new Dictionary<string, string> { [field.Name] = one.Value }, by, ct) is null) offered.Add(one);
        return offered;
    }

    /// <summary>Why nobody may say yes to it any more, in Japanese; null: they may. Default: nothing stands against it.</summary>
    public virtual string? ClosedToApproval(Request request, DateTimeOffset at) => null;

    /// <summary>False when it has become pointless: nobody is reminded of it. Default: it is still wanted.</summary>
    public virtual Task<bool> IsWantedAsync(UnitOfWork work, Request request, CancellationToken ct) => Task.FromResult(true);

    /// <summary>True when this person may give that yes beyond having the operation: the person responsible for that terminal, for example.</summary>
    public virtual Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, MayDo may, CancellationToken ct) => Task.FromResult(may.Allows(asked.Operation));

    /// <summary>What people should know beside it, in Japanese, and where to go for it; null: nothing. Shown wherever the request is.</summary>
    public virtual Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct) => Task.FromResult<(string, string)?>(null);

    /// <summary>Makes it true, in the unit of work of the last decision. Returns why it cannot be, in Japanese; null: done.</summary>
    public abstract Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct);
}
