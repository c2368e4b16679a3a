using System.Globalization;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.PolicyChanges;

/// <summary>A proposed version of the policies comes into force: one person asks, another says yes. <clause>MIC 1(8)①</clause></summary>
internal sealed class ActivatePolicyKind(ActivePolicies active, Wakeups wakeups, TimeProvider time) : RequestKind
{
    public override string Name => "policies.activate";
    public override string Title => "方針の変更の有効化";
    public override string Explanation => "提案された方針 (policies) を有効にします。統括情報セキュリティ責任者が違いを確かめて承認すると、発効日(空欄は直ちに)から、すべてのノードが1秒以内に切り替わります。切替えのとき、利用中のサインインはすべて終わります。";
    public override bool IsExecuted => false;
    public override bool NeedsConfirmation => true;
    public override bool IsExceptionable => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者")];
    public override IReadOnlyList<RequestField> Fields => [new("version", "方針の版", Hint: "方針の画面で作った提案の番号です。"), new("from", "発効日", FieldType.Day, false, "空欄は承認されたとき")];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (!long.TryParse(fields["version"], NumberStyles.None, CultureInfo.InvariantCulture, out var id) || await work.AskAsync(PolicyVersions.Find(id), ct) is not { } version) return "この番号の提案はありません。";
        if (version.ApprovedAt is not null) return "この版は、すでに承認されています。";
        if (fields["from"] is { Length: > 0 } from && JapaneseTime.EndOf(DateOnly.ParseExact(from, "yyyy-MM-dd", CultureInfo.InvariantCulture)) <= time.GetUtcNow()) return "発効日は、今日か今日より後の日にしてください。";
        if (await work.AskAsync(PolicyVersions.Waiting(), ct) is [var waiting]) return $"承認済みで発効を待っている版 {waiting} があります。その発効を待つか、先に取りやめてください。";
        if ((await work.AskAsync(PolicyVersions.LastApproved(), ct)) is [var last] && version.BasedOn != last) return "この提案の後に、別の変更が承認されました。いまの方針から提案を作り直してください。";
        try
        {
            var set = PolicySet.Of(active.Files, PolicySet.Complete(version.Texts, active.Newest.Texts));
            set.ObjectTo(active.Newest);
            return await RolesProblemAsync(work, set, ct);
        }
        catch (PolicyException e) { return $"この版は使えません: {e.Message}"; }
    }

    /// <summary>Who proposed it does not approve it either.</summary>
    public override async Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, Authorization.MayDo may, CancellationToken ct) =>
        may.Allows(asked.Operation) && long.TryParse(request["version"], NumberStyles.None, CultureInfo.InvariantCulture, out var id) && await work.AskAsync(PolicyVersions.Find(id), ct) is { } version && version.ProposedBy != may.Person!.Id.Value;

    public override Task<(string Sentence, string Url)?> HintAsync(UnitOfWork work, Request request, CancellationToken ct) =>
        Task.FromResult<(string, string)?>(("変わるところと影響は、方針の版の画面で確かめられます。", $"/policies/{request["version"]}"));

    /// <summary>Nobody may be left unable to change the policies again; and a privileged role must be a role. <clause>MIC 6.2(1)③(オ)</clause></summary>
    private async Task<string?> RolesProblemAsync(UnitOfWork work, PolicySet set, CancellationToken ct)
    {
        var (roles, lockout) = ((RolesPolicy)set.Values[typeof(RolesPolicy)], (Lockout.LockoutPolicy)set.Values[typeof(Lockout.LockoutPolicy)]);
        if (lockout.Privileged.Roles.Find(r => !roles.Roles.ContainsKey(r)) is { } unknown) return $"lockout.yaml の privileged.roles にある「{unknown}」は、roles.yaml にありません(PWD-08)。";
        foreach (var operation in (string[])["policies.propose", RequestOperation, Steps[0].Operation])
            if ((await work.AskAsync(People.PeopleRegister.Holders([.. roles.Roles.Where(r => r.Value.Contains(operation)).Select(r => r.Key)], time.GetUtcNow()), ct)).Count == 0) return $"この版では「{operation}」を行える人がいなくなり、方針を元に戻せません。";
        return null;
    }

    /// <summary>Two approvals at once: the first wins, the other is told.</summary>
    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        await PolicyVersions.LockAsync(work, ct);
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        DateTimeOffset? from = request["from"] is { Length: > 0 } day ? JapaneseTime.StartOf(DateOnly.ParseExact(day, "yyyy-MM-dd", CultureInfo.InvariantCulture)) : null;
        await PolicyVersions.ApproveAsync(work, long.Parse(request["version"], CultureInfo.InvariantCulture), by.Value, from, ct);
        work.AfterCommit(() => wakeups.Wake(PolicySwitch.Topic));
        return null;
    }
}
