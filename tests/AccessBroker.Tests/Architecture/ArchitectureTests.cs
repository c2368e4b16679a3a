using System.Text.RegularExpressions;
using AccessBroker.History;
using AccessBroker.Tests.Support;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Tests.Architecture;

/// <summary>The rules of the house (README, "How the code is cut"), each with a planted violation.</summary>
public sealed partial class ArchitectureTests
{
    private static readonly Slices Broker = Slices.OfBroker();
    private static readonly Slices Violations = new([.. typeof(ArchitectureTests).Assembly.GetTypes().Where(t => t.Namespace?.StartsWith("Planted.", StringComparison.Ordinal) == true)], "Planted");
    private static string SourceRoot => Path.Combine(Place.Root, "src/AccessBroker");

    [Fact]
    public void Slices_use_only_what_slices_txt_lists()
    {
        var file = Path.Combine(Place.Root, "tests/AccessBroker.Tests/Architecture/slices.txt");
        if (Environment.GetEnvironmentVariable("UPDATE_GOLDEN") == "1") File.WriteAllLines(file, Broker.Arrows());
        // A new arrow is a decision: add it to slices.txt in the same change, or take the other way round.
        Assert.Equal(File.ReadAllLines(file), Broker.Arrows());
        Assert.Contains("Web -> Lockout", Violations.Arrows());
    }

    [Fact]
    public void Ground_uses_no_slice_and_services_use_no_capability()
    {
        Assert.Empty(Broker.WrongArrows());
        Assert.Equal(["History -> Lockout", "Web -> Lockout"], Violations.WrongArrows());
    }

    [Fact]
    public void Slices_have_no_cycles()
    {
        Assert.Empty(Broker.Cycles());
        Assert.NotEmpty(Violations.Cycles());
    }

    [Fact]
    public void Another_slice_uses_public_types_only()
    {
        Assert.Empty(Broker.Leaks());
        Assert.NotEmpty(Violations.Leaks());
    }

    [Fact]
    public void Rules_use_plain_data_only()
    {
        Assert.Contains(Broker.Types, t => t.Name == "LockoutRule");
        Assert.Empty(Broker.RuleImpurities());
        Assert.NotEmpty(Violations.RuleImpurities());
    }

    [Fact]
    public void Sql_names_only_the_schema_of_its_own_slice()
    {
        var schemas = Directory.GetDirectories(SourceRoot).Select(d => Path.GetFileName(d)!).Where(d => d is not ("bin" or "obj")).ToDictionary(SchemaOf);
        var wrong = Directory.GetFiles(SourceRoot, "*.*", SearchOption.AllDirectories).Where(f => f.EndsWith(".cs", StringComparison.Ordinal) || f.EndsWith(".sql", StringComparison.Ordinal))
            .Where(f => Path.GetRelativePath(SourceRoot, f) is var relative && relative.Contains('/', StringComparison.Ordinal) && !relative.StartsWith("obj/", StringComparison.Ordinal) && !relative.StartsWith("bin/", StringComparison.Ordinal))
            .SelectMany(f => ForeignSchemas(File.ReadAllText(f), SchemaOf(Path.GetRelativePath(SourceRoot, f).Split('/')[0]), schemas.Keys).Select(s => $"{f}: {s}"));
        // The migration runner refuses to serve a role that may change the history: it asks for that right by the table's name.
        Assert.Equal([$"{SourceRoot}/Database/Migrations.cs: history"], wrong);
        Assert.Equal(["lockout"], ForeignSchemas("update lockout.counters set x = 1", "sessions", schemas.Keys));
    }

    private static string SchemaOf(string folder) => SmallBeforeCapital().Replace(folder, "$1_$2").ToLowerInvariant();

    private static IEnumerable<string> ForeignSchemas(string text, string own, IEnumerable<string> schemas) =>
        schemas.Where(s => s != own && Regex.IsMatch(text, $@"(\b(from|join|into|update|table|references)\s+|privilege\('){s}\.[a-z_]+\b"));

    [Fact]
    public void Every_page_and_endpoint_that_changes_something_is_authorized_and_audited()
    {
        // Setup is for two people without a card yet: two codes, one station, one day.
        var pages = Broker.Types.Where(t => typeof(PageModel).IsAssignableFrom(t) && t.GetMethods().Any(m => m.Name.StartsWith("OnPost", StringComparison.Ordinal))).ToList();
        Assert.NotEmpty(pages);
        Assert.Empty(Unguarded(pages).Except(["ProblemModel", "SetupModel"]));
        Assert.Equal(["UnguardedPage"], Unguarded([typeof(UnguardedPage)]));
        // Endpoints without a policy: sign-in and the protocol. This list may only shrink.
        var mapped = Directory.GetFiles(SourceRoot, "*Slice.cs", SearchOption.AllDirectories).SelectMany(f => EndpointsWithoutAudit(File.ReadAllText(f)));
        Assert.Empty(mapped);
        Assert.Single(EndpointsWithoutAudit("app.MapPost(\"/x\", () => 1);\n"));
    }

