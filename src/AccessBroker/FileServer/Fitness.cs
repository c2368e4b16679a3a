using AccessBroker.Database;

namespace AccessBroker.FileServer;

/// <summary>May this node open anything now: its clock agrees with the database's, and the database is its own.</summary>
internal sealed class Fitness(DatabaseClock clock, ReadinessCheck readiness)
{
    internal bool MayWork => clock.MayWork && readiness.Passed;
}
