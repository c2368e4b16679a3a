namespace AccessBroker.Web;

/// <summary>What a component says of itself.</summary>
/// <param name="Name">Stable name for machines.</param>
/// <param name="Title">Japanese name for people.</param>
/// <param name="State">ok, degraded or broken.</param>
/// <param name="Advice">What is wrong and what to do, in Japanese; empty when ok.</param>
public sealed record ComponentHealth(string Name, string Title, string State, string Advice = "");

/// <summary>A component that can be asked. Several slices have one.</summary>
public interface IHealthReport
{
    /// <summary>The state now, within two seconds. Never throws.</summary>
    Task<ComponentHealth> ReportAsync(CancellationToken ct);
}