    private static IEnumerable<string> Unguarded(IEnumerable<Type> pages) =>
        pages.Where(p => !p.IsDefined(typeof(AuthorizeAttribute), true) || !p.IsDefined(typeof(AuditedAttribute), true)).Select(p => p.Name);

    private static IEnumerable<string> EndpointsWithoutAudit(string source) =>
        Regex.Split(source, @"(?=\bMap[A-Z][A-Za-z]*\()").Where(e => Regex.IsMatch(e, @"^Map(Post|Put|Delete|Patch)\(")).Where(e => !e.Contains("AuditedAttribute(", StringComparison.Ordinal));

    private sealed class UnguardedPage : PageModel { public void OnPost() => Response.StatusCode = 200; }

    [Fact]
    public void No_folder_is_called_after_a_layer()
    {
        string[] forbidden = ["Common", "Helpers", "Utils", "Services", "Managers", "Dtos", "Controllers", "Repositories"];
        Assert.DoesNotContain(Directory.GetDirectories(SourceRoot, "*", SearchOption.AllDirectories), d => forbidden.Contains(Path.GetFileName(d)));
        Assert.Contains("Helpers", forbidden);
    }

    [Fact]
    public void One_implementation_interfaces_are_reviewed()
    {
        // Allowed: they turn an arrow round, or have more implementations in tests and later work.
        string[] reviewed = ["IConfirmation", "IDetailedAuthorization", "IHsm", "ITerminalPresence", "IUnavailable"];
        Assert.Empty(Lonely(Broker.Types).Except(reviewed));
        Assert.Equal(["ILonely"], Lonely([typeof(ILonely), typeof(OnlyOne)]));
    }

    private static IEnumerable<string> Lonely(IReadOnlyCollection<Type> types) => types.Where(t => t.IsInterface && types.Count(c => c.IsClass && !c.IsAbstract && t.IsAssignableFrom(c)) == 1).Select(t => t.Name);

    private interface ILonely;
    private sealed class OnlyOne : ILonely;

    [Fact]
    public void The_desk_and_the_agent_reference_nothing_of_the_broker()
    {
        Assert.DoesNotContain(typeof(CardSimulator.Desk).Assembly.GetReferencedAssemblies(), a => a.Name!.StartsWith("AccessBroker", StringComparison.Ordinal));
        Assert.DoesNotContain(typeof(TerminalAgent.AgentHost).Assembly.GetReferencedAssemblies(), a => a.Name == "AccessBroker");
        Assert.Contains(typeof(ArchitectureTests).Assembly.GetReferencedAssemblies(), a => a.Name == "AccessBroker");
    }

    [Fact]
    public void Every_japanese_text_of_a_page_has_an_english_one()
    {
        var english = System.Xml.Linq.XDocument.Load(Path.Combine(SourceRoot, "Web/Text.en.resx")).Descendants("data").Select(d => d.Attribute("name")!.Value).ToHashSet();
        var used = Directory.GetFiles(SourceRoot, "*.cshtml", SearchOption.AllDirectories).Concat(Directory.GetFiles(SourceRoot, "File*.cs", SearchOption.AllDirectories)).SelectMany(f => TextUse().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value))
            .Concat(Directory.GetFiles(SourceRoot, "*Health*.cs", SearchOption.AllDirectories).Concat([Path.Combine(SourceRoot, "FilePermissions/FileKinds.cs"), Path.Combine(SourceRoot, "FilePermissions/FileRequest.cs"), Path.Combine(SourceRoot, "FilePermissions/ClassifyFiles.cs")]).Concat(Directory.GetFiles(SourceRoot, "*.cshtml.cs", SearchOption.AllDirectories)).SelectMany(f => JapaneseText().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value))).Distinct().ToList();
        Assert.NotEmpty(used);
        // A text that is put together with names ($"…{Name}…") is not looked up.
        Assert.Equal([], used.Where(u => !english.Contains(u) && !ComposedText().IsMatch(u)));
        Assert.DoesNotContain("存在しない文", english);
    }

    [GeneratedRegex("([a-z])([A-Z])")] private static partial Regex SmallBeforeCapital();
    [GeneratedRegex("\\{[A-Za-z]")] private static partial Regex ComposedText();
    [GeneratedRegex("T\\[\"((?:[^\"\\\\]|\\\\.)*)\"")] private static partial Regex TextUse();
    [GeneratedRegex("\"([^\"\\n]*[\\u3040-\\u30ff\\u4e00-\\u9fff][^\"\\n]*)\"")] private static partial Regex JapaneseText();
}
