using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using AccessBroker.TargetAgent.Ssh;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>What the agent of a host sees of processes and does to their connections: on real processes, without a city.</summary>
public sealed class HostProcessTests
{
    /// <summary>Nobody's uid on this machine.</summary>
    private const uint Uid = 54321;

    private static Process Perl(params string[] script) => Process.Start(new ProcessStartInfo("setpriv", [$"--reuid={Uid}", "--clear-groups", "perl", .. script]) { RedirectStandardError = true })!;

    private static int Count() => Accounts.Count(new HashSet<uint> { Uid }).GetValueOrDefault(Uid);

    /// <summary>Its first thread ends, and /proc calls it a zombie: another one runs on.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task A_process_whose_first_thread_has_ended_is_still_there()
    {
        var exit = RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64 ? 60 : 93;
        using var process = Perl("-Mthreads", "-e", $"threads->create(sub {{ sleep 60 }})->detach; syscall({exit}, 0)");
        await Eventually.TrueAsync(() => Task.FromResult(File.ReadAllText($"/proc/{process.Id}/status").Contains("State:\tZ", StringComparison.Ordinal)), "its first thread has ended");
        Assert.Equal(1, Count());
        await Accounts.KillAsync(new("x", Uid, Uid));
        await process.WaitForExitAsync();
        Assert.Equal(0, Count());
    }

    /// <summary>The peer has its end of file while the process that served it lives on.</summary>
    [Fact, Trait("Requirement", "PRV-02")]
    public async Task A_connection_is_shut_whoever_serves_it()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var process = Perl("-MIO::Socket::INET", "-e", $"my $s = IO::Socket::INET->new('127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}') or die; sleep 60");
        using var peer = await listener.AcceptSocketAsync();
        using (var end = NetworkEnd.Of(process.Id))
        {
            Assert.NotNull(end);
            end.Shut();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            Assert.Equal(0, await peer.ReceiveAsync(new byte[1], limit.Token));
            Assert.False(process.HasExited);
            process.Kill();
            await process.WaitForExitAsync();
            // Gone, or given back: nothing happens.
            end.Shut();
            end.Dispose();
            end.Shut();
        }
        using var alone = Perl("-e", "sleep 60");
        Assert.Null(NetworkEnd.Of(alone.Id));
        alone.Kill();
        await alone.WaitForExitAsync();
        Assert.Null(NetworkEnd.Of(alone.Id));
    }
}
