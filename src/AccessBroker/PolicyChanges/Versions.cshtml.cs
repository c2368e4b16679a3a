using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.PolicyChanges;

/// <summary>The policies in force, all versions, and what a proposal would change.</summary>
[Authorize("policies.read"), Audited("policies.cancel")]
internal sealed class VersionsModel(Store store, ActivePolicies active, Permissions permissions, Web.BrokerOptions options, TimeProvider time) : PageModel
{
    public PolicyVersion? Shown { get; private set; }
    public IReadOnlyList<PolicyVersion> Latest { get; private set; } = [];
    public IReadOnlyList<(string Name, IReadOnlyList<(char Mark, string Line)> Lines)> Differences { get; private set; } = [];
    public IReadOnlyList<string> Names_ => [.. active.Files.Select(f => f.Name).Order(StringComparer.Ordinal)];
    public long InForce { get; private set; }
    public long LiveSessions { get; private set; }
    /// <summary>The preview could be made.</summary>
    public bool IsPreviewed { get; private set; }
    /// <summary>People whom the change concerns.</summary>
    public int People { get; private set; }
    /// <summary>Names of relying parties for which other factors would be needed.</summary>
    public IReadOnlyList<string> Clients { get; private set; } = [];
    /// <inheritdoc cref="PolicyEffect.Unknown"/>
    public IReadOnlyList<string> Unknown { get; private set; } = [];
    public MayDo May { get; private set; } = null!;
    private IReadOnlyDictionary<string, string> _names = new Dictionary<string, string>();

    public string Name(string? id) => id is null ? "" : id == "setup" ? "初期設定" : _names.GetValueOrDefault(id, id);
    public string StateOf(PolicyVersion version) => version.CancelledAt is not null ? "取りやめ" : version.Id == InForce ? "有効" : version.ApprovedAt is null ? "提案" : version.EffectiveFrom > time.GetUtcNow() ? "承認済み(発効待ち)" : "以前の版";

    public string? Message { get; private set; }

    /// <summary>An approved version is withdrawn before its day: nothing in force changes, so one person is enough.</summary>
    public async Task<IActionResult> OnPostAsync(long id, CancellationToken ct)
    {
        await using (var work = await store.BeginAsync(ct))
        {
            var allowed = (await permissions.OfAsync(work, PersonId.Of(User), ct)).Allows("policies.request-activate");
            var done = allowed && await PolicyVersions.CancelAsync(work, id, PersonId.Of(User).Value, ct);
            work.Record(new("policies.cancel", done ? HistoryOutcome.Done : HistoryOutcome.Refused, done ? "" : allowed ? "policies.not-waiting" : "authorization.not-permitted") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["version"] = $"{id}" } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            if (!allowed) return Forbid();
            Message = done ? "取りやめました。" : "この版は、発効を待っていません。";
        }
        return await OnGetAsync(id, ct);
    }

    public async Task<IActionResult> OnGetAsync(long? id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        May = await permissions.OfAsync(work, PersonId.Of(User), ct);
        var (latest, number) = (PolicyVersions.Latest(), PolicyVersions.NumberInForce());
        await work.AskAsync(ct, latest, number);
        (Latest, InForce) = (latest.Answer, number.Answer.FirstOrDefault());
        if (id is { } one)
        {
            if ((Shown = await work.AskAsync(PolicyVersions.Find(one), ct)) is null) return NotFound();
            var before = Shown.BasedOn is { } based ? (await work.AskAsync(PolicyVersions.Find(based), ct))!.Texts : new Dictionary<string, string>();
            Differences = [.. Shown.Texts.Where(t => before.GetValueOrDefault(t.Key) != t.Value && before.Count > 0).OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => (t.Key, TextDifference.Of(before.GetValueOrDefault(t.Key, ""), t.Value)))];
            if (Shown.ApprovedAt is null) await PreviewAsync(work, before, ct);
        }
        _names = await work.AskAsync(PeopleRegister.Names(Latest.Concat(Shown is null ? [] : [Shown]).SelectMany(v => new[] { v.ProposedBy, v.ApprovedBy ?? "" }), time.GetUtcNow()), ct);
        return Page();
    }

    /// <summary>Whom it would concern. Nothing is shown of a version that could not come into force.</summary>
    private async Task PreviewAsync(UnitOfWork work, IReadOnlyDictionary<string, string> before, CancellationToken ct)
    {
        var (sessions, people, clients, terminals) = (Sessions.LiveSessions.Count(), PeopleRegister.WholeAt(time.GetUtcNow()), Oidc.ClientRegister.All(), Terminals.TerminalRegister.Ids());
        await work.AskAsync(ct, sessions, people, clients, terminals);
        PolicyEffect effect;
        try
        {
            var after = PolicySet.Of(active.Files, PolicySet.Complete(Shown!.Texts, active.Newest.Texts));
            effect = PolicyEffect.Of(PolicySet.Of(active.Files, PolicySet.Complete(before, active.Newest.Texts)), after, options.Segment, clients.Answer.Select(c => c.Id));
            Unknown = PolicyEffect.Unknown(after, [.. clients.Answer.Select(c => c.Id)], [.. people.Answer.Select(p => p.Id.Value)], terminals.Answer);
        }
        catch (PolicyException) { return; }
        LiveSessions = sessions.Answer;
        Clients = [.. clients.Answer.Where(c => effect.Clients.Contains(c.Id)).Select(c => c.Name)];
        People = people.Answer.Count(p => p.Standing == "valid" && (effect.Everybody || effect.Clients.Count > 0 || p.Roles.Any(effect.Roles.Contains)));
        IsPreviewed = true;
    }
}
