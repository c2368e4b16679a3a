using AccessBroker.Privileged;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Privileged;

/// <summary>Certificates made here, judged by ssh-keygen and a real sshd. Somebody who gets in meets the agent's door, which knows no session: exit 254.</summary>
public sealed class SshCertificateTests(SshCertificateTests.City broker) : IClassFixture<SshCertificateTests.City>
{
    public sealed class City : PrivilegedCity;

    private const int In = 254, Out = 255;

    [Fact, Trait("Requirement", "PRV-01")]
    public async Task Sshd_lets_in_who_it_should_and_nobody_else()
    {
        var host = await broker.HostAsync();
        var (account, directory, now) = (host.Accounts[0], Directory.CreateDirectory(Path.Combine(broker.DataDirectory, "certificates")).FullName, TimeProvider.System.GetUtcNow());
        await using var services = CityServices.Of(broker, TimeProvider.System);
        var certificates = ActivatorUtilities.CreateInstance<SshCertificates>(services);
        await File.WriteAllTextAsync(Path.Combine(host.RunDirectory, "principals", account), "pstest\n");
        SshCertificates.Content Good(ulong serial) => new(serial, "pstest/p-9001/1", "pstest", now.AddSeconds(-30), now.AddMinutes(1), "127.0.0.1");
        foreach (var type in (string[])["ecdsa", "ed25519"])
        {
            var key = $"{directory}/{type}";
            await Place.RunAsync("ssh-keygen", ["-q", "-t", type, "-N", "", "-f", key]);
            var publicKey = (await File.ReadAllTextAsync(key + ".pub")).Trim();
            async Task<int> TryAsync(string certificate)
            {
                await File.WriteAllTextAsync(key + "-cert.pub", certificate + "\n");
                return (await Place.RunAsync("ssh", ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", key, "-o", $"CertificateFile={key}-cert.pub", "-p", $"{host.Port}", $"{account}@127.0.0.1", "true"], mayFail: true)).Exit;
            }
            async Task<string> MakeAsync(SshCertificates.Content content) => (await certificates.IssueAsync(publicKey, content, default))!;
            Assert.Equal((type, In), (type, await TryAsync(await MakeAsync(Good(7)))));
            var shown = (await Place.RunAsync("ssh-keygen", ["-L", "-f", key + "-cert.pub"])).Output;
            foreach (var line in (string[])["user certificate", "Serial: 7", "pstest/p-9001/1", "source-address 127.0.0.1/32", "permit-pty", "ECDSA"]) Assert.Contains(line, shown, StringComparison.Ordinal);
            Assert.DoesNotContain("forwarding", shown, StringComparison.Ordinal);
            Assert.Equal(Out, await TryAsync(await MakeAsync(Good(8) with { From = now.AddMinutes(-9), Until = now.AddSeconds(-2) })));
            Assert.Equal(Out, await TryAsync(await MakeAsync(Good(9) with { From = now.AddMinutes(5), Until = now.AddMinutes(9) })));
            Assert.Equal(Out, await TryAsync(await MakeAsync(Good(10) with { Principal = "psother" })));
            Assert.Equal(Out, await TryAsync(await MakeAsync(Good(11) with { Address = "10.9.8.7" })));
            // Another CA of the same form.
            await Place.RunAsync("sh", ["-c", $"cd {directory} && rm -f other* && ssh-keygen -q -t ecdsa -N '' -f other && ssh-keygen -q -s other -I x -n pstest -V -1m:+5m {type}.pub"]);
            Assert.Equal(Out, await TryAsync((await File.ReadAllTextAsync(key + "-cert.pub")).Trim()));
            // A serial on sshd's list of revoked keys.
            await Place.RunAsync("sh", ["-c", $"echo 'serial: 12' | ssh-keygen -k -q -u -f {host.Revoked} -s {host.DataDirectory}/agent/ssh-user-ca.pub /dev/stdin"]);
            Assert.Equal(Out, await TryAsync(await MakeAsync(Good(12))));
            Assert.Equal(In, await TryAsync(await MakeAsync(Good(13))));
            // One byte of the certificate, and its signature is no longer one.
            var good = await MakeAsync(Good(14));
            var blob = Convert.FromBase64String(good.Split(' ')[1]);
            blob[120] ^= 1;
            Assert.Equal(Out, await TryAsync($"{good.Split(' ')[0]} {Convert.ToBase64String(blob)} x"));
        }
        foreach (var wrong in (string[])["", "ssh-rsa AAAA", "ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp256 " + Convert.ToBase64String(new byte[104]), "ssh-ed25519 " + new string('A', 2000), "ssh-ed25519-cert-v01@openssh.com AAAA"]) Assert.Null(await certificates.IssueAsync(wrong, Good(1), default));
    }
}
