namespace AccessBroker.Tests.Support;

/// <summary>The full counts of <c>./dev test --long</c>, or moderate ones.</summary>
internal static class Counts
{
    internal static bool Long { get; } = Environment.GetEnvironmentVariable("ACCESSBROKER_LONG") == "1";

    internal static int Of(int moderate, int full) => Long ? full : moderate;
}

/// <summary>Two nodes behind HAProxy.</summary>
public class TwoNodes : BrokerHost
{
    protected override int NodeCount => 2;

    protected override void ChangePolicies(string directory) => CrowdedCity.LiftRateLimit(directory);
}

internal static class CrowdedCity
{
    /// <summary>All terminals of the tests share one address; in a city each has its own.</summary>
    internal static void LiftRateLimit(string directory, string segment = "")
    {
        var file = Path.Combine(directory, segment, "sign-in.yaml");
        File.WriteAllText(file, File.ReadAllText(file).Replace("attempts-per-minute: 600", "attempts-per-minute: 100000", StringComparison.Ordinal));
    }
}
