using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AccessBroker.TargetAgent;

/// <summary><c>enrol</c>: makes the agent's key and has it certified, once, with the code from the administrator; keeps the SSH CA that sshd is to trust.</summary>
internal static class EnrolTarget
{
    private sealed record Enrolled(string Target, string Name, string Certificate, string SshUserCa);

    /// <summary>The name of the target. Throws <see cref="InvalidOperationException"/> when the broker refuses the code.</summary>
    internal static async Task<string> RunAsync(TargetOptions options, string code, CancellationToken ct)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=target", key, HashAlgorithmName.SHA256).CreateSigningRequestPem();
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, presented, _, errors) => presented is not null && BrokerLink.Accepts(options, new X509Certificate2(presented), errors);
        using var client = new HttpMessageInvoker(handler);
        using var message = new HttpRequestMessage(HttpMethod.Post, options.Broker + "/targets/enrol") { Content = JsonContent.Create(new { code, certificationRequest = request }) };
        using var response = await client.SendAsync(message, ct);
        if (!response.IsSuccessStatusCode) throw new InvalidOperationException($"登録コードが受け付けられませんでした ({(int)response.StatusCode})。");
        var enrolled = await response.Content.ReadFromJsonAsync<Enrolled>(ct) ?? throw new InvalidOperationException("the broker's answer is empty");
        TargetKey.Keep(options.DataDirectory, key, enrolled.Certificate);
        await File.WriteAllTextAsync(Path.Combine(options.DataDirectory, "ssh-user-ca.pub"), enrolled.SshUserCa + "\n", ct);
        return $"{enrolled.Target} {enrolled.Name}";
    }
}

/// <summary>The agent's own key and certificate: a file of its OS user.</summary>
internal static class TargetKey
{
    private const string CertificateFile = "target.pem", KeyFile = "target.key";

    internal static void Keep(string directory, ECDsa key, string certificatePem)
    {
        Directory.CreateDirectory(directory);
        using (var file = new FileStream(Path.Combine(directory, KeyFile), new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
        using (var writer = new StreamWriter(file)) writer.Write(key.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(directory, CertificateFile), certificatePem);
    }

    /// <summary>The certificate with its key, or null before the enrolment.</summary>
    internal static X509Certificate2? Load(string directory) => Path.Combine(directory, CertificateFile) is var certificate && File.Exists(certificate) ? X509Certificate2.CreateFromPemFile(certificate, Path.Combine(directory, KeyFile)) : null;
}
