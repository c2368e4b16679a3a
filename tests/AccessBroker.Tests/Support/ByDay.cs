namespace AccessBroker.Tests.Support;

/// <summary>Segment lgwan, where keys, codes and passwords count, at an hour that is never odd.</summary>
public class Lgwan : BrokerHost
{
    protected override IEnumerable<KeyValuePair<string, string>> Settings => [new("Broker__Segment", "lgwan")];

    protected override void ChangePolicies(string directory) => ByDay.Change(directory);
}

internal static class ByDay
{
    /// <summary>The hour of the test is no sign of risk; and, in assurance.yaml, whatever else the test wants.</summary>
    internal static void Change(string directory, params (string From, string To)[] more)
    {
        var file = Path.Combine(directory, "assurance.yaml");
        var text = File.ReadAllText(file);
        foreach (var (from, to) in more.Prepend(("22:00-06:00", "")))
        {
            Assert.Contains(from, text, StringComparison.Ordinal);
            text = text.Replace(from, to, StringComparison.Ordinal);
        }
        File.WriteAllText(file, text);
    }
}
