using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Lockout;
using AccessBroker.OneTimeCodes;
using AccessBroker.Passkeys;
using AccessBroker.Passwords;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using AccessBroker.SignIn;
using AccessBroker.Staff;
using AccessBroker.Terminals;
using AccessBroker.Tests.Support;
using AccessBroker.TimeSource;

namespace AccessBroker.Tests.Policies;

/// <summary>The policies of the city: each valid as it stands, each refused with one thing changed.</summary>
public sealed class PolicyTests
{
    private static readonly string Directory = Path.Combine(Place.Root, "policies");

    private static string Changed<T>(string name, string from, string to) where T : IPolicy
    {
        var text = File.ReadAllText(Path.Combine(Directory, name + ".yaml"));
        Assert.Contains(from, text, StringComparison.Ordinal);
        var copy = System.IO.Directory.CreateTempSubdirectory().FullName;
        File.WriteAllText(Path.Combine(copy, name + ".yaml"), text.Replace(from, to, StringComparison.Ordinal));
        return Assert.Throws<PolicyException>(() => PolicyFiles.Load<T>(copy, name)).Message;
    }

    [Fact]
    public void The_citys_policies_are_valid()
    {
        Assert.Equal(3, PolicyFiles.Load<LockoutPolicy>(Directory, "lockout").OperatorAtTerminal.Failures);
        Assert.Equal(TimeSpan.FromSeconds(5), PolicyFiles.Load<SessionsPolicy>(Directory, "sessions").Lease);
        Assert.True(PolicyFiles.Load<SignInPolicy>(Directory, "sign-in").IsOpenAt(new(23, 59)));
        PolicyFiles.Load<RolesPolicy>(Directory, "roles");
        PolicyFiles.Load<ApprovalsPolicy>(Directory, "approvals");
        PolicyFiles.Load<CardsPolicy>(Directory, "cards");
        PolicyFiles.Load<PostsPolicy>(Directory, "posts");
        PolicyFiles.Load<TerminalsPolicy>(Directory, "terminals");
        PolicyFiles.Load<AssurancePolicy>(Directory, "assurance");
        PolicyFiles.Load<PasskeysPolicy>(Directory, "passkeys");
        PolicyFiles.Load<OneTimeCodesPolicy>(Directory, "one-time-codes");
        PolicyFiles.Load<PasswordsPolicy>(Directory, "passwords");
        PolicyFiles.Load<TimePolicy>(Directory, "time");
    }

    /// <summary>Each segment's set, with the files of its folder in place of the common ones.</summary>
    [Theory, InlineData("my-number", 10, false), InlineData("juki-net", 10, false), InlineData("lgwan", 10, true), InlineData("internet", 4, true)]
    public void The_sample_of_each_segment_is_valid(string segment, int hours, bool locks)
    {
        var set = PolicySet.Of(AccessBroker.PolicyChanges.PolicyChangesSlice.AllFiles(Directory), PolicySet.ReadDirectory(Directory, segment));
        var sessions = (SessionsPolicy)set.Values[typeof(SessionsPolicy)];
        Assert.Equal((TimeSpan.FromHours(hours), locks), (sessions.Absolute, sessions.CardOut == CardOut.Lock));
        // Each line says where it comes from: the clause, or ours.
        foreach (var file in System.IO.Directory.Exists(Path.Combine(Directory, segment)) ? System.IO.Directory.GetFiles(Path.Combine(Directory, segment)) : [])
            Assert.Contains("In place of ../", File.ReadLines(file).ElementAt(1), StringComparison.Ordinal);
    }

    [Fact]
    public void A_segments_file_without_a_common_one_is_refused()
    {
        var copy = System.IO.Directory.CreateTempSubdirectory().FullName;
        System.IO.Directory.CreateDirectory(Path.Combine(copy, "lgwan"));
        File.WriteAllText(Path.Combine(copy, "lgwan", "sesions.yaml"), "");
        Assert.Contains("there is no policy of this name", Assert.Throws<PolicyException>(() => PolicySet.ReadDirectory(copy, "lgwan")).Message, StringComparison.Ordinal);
        Assert.Empty(PolicySet.ReadDirectory(copy, "my-number"));
    }

