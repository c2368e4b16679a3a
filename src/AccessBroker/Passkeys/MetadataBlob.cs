using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using AccessBroker.Primitives;

namespace AccessBroker.Passkeys;

/// <summary>One model of the metadata.</summary>
/// <param name="Statuses">All status reports, by name (FIDO Metadata Service §3.1.4).</param>
internal sealed record MetadataModel(Guid Aaguid, string Description, IReadOnlyList<byte[]> Anchors, IReadOnlyList<string> Statuses)
{
    /// <summary>What makes a model untrustworthy, whatever it was before. Ours: every status that says so of its keys.</summary>
    private static readonly string[] Bad = ["REVOKED", "USER_VERIFICATION_BYPASS", "ATTESTATION_KEY_COMPROMISE", "USER_KEY_REMOTE_COMPROMISE", "USER_KEY_PHYSICAL_COMPROMISE"];
    internal bool Revoked => Statuses.Any(Bad.Contains);
}

/// <summary>A metadata file that cannot be taken, and why.</summary>
public sealed class MetadataException : Exception
{
    public MetadataException() { }
    public MetadataException(string message) : base(message) { }
    public MetadataException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>
/// A FIDO Metadata Service 3 BLOB: a JWS whose chain ends at the root the city put there by hand, and whose number is newer than the last. Read from a
/// file: nothing is fetched. <clause>MIC 3(4)③</clause>
/// </summary>
internal sealed record MetadataBlob(long Number, DateOnly NextUpdate, IReadOnlyList<MetadataModel> Models)
{
    /// <summary>Ours: 64 MiB.</summary>
    internal const int MostBytes = 64 * 1024 * 1024;

