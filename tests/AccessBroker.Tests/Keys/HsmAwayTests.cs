using AccessBroker.Keys;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Keys;

/// <summary>An HSM that is away for hours is asked again and again: that must not eat the machine's memory.</summary>
public sealed class HsmAwayTests
{
    private static int LoadedCopies() => File.ReadLines("/proc/self/maps").Count(l => l.Contains("accessbroker-", StringComparison.Ordinal) && l.Contains(".so", StringComparison.Ordinal));

    private static void Try(HsmOptions options)
    {
        using var session = new Pkcs11Session(options.Module, options.Environment);
        session.Open("nothing", options.PinFile, readWrite: false);
    }

    [Fact, Trait("Requirement", "KEY-01")]
    public void Failed_attempts_load_the_module_once()
    {
        var options = new HsmOptions { PinFile = $"{Place.Directory}/hsm/pin" };
        options.Environment["P11_KIT_SERVER_ADDRESS"] = "unix:path=/nowhere/hsm.sock";
        Assert.ThrowsAny<Exception>(() => Try(options));
        var before = LoadedCopies();
        for (var i = 0; i < 50; i++) Assert.ThrowsAny<Exception>(() => Try(options));
        // Others of this process may connect meanwhile: a few copies, never fifty.
        Assert.InRange(LoadedCopies() - before, 0, 60);
        options.Environment["P11_KIT_SERVER_ADDRESS"] = Place.HsmSocket;
        // The same copies serve when it is back.
        using var session = new Pkcs11Session(options.Module, options.Environment);
        session.Open(options.SigningToken, options.PinFile, readWrite: false);
    }
}
