using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>The terminal's own key and certificate: made here, never leaving. Linux: a file of the agent's OS user; Windows: a CNG key that cannot be exported.</summary>
internal static class TerminalKey
{
    private const string CertificateFile = "terminal.pem", KeyFile = "terminal.key", CngName = "AccessBroker.TerminalAgent";

    /// <summary>A new P-256 key, not yet in use.</summary>
    internal static ECDsa Create() => OperatingSystem.IsWindows()
        ? new ECDsaCng(CngKey.Create(CngAlgorithm.ECDsaP256, CngName, new CngKeyCreationParameters { ExportPolicy = CngExportPolicies.None, KeyCreationOptions = CngKeyCreationOptions.OverwriteExistingKey | CngKeyCreationOptions.MachineKey }))
        : ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>Keeps key and certificate. The key's file is created with mode 0600; the certificate comes last: only then the terminal is enrolled.</summary>
    internal static void Keep(string directory, ECDsa key, string certificatePem)
    {
        Directory.CreateDirectory(directory);
        if (!OperatingSystem.IsWindows())
        {
            using var file = new FileStream(Path.Combine(directory, KeyFile), new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
            using var writer = new StreamWriter(file);
            writer.Write(key.ExportPkcs8PrivateKeyPem());
        }
        File.WriteAllText(Path.Combine(directory, CertificateFile), certificatePem);
    }

    /// <summary>The certificate with its key, or null before the enrolment.</summary>
    internal static X509Certificate2? Load(string directory)
    {
        var certificate = Path.Combine(directory, CertificateFile);
        if (!File.Exists(certificate)) return null;
        if (!OperatingSystem.IsWindows()) return X509Certificate2.CreateFromPemFile(certificate, Path.Combine(directory, KeyFile));
        using var key = new ECDsaCng(CngKey.Open(CngName, CngProvider.MicrosoftSoftwareKeyStorageProvider, CngKeyOpenOptions.MachineKey));
        using var open = X509Certificate2.CreateFromPem(File.ReadAllText(certificate));
        return open.CopyWithPrivateKey(key);
    }
}
