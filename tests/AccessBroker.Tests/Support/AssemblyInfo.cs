using AccessBroker.Tests.Support;

// One set of readers, one HSM, two cores: the classes run one after the other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: AssemblyFixture(typeof(Place))]
