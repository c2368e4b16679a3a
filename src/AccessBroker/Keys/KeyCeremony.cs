using System.Security.Cryptography.X509Certificates;

namespace AccessBroker.Keys;

/// <summary>
/// <c>AccessBroker keys create</c>: makes the keys through the ceremony socket that two custodians opened, and the CA certificates they
/// sign for themselves. What exists is never touched; it refuses to run when nothing is missing. <clause>MOJ 第5-5(1)</clause>
/// </summary>
internal static class KeyCeremony
{
    internal static async Task CreateAsync(HsmOptions options, string caDirectory, TimeProvider time, CancellationToken ct)
    {
        using (var session = new Pkcs11Session(options.Module, options.Environment))
        {
            foreach (var token in options.Keys.Select(k => k.Token).Distinct()) session.Open(token, options.PinFile, readWrite: true);
            // A newer version may need one key more: those that are there stay as they are.
            var missing = options.Keys.Where(key => !Exists(session, key)).ToHashSet();
            if (missing.Count == 0) throw new InvalidOperationException("every key exists already; nothing was changed");
            foreach (var key in options.SigningKeys.Where(missing.Contains)) session.GenerateSigningKey(key, Label(options, key));
            foreach (var key in options.MacKeys.Where(missing.Contains)) session.GenerateMacKey(key, "card-secret");
        }
        await using var hsm = new Pkcs11Hsm(options, Microsoft.Extensions.Logging.Abstractions.NullLogger<Pkcs11Hsm>.Instance);
        Directory.CreateDirectory(caDirectory);
        if (File.Exists(Path.Combine(caDirectory, CertificateAuthorities.OperatorCardFile))) return;
        await CreateRootAsync(hsm, options.OperatorCardCaKey, "AccessBroker Operator Card CA", Path.Combine(caDirectory, CertificateAuthorities.OperatorCardFile), time, ct);
        await CreateRootAsync(hsm, options.TerminalCaKey, "AccessBroker Terminal CA", Path.Combine(caDirectory, CertificateAuthorities.TerminalFile), time, ct);
    }

    private static bool Exists(Pkcs11Session session, HsmKey key)
    {
        foreach (var kind in (nuint[])[Cryptoki.ClassPrivateKey, Cryptoki.ClassSecretKey])
        {
            try { session.Find(key, kind); return true; }
            catch (HsmKeyRefusedException) { /* none of this kind */ }
        }
        return false;
    }

    private static string Label(HsmOptions options, HsmKey key) => key == options.TokenKey ? "token-signing" : key == options.OperatorCardCaKey ? "operator-card-ca" : key == options.SshCaKey ? "ssh-user-ca" : "terminal-ca";

    private static async Task CreateRootAsync(Pkcs11Hsm hsm, HsmKey key, string name, string path, TimeProvider time, CancellationToken ct)
    {
        var publicKey = PublicKey.CreateFromSubjectPublicKeyInfo(await hsm.PublicKeyAsync(key, ct), out _);
        using var certificate = CertificateAuthority.SelfSign(hsm, key, publicKey, name, time.GetUtcNow());
        await File.WriteAllTextAsync(path, certificate.ExportCertificatePem(), ct);
    }
}
