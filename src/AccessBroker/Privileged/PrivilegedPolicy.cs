using System.Text.Json.Nodes;
using AccessBroker.Policies;

namespace AccessBroker.Privileged;

/// <summary>Something that privileged work is done on.</summary>
public sealed record Target
{
    /// <summary>As people call it.</summary>
    public required string Name { get; init; }
    /// <summary>ssh, postgres, files or oidc.</summary>
    public required string Kind { get; init; }
    /// <summary>Workers of an approved subcontractor may work here. Default: no. <clause>INA 第24(2)</clause></summary>
    public bool Subcontracting { get; init; }
    /// <summary>oidc: the relying party's client_id. Default: none.</summary>
    public string Client { get; init; } = "";
}

/// <summary>Without prior approval. <clause>MIC 7.4(2)</clause></summary>
public sealed record EmergencyRule
{
    /// <summary>1 min..30 min.</summary>
    public required TimeSpan Longest { get; init; }
    /// <summary>Of one person in 24 h, 0..10; 0: none.</summary>
    public required int PerDay { get; init; }
    /// <summary>When the report is overdue, 1 h..7 d.</summary>
    public required TimeSpan ReportWithin { get; init; }
}

/// <summary>One kind of privileged work: its rules. <clause>MIC 6.2(1)③, 6.2(6)</clause></summary>
public sealed record Work
{
    /// <summary>As people call it.</summary>
    public required string Name { get; init; }
    /// <summary>A target of this file.</summary>
    public required string Target { get; init; }
    /// <summary>Roles that may ask.</summary>
    public required List<string> Requesters { get; init; }
    /// <summary>Roles that may approve; never a contractor.</summary>
    public required List<string> Approvers { get; init; }
    /// <summary>How many different people must, 1..3.</summary>
    public required int Approvals { get; init; }
    /// <summary>1 min..12 h.</summary>
    public required TimeSpan Longest { get; init; }
    /// <summary>Ends after so long without use, 1 min..4 h.</summary>
    public required TimeSpan Idle { get; init; }
    /// <summary>When it may run, in Japanese time: "DAYS HH:mm-HH:mm", several separated by ";"; empty: at any time. DAYS: every-day (or nothing), business-days, closed-days, mon…sun, 2nd-sun, last-fri, first-business-day, last-business-day, 03-25..04-10.</summary>
    public required string Hours { get; init; }
    /// <summary>May be approved for every opening of its hours up to a day, the end of the fiscal year at the latest. Default: no.</summary>
    public bool Recurring { get; init; }
    /// <summary>May be begun in an emergency.</summary>
    public required bool Emergency { get; init; }
    /// <summary>A 管理者's instruction must be named. <clause>INA 第26, MOJ 第5-7(2)</clause></summary>
    public required bool Instruction { get; init; }
    /// <summary>Runs only while a second, different person watches; for contractors it always does. Not for files. Default: no. <clause>MIC 6.1(4)③, OUT-03</clause></summary>
    public bool TwoPerson { get; init; }
    /// <summary>ssh: what may be run with sudo, full paths with arguments. Default: nothing.</summary>
    public List<string> Commands { get; init; } = [];
    /// <summary>postgres: the database.</summary>
    public string Database { get; init; } = "";
    /// <summary>postgres: narrow roles.</summary>
    public List<string> DatabaseRoles { get; init; } = [];
    /// <summary>postgres: transactions begin read-only. Default: no.</summary>
    public bool ReadOnly { get; init; }
    /// <summary>files: the place.</summary>
    public string Path { get; init; } = "";
    /// <summary>files: read, write, delete. oidc: what the relying party calls it.</summary>
    public List<string> Actions { get; init; } = [];

    internal IReadOnlyList<WorkWindow> Windows => WorkWindow.ParseAll(Hours) ?? [];

    /// <summary>True when all of it may not run then.</summary>
    internal bool IsOutsideHours(DateTimeOffset start, TimeSpan length) => Windows is { Count: > 0 } windows && !windows.Any(w => w.DayOf(start, start + length) is not null);

