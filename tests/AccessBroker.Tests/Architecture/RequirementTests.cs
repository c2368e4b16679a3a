using System.Text.RegularExpressions;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Architecture;

/// <summary>Requirement → code → test: the ids of the standard are the key of coverage. The table goes to the test output.</summary>
public sealed partial class RequirementTests(ITestOutputHelper output)
{
    [Fact]
    public void Requirements_that_a_slice_claims_have_a_test()
    {
        var tested = typeof(RequirementTests).Assembly.GetTypes().SelectMany(t => t.GetMethods())
            .SelectMany(m => m.GetCustomAttributesData().Where(a => a.AttributeType == typeof(TraitAttribute) && Equals(a.ConstructorArguments[0].Value, "Requirement")).Select(a => (Id: (string)a.ConstructorArguments[1].Value!, Test: $"{m.DeclaringType!.Name}.{m.Name}")))
            .ToLookup(p => p.Id, p => p.Test);
        var claimed = Directory.GetFiles(Path.Combine(Place.Root, "src/AccessBroker"), "README.md", SearchOption.AllDirectories)
            .SelectMany(f => Id().Matches(File.ReadAllText(f).Split("## Requirements").Last().Split("##")[0].Split("Not yet")[0]).Select(m => (Id: m.Value, Slice: Path.GetFileName(Path.GetDirectoryName(f)!)))).ToLookup(p => p.Id, p => p.Slice);
        foreach (var id in claimed.Select(c => c.Key).Union(tested.Select(t => t.Key)).Order())
            output.WriteLine($"{id}  {string.Join(", ", claimed[id].Distinct())}  {(tested[id].Any() ? string.Join(", ", tested[id]) : "not yet")}");
        Assert.All(tested, t => Assert.Matches(Id(), t.Key));
        // May only shrink: claimed by a slice, without a test that carries the id.
        string[] withoutTest = ["CRD-01", "IDN-07", "KEY-04", "KEY-06", "LOG-01", "LOG-16", "MUT-03", "PWD-08"];
        Assert.Empty(claimed.Select(c => c.Key).Where(id => !tested[id].Any() && id != "LOG-05").Except(withoutTest));
    }

    [GeneratedRegex("\\b[A-Z]{3}-[0-9]{2}\\b")] private static partial Regex Id();
}
