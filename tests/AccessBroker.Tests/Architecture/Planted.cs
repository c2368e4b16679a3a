#pragma warning disable IDE0130, CA1822, CS0649 // Planted violations live in namespaces of their own on purpose.
// Each architecture rule must fail on these: a rule that cannot fail proves nothing.
namespace Planted.Web
{
    /// <summary>Ground that uses a slice.</summary>
    internal sealed class GroundUsesSlice { internal Lockout.OtherRule? Field; }
}

namespace Planted.History
{
    /// <summary>A service that uses a capability.</summary>
    public sealed class ServiceUsesCapability { internal Lockout.Hidden? Field; }
}

namespace Planted.Lockout
{
    /// <summary>A rule that reads a clock; a cycle with History; an internal type used from outside.</summary>
    internal sealed class OtherRule { internal TimeProvider Clock = TimeProvider.System; internal History.ServiceUsesCapability? Field; }

    internal sealed class Hidden;
}
#pragma warning restore IDE0130, CA1822, CS0649