    /// <summary>The hours, for people; empty: at any time.</summary>
    internal string HoursInWords => string.Join("、", Windows.Select(w => w.Words));

    /// <summary>What the target's agent is told.</summary>
    internal JsonObject Grants(string kind) => kind == "ssh"
        ? new() { ["commands"] = new JsonArray([.. Commands.Select(c => JsonValue.Create(c))]) }
        : new() { ["database"] = Database, ["roles"] = new JsonArray([.. DatabaseRoles.Select(r => JsonValue.Create(r))]), ["readOnly"] = ReadOnly };

    internal IEnumerable<string> Problems(string key, PrivilegedPolicy policy)
    {
        var at = $"work.{key}";
        if (!policy.Targets.TryGetValue(Target, out var target)) yield return $"{at}.target: there is no target {Target}";
        foreach (var problem in PolicyFiles.OutOfRange($"{at}.approvals", Approvals, 1, 3)) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange($"{at}.longest", Longest, TimeSpan.FromMinutes(1), TimeSpan.FromHours(12))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange($"{at}.idle", Idle, TimeSpan.FromMinutes(1), TimeSpan.FromHours(4))) yield return problem;
        if (Requesters.Count == 0 || Approvers.Count == 0) yield return $"{at}: requesters and approvers must name a role each";
        if (Approvers.Contains("contractor")) yield return $"{at}.approvers: a contractor never approves (MIC 6.2(1)③(エ))";
        if (WorkWindow.ParseAll(Hours) is null) yield return $"{at}.hours must be \"DAYS HH:mm-HH:mm\", the earlier first, several separated by ';', but is '{Hours}'";
        if (Recurring && Windows.Count == 0) yield return $"{at}.recurring needs hours: one session for each opening";
        if (TwoPerson && target?.Kind is "files" or "oidc") yield return $"{at}.two-person: a permission without an agent cannot stand still while nobody watches";
        if (target?.Kind == "oidc" && (Actions.Count == 0 || Commands.Count > 0 || Database.Length > 0 || Path.Length > 0)) yield return $"{at}: a target of kind oidc needs actions, and takes nothing else";
        foreach (var command in Commands.Where(c => !c.StartsWith('/') || c.EndsWith('/') || c.Contains('#', StringComparison.Ordinal) || c.Any(",:=\\\n*?[]!".Contains))) yield return $"{at}.commands: '{command}' must be a full path with arguments, without , : = \\ * ? [ ] !";
        if (target?.Kind == "ssh" && (Database.Length > 0 || DatabaseRoles.Count > 0 || Path.Length > 0)) yield return $"{at}: a target of kind ssh takes commands only";
        if (target?.Kind == "postgres" && (Database.Length == 0 || DatabaseRoles.Count == 0 || Commands.Count > 0)) yield return $"{at}: a target of kind postgres needs database and database-roles";
        if (target?.Kind == "files" && (FilePermissions.FilePath.Parse(Path) is null || Actions.Count == 0 || Actions.Except(["read", "write", "delete"]).Any())) yield return $"{at}: a target of kind files needs path and actions of read, write, delete";
    }
}

