using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Cards;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.Keys;
using AccessBroker.Lockout;
using AccessBroker.Notices;
using AccessBroker.Registers;
using AccessBroker.Sessions;
using AccessBroker.Staff;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Support;

/// <summary>A clock that a test sets; it goes on by itself from there.</summary>
internal sealed class TestClock : TimeProvider
{
    private TimeSpan _ahead;
    internal DateTimeOffset Now { get => GetUtcNow(); set => _ahead = value - base.GetUtcNow(); }
    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + _ahead;
}

/// <summary>The product's own services on a test's database, with a clock that can be set: for rules that depend on days.</summary>
internal static class CityServices
{
    internal static ServiceProvider Of(BrokerHost broker, TimeProvider time)
    {
        var environment = broker.Environment();
        var options = new BrokerOptions { Issuer = broker.Issuer, Segment = "my-number", Database = environment["Broker__Database"], DataDirectory = environment["Broker__DataDirectory"], PolicyDirectory = broker.PolicyDirectory };
        var hsm = new HsmOptions { PinFile = $"{Place.Directory}/hsm/pin", Connections = 1, Deadline = TimeSpan.FromSeconds(5) };
        hsm.Environment["P11_KIT_SERVER_ADDRESS"] = Place.HsmSocket;
        var services = new ServiceCollection().AddLogging().AddSingleton(options).AddSingleton(time);
        services.AddDatabase(options.Database, "");
        services.AddHistory(options.DataDirectory);
        services.AddKeys(hsm, Path.Combine(Place.Directory, "ca"));
        services.AddOperationAuthorization(options.PolicyDirectory);
        services.AddRegisters();
        services.AddNotices();
        services.AddApprovals(options.PolicyDirectory);
        services.AddIncidents();
        services.AddLockout(options.PolicyDirectory);
        services.AddTerminals(options.PolicyDirectory);
        services.AddCards(options.PolicyDirectory);
        services.AddStaff(options.PolicyDirectory);
        services.AddSessions(options.PolicyDirectory, "in-test");
        services.AddFilePermissions();
        return services.BuildServiceProvider();
    }
}
