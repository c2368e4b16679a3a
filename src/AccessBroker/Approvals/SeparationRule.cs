namespace AccessBroker.Approvals;

/// <summary>What somebody is about to do with a request, an exception or a lock.</summary>
public enum Act
{
    /// <summary>Say yes to a step of it.</summary>
    Approve,
    /// <summary>Carry it out.</summary>
    Execute,
    /// <summary>Do oneself what others have allowed: no decision about anybody.</summary>
    Work,
    /// <summary>Judge afterwards what an exception allowed.</summary>
    Review,
    /// <summary>Lift a lock early.</summary>
    Unlock,
}

/// <summary>Who has to do with it so far. All are persons, never roles: two posts of one person are one person.</summary>
/// <param name="Requester">Who asked, or who is locked by their own failures.</param>
/// <param name="Approvers">Who has approved other steps.</param>
/// <param name="Subject">Whose card, rights or lock it is about; null: nobody's.</param>
/// <param name="SecondPerson">True where an approver is the second person who watches the work: the worker must be another one.</param>
/// <param name="Actors">Who did what is reviewed.</param>
public sealed record Involved(string? Requester, IReadOnlyCollection<string> Approvers, string? Subject, bool SecondPerson = false, IReadOnlyCollection<string>? Actors = null);

/// <summary>The rules of separation, pure: judged on the person. <clause>MIC 1(8)①②, INA 第6 + 第7-1, MIC 7.1注2</clause></summary>
public static class SeparationRule
{
    /// <summary>Names of all rules, as in approvals.yaml.</summary>
    public static readonly IReadOnlyList<string> Names = ["contractor-decides", "requester-approves", "approves-twice", "subject-approves", "requester-executes", "subject-executes", "second-person-executes", "actor-reviews", "locked-unlocks"];

    /// <summary>Every rule that forbids it; empty: none. Never throws.</summary>
    public static IReadOnlyList<string> Violations(Act act, string actor, bool contractor, Involved involved)
    {
        List<string> broken = [];
        void Forbid(string rule, bool when) { if (when) broken.Add(rule); }
        Forbid("contractor-decides", contractor && act != Act.Work);
        Forbid("requester-approves", act == Act.Approve && actor == involved.Requester);
        Forbid("approves-twice", act == Act.Approve && involved.Approvers.Contains(actor));
        Forbid("subject-approves", act == Act.Approve && actor == involved.Subject);
        Forbid("requester-executes", act == Act.Execute && actor == involved.Requester);
        Forbid("subject-executes", act == Act.Execute && actor == involved.Subject);
        Forbid("second-person-executes", act == Act.Execute && involved.SecondPerson && involved.Approvers.Contains(actor));
        Forbid("actor-reviews", act == Act.Review && (involved.Actors?.Contains(actor) == true || actor == involved.Requester || actor == involved.Subject));
        Forbid("locked-unlocks", act == Act.Unlock && (actor == involved.Subject || involved.Actors?.Contains(actor) == true));
        return broken;
    }
}