    [Fact]
    public void A_value_out_of_range_unknown_missing_or_doubled_is_refused_and_named()
    {
        Assert.Contains("operator-at-terminal.failures (6) must be below card-limit (6)", Changed<LockoutPolicy>("lockout", "failures: 3 ", "failures: 6 "), StringComparison.Ordinal);
        Assert.Contains("terminal.failures must be 2 to 50, but is 1000", Changed<LockoutPolicy>("lockout", "failures: 10", "failures: 1000"), StringComparison.Ordinal);
        Assert.Contains("no duration", Changed<LockoutPolicy>("lockout", "window: 15m", "window: 15 minutes"), StringComparison.Ordinal);
        Assert.Contains("line 5: anchors and aliases are not allowed", Changed<SessionsPolicy>("sessions", "absolute: 10h", "absolute: &long 10h"), StringComparison.Ordinal);
        Assert.Contains("line ", Changed<SessionsPolicy>("sessions", "idle: 30m", "idle: 30m\nidle: 8h"), StringComparison.Ordinal);
        Assert.Contains("colour", Changed<LockoutPolicy>("lockout", "card-limit: 6", "card-limit: 6\ncolour: red"), StringComparison.Ordinal);
        Assert.Contains("lease must be", Changed<SessionsPolicy>("sessions", "lease: 5s", "lease: 5m"), StringComparison.Ordinal);
        Changed<SessionsPolicy>("sessions", "idle: 30m", "");
        Changed<SessionsPolicy>("sessions", "idle: 30m", "idle: 30m\nidle: 8h");
        Assert.Contains("must be before", Changed<SignInPolicy>("sign-in", "hours-until: \"24:00\"", "hours-until: \"00:00\""), StringComparison.Ordinal);
        Assert.Contains("no operation", Changed<RolesPolicy>("roles", "[history.read, terminals.unlock,", "[everything, terminals.unlock,"), StringComparison.Ordinal);
        Assert.Throws<PolicyException>(() => PolicyFiles.Load<LockoutPolicy>("/nowhere", "lockout"));
    }

    [Theory, Trait("Requirement", "IDN-13")]
    [InlineData("08:30", "17:15", "08:29", false), InlineData("08:30", "17:15", "08:30", true), InlineData("08:30", "17:15", "17:14", true), InlineData("08:30", "17:15", "17:15", false)]
    public void Sign_in_hours(string from, string until, string at, bool open) =>
        Assert.Equal(open, (PolicyFiles.Load<SignInPolicy>(Directory, "sign-in") with { HoursFrom = from, HoursUntil = until }).IsOpenAt(TimeOnly.Parse(at, System.Globalization.CultureInfo.InvariantCulture)));

    [Fact]
    public void The_matrix_of_roles_and_operations_is_the_reviewed_one()
    {
        var roles = PolicyFiles.Load<RolesPolicy>(Directory, "roles");
        var file = Path.Combine(Directory, "expected-matrix.txt");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllLines(file, Matrix(roles, File.ReadAllLines(file)));
        var lines = File.ReadAllLines(file).Where(l => !l.StartsWith('#')).Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToList();
        // One line per operation, one mark per role in the order of the first lines.
        var names = lines.Where(l => l[0] == "role").Select(l => l[2]).ToList();
        var table = lines.Where(l => l[0] is not ("must-not" or "role")).ToList();
        Assert.Equal(roles.Roles.Values.SelectMany(o => o).Distinct().Order(StringComparer.Ordinal), table.Select(l => l[0]));
        Assert.Equal(roles.Roles.Keys.Order(StringComparer.Ordinal), names);
        Assert.All(table, line => Assert.Equal(line[1], string.Concat(names.Select(r => roles.Allows([r], line[0]) ? "✔" : "✘"))));
        Assert.True(lines.Count(l => l[0] == "must-not") >= 20);
        Assert.All(lines.Where(l => l[0] == "must-not"), l => Assert.False(roles.Allows([l[1]], l[2])));
        Assert.False(roles.Allows(["nobody"], "history.read"));
    }