/// <summary>Privileged work: where, what, how long, approved by whom. Values are ours.</summary>
public sealed record PrivilegedPolicy : IPolicy
{
    /// <summary>How long a request waits for its approvals, 1 h..30 d. Default 7 d.</summary>
    public required TimeSpan RequestValid { get; init; }
    /// <summary>From the last approval or the agreed start to the start, 5 min..7 d. Default 8 h.</summary>
    public required TimeSpan StartWithin { get; init; }
    /// <summary>From the connection code to the connection, 10 s..120 s. Default 60 s.</summary>
    public required TimeSpan Establish { get; init; }
    /// <summary>When people inside are warned before the end.</summary>
    public required List<TimeSpan> Warnings { get; init; }
    /// <summary>Two-person work that nobody watches ends after so long, 10 s..30 min. Default 3 min.</summary>
    public TimeSpan WatchedWithin { get; init; } = TimeSpan.FromMinutes(3);
    /// <summary>Work whose target hears from no broker ends after so long, 5 s..12 h: nobody could end it before its limit. Default 5 min.</summary>
    public TimeSpan CutOff { get; init; } = TimeSpan.FromMinutes(5);
    /// <inheritdoc cref="EmergencyRule"/>
    public required EmergencyRule Emergency { get; init; }
    /// <summary>By id.</summary>
    public required Dictionary<string, Target> Targets { get; init; }
    /// <summary>By id.</summary>
    public required Dictionary<string, Work> Work { get; init; }
    /// <summary>By id. Default: none, and no contractor does privileged work.</summary>
    public Dictionary<string, Contract> Contracts { get; init; } = [];

    /// <summary>An agent opens and ends what is done there; else the broker's word alone does.</summary>
    internal static bool HasAgent(string? kind) => kind is "ssh" or "postgres";

    /// <summary>The kind of a target; null: there is none.</summary>
    public string? KindOf(string target) => Targets.GetValueOrDefault(target)?.Kind;

    /// <summary>What needs two people must not be reachable by one of them through other work on the same target. <clause>MIC 6.1(4)③</clause></summary>
    public IEnumerable<string> Objections() =>
        from two in Work.Where(w => w.Value.TwoPerson)
        from one in Work.Where(w => !w.Value.TwoPerson && w.Value.Target == two.Value.Target)
        from shared in two.Value.Commands.Intersect(one.Value.Commands).Concat(two.Value.DatabaseRoles.Intersect(one.Value.DatabaseRoles))
        select $"work.{one.Key} lets one person do what work.{two.Key} reserves for two (MIC 6.1(4)③): {shared}";

    /// <inheritdoc/>
    public IEnumerable<string> Problems() =>
    [
        .. PolicyFiles.OutOfRange("request-valid", RequestValid, TimeSpan.FromHours(1), TimeSpan.FromDays(30)),
        .. PolicyFiles.OutOfRange("start-within", StartWithin, TimeSpan.FromMinutes(5), TimeSpan.FromDays(7)),
        .. PolicyFiles.OutOfRange("establish", Establish, TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(120)),
        .. PolicyFiles.OutOfRange("watched-within", WatchedWithin, TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(30)),
        .. PolicyFiles.OutOfRange("cut-off", CutOff, TimeSpan.FromSeconds(5), TimeSpan.FromHours(12)),
        .. PolicyFiles.OutOfRange("emergency.longest", Emergency.Longest, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(30)),
        .. PolicyFiles.OutOfRange("emergency.per-day", Emergency.PerDay, 0, 10),
        .. PolicyFiles.OutOfRange("emergency.report-within", Emergency.ReportWithin, TimeSpan.FromHours(1), TimeSpan.FromDays(7)),
        .. Warnings.Count > 5 ? ["warnings: 5 at most"] : Array.Empty<string>(),
        .. Targets.Where(t => !Primitives.IdForm.Fits(t.Key)).Select(t => $"targets: '{t.Key}' is no identifier"),
        .. Targets.Where(t => t.Value.Kind is not ("ssh" or "postgres" or "files" or "oidc")).Select(t => $"targets.{t.Key}.kind must be ssh, postgres, files or oidc, but is '{t.Value.Kind}'"),
        .. Targets.Where(t => (t.Value.Kind == "oidc") != (t.Value.Client.Length > 0)).Select(t => $"targets.{t.Key}.client: the client_id of a relying party, for kind oidc only"),
        .. Work.Where(w => !Primitives.IdForm.Fits(w.Key)).Select(w => $"work: '{w.Key}' is no identifier"),
        .. Work.SelectMany(w => w.Value.Problems(w.Key, this)),
        .. Contracts.SelectMany(c => c.Value.Problems(c.Key, this)),
    ];
}