    /// <summary>Throws <see cref="MetadataException"/>.</summary>
    /// <param name="signer">Common name of the signing certificate.</param>
    /// <param name="lastNumber">The number of the last one taken, 0: none.</param>
    internal static MetadataBlob Read(byte[] file, X509Certificate2 root, string signer, long lastNumber, DateTimeOffset now)
    {
        if (file.Length > MostBytes) throw new MetadataException("the file is too large");
        if (Encoding.ASCII.GetString(file).Trim().Split('.') is not [var header, var payload, var signature]) throw new MetadataException("no JWS in compact form");
        if (StrictJson.ParseObject(Decode(header)) is not { } head || head.TryGetProperty("crit", out _)) throw new MetadataException("the header is no JSON object");
        if (!head.TryGetProperty("x5c", out var x5c) || x5c.ValueKind != JsonValueKind.Array || x5c.GetArrayLength() is 0 or > 8) throw new MetadataException("no certificates in the header (x5c)");
        var chain = x5c.EnumerateArray().Select(c => c.ValueKind == JsonValueKind.String && c.TryGetBytesFromBase64(out var raw) ? raw : throw new MetadataException("x5c is no list of certificates")).ToList();
        VerifySignature(chain, root, signer, StrictJson.Text(head, "alg"), Encoding.ASCII.GetBytes($"{header}.{payload}"), Decode(signature), now);
        if (StrictJson.ParseObject(Decode(payload)) is not { } body) throw new MetadataException("the payload is no JSON object");
        if (!body.TryGetProperty("no", out var no) || no.ValueKind != JsonValueKind.Number || !no.TryGetInt64(out var number) || number <= 0) throw new MetadataException("no serial number (no)");
        if (number <= lastNumber) throw new MetadataException($"number {number} is not newer than {lastNumber}, which was imported before");
        if (!DateOnly.TryParseExact(StrictJson.Text(body, "nextUpdate"), "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var next)) throw new MetadataException("no nextUpdate");
        if (!body.TryGetProperty("entries", out var entries) || entries.ValueKind != JsonValueKind.Array) throw new MetadataException("no entries");
        return new(number, next, [.. entries.EnumerateArray().Select(ReadEntry).OfType<MetadataModel>()]);
    }

    /// <summary>Entries of U2F and UAF devices have no AAGUID: they are passed over.</summary>
    private static MetadataModel? ReadEntry(JsonElement entry)
    {
        if (StrictJson.Text(entry, "aaguid") is not { } text) return null;
        if (!Guid.TryParseExact(text, "D", out var aaguid)) throw new MetadataException($"an entry with the AAGUID '{text}'");
        var statement = entry.TryGetProperty("metadataStatement", out var s) && s.ValueKind == JsonValueKind.Object ? s : throw new MetadataException($"{aaguid}: no metadataStatement");
        var anchors = statement.TryGetProperty("attestationRootCertificates", out var roots) && roots.ValueKind == JsonValueKind.Array
            ? roots.EnumerateArray().Select(r => r.ValueKind == JsonValueKind.String && TryBase64(r.GetString()!) is { } raw && IsCertificate(raw) ? raw : throw new MetadataException($"{aaguid}: attestationRootCertificates")).ToList() : [];
        var statuses = entry.TryGetProperty("statusReports", out var reports) && reports.ValueKind == JsonValueKind.Array ? reports.EnumerateArray().Select(r => StrictJson.Text(r, "status") ?? throw new MetadataException($"{aaguid}: a status report without a status")).ToList() : [];
        return new(aaguid, StrictJson.Text(statement, "description") ?? "", anchors, statuses);
    }

    private static void VerifySignature(List<byte[]> certificates, X509Certificate2 root, string signer, string? algorithm, byte[] signed, byte[] signature, DateTimeOffset now)
    {
        using var chain = new X509Chain();
        (chain.ChainPolicy.TrustMode, chain.ChainPolicy.RevocationMode, chain.ChainPolicy.DisableCertificateDownloads, chain.ChainPolicy.VerificationTime) = (X509ChainTrustMode.CustomRootTrust, X509RevocationMode.NoCheck, true, now.UtcDateTime);
        chain.ChainPolicy.CustomTrustStore.Add(root);
        try
        {
            foreach (var raw in certificates.Skip(1)) chain.ChainPolicy.ExtraStore.Add(X509CertificateLoader.LoadCertificate(raw));
            using var leaf = X509CertificateLoader.LoadCertificate(certificates[0]);
            if (!chain.Build(leaf)) throw new MetadataException($"the signer's certificate does not lead to the configured root: {string.Join(", ", chain.ChainStatus.Select(c => c.Status))}");
            // A public root vouches for many: the signer must be the one who publishes metadata.
            if (leaf.GetNameInfo(X509NameType.SimpleName, false) != signer) throw new MetadataException($"signed by '{leaf.GetNameInfo(X509NameType.SimpleName, false)}', not by '{signer}'");
            using var ecdsa = leaf.GetECDsaPublicKey();
            using var rsa = leaf.GetRSAPublicKey();
            var holds = algorithm switch
            {
                "ES256" => ecdsa is { KeySize: 256 } && ecdsa.VerifyData(signed, signature, HashAlgorithmName.SHA256),
                "RS256" => rsa is { KeySize: >= 2048 } && rsa.VerifyData(signed, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
                "PS256" => rsa is { KeySize: >= 2048 } && rsa.VerifyData(signed, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pss),
                _ => throw new MetadataException($"algorithm '{algorithm}' is not allowed"),
            };
            if (!holds) throw new MetadataException("the signature does not fit");
        }
        catch (CryptographicException e) { throw new MetadataException("a certificate cannot be read", e); }
    }

    private static bool IsCertificate(byte[] raw)
    {
        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(raw);
            return true;
        }
        catch (CryptographicException) { return false; }
    }

    private static byte[]? TryBase64(string text)
    {
        // Entries in the field carry line breaks.
        try { return Convert.FromBase64String(text); }
        catch (FormatException) { return null; }
    }

    private static byte[] Decode(string text)
    {
        try { return System.Buffers.Text.Base64Url.DecodeFromChars(text); }
        catch (FormatException e) { throw new MetadataException("no base64url", e); }
    }
}