    private static IEnumerable<string> Matrix(RolesPolicy roles, string[] before)
    {
        var names = roles.Roles.Keys.Order(StringComparer.Ordinal).ToList();
        return before.Where(l => l.StartsWith('#')).Concat(names.Select((n, i) => $"role {i + 1,2} {n}"))
            .Concat(roles.Roles.Values.SelectMany(o => o ?? []).Distinct().Order(StringComparer.Ordinal).Select(o => $"{o,-38} {string.Concat(names.Select(r => roles.Allows([r], o) ? "✔" : "✘"))}"))
            .Concat(before.Where(l => l.StartsWith("must-not", StringComparison.Ordinal)));
    }

    /// <summary>The operations that pages, requests and registers ask for, as the code names them.</summary>
    [Fact]
    public void Every_operation_of_the_code_is_in_the_matrix_and_the_other_way_round()
    {
        var assembly = typeof(RolesPolicy).Assembly;
        var pages = assembly.GetTypes().SelectMany(t => t.GetCustomAttributes(typeof(Microsoft.AspNetCore.Authorization.AuthorizeAttribute), false).Cast<Microsoft.AspNetCore.Authorization.AuthorizeAttribute>()).Select(a => a.Policy).OfType<string>();
        var kinds = assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(RequestKind)) && !t.IsAbstract).Select(t => (RequestKind)System.Runtime.CompilerServices.RuntimeHelpers.GetUninitializedObject(t)).SelectMany(k => k.Operations);
        var source = System.IO.Directory.GetFiles(Path.Combine(Place.Root, "src/AccessBroker"), "*.cs*", SearchOption.AllDirectories).Select(File.ReadAllText).ToList();
        var asked = source.SelectMany(text => System.Text.RegularExpressions.Regex.Matches(text, "(?:Allows|RolesWith|May)\\(\"([a-z-]+\\.[a-z-]+)\"").Select(m => m.Groups[1].Value));
        var acts = IsolateTerminal.Acts.Values.Select(a => a.Operation).Concat(AccessBroker.Cards.ShowModel.All.Select(a => a.Operation));
        var inCode = pages.Concat(kinds).Concat(asked).Concat(acts).Append("staff.suspend").Append("staff.set-leave").Append("staff.settle-dormant").Append("registers.read").Distinct().Order(StringComparer.Ordinal).ToList();
        var inPolicy = PolicyFiles.Load<RolesPolicy>(Directory, "roles").Roles.Values.SelectMany(o => o ?? []).Distinct().Order(StringComparer.Ordinal).ToList();
        // A report that the system itself files is asked for by nobody.
        Assert.Equal(["terminals.request-report-isolation"], inCode.Except(inPolicy));
        Assert.Equal([], inPolicy.Except(inCode));
    }

    [Theory]
    [InlineData("lockout", typeof(LockoutPolicy)), InlineData("sessions", typeof(SessionsPolicy)), InlineData("sign-in", typeof(SignInPolicy)), InlineData("roles", typeof(RolesPolicy)),
     InlineData("approvals", typeof(ApprovalsPolicy)), InlineData("cards", typeof(CardsPolicy)), InlineData("posts", typeof(PostsPolicy)), InlineData("terminals", typeof(TerminalsPolicy)), InlineData("assurance", typeof(AssurancePolicy)), InlineData("passkeys", typeof(PasskeysPolicy)), InlineData("time", typeof(TimePolicy)),
     InlineData("one-time-codes", typeof(OneTimeCodesPolicy)), InlineData("passwords", typeof(PasswordsPolicy)), InlineData("privileged", typeof(AccessBroker.Privileged.PrivilegedPolicy))]
    public void Each_schema_names_the_same_values_as_the_code(string name, Type policy)
    {
        var schema = JsonElement.Parse(File.ReadAllText(Path.Combine(Directory, "schema", name + ".schema.json")));
        var inSchema = schema.GetProperty("properties").EnumerateObject().Select(p => p.Name).Order();
        Assert.Equal(inSchema, policy.GetProperties().Where(p => p.CanWrite).Select(p => string.Concat(p.Name.Select((c, i) => i > 0 && char.IsUpper(c) ? $"-{char.ToLowerInvariant(c)}" : $"{char.ToLowerInvariant(c)}"))).Order());
    }
}
