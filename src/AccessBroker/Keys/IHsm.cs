using AccessBroker.Primitives;

namespace AccessBroker.Keys;

/// <summary>A key in the HSM: the token's label and the key's CKA_ID in hex.</summary>
public sealed record HsmKey(string Token, string KeyId)
{
    internal byte[] Id => Convert.FromHexString(KeyId);
    /// <inheritdoc/>
    public override string ToString() => $"{Token}/{KeyId}";
}

/// <summary>Holds every private key. There is never a silent software key in its place.</summary>
public interface IHsm
{
    /// <summary>ECDSA P-256 over a SHA-256 digest of 32 bytes: r ‖ s, 64 bytes. Throws <see cref="HsmUnavailableException"/> within the deadline.</summary>
    Task<byte[]> SignAsync(HsmKey key, byte[] digest, CancellationToken ct);

    /// <summary>HMAC with SHA-256 over <paramref name="data"/>, 32 bytes: what is derived for a card. Throws <see cref="HsmUnavailableException"/> within the deadline.</summary>
    Task<byte[]> MacAsync(HsmKey key, byte[] data, CancellationToken ct);

    /// <summary>The public half: SubjectPublicKeyInfo, DER. Throws <see cref="HsmUnavailableException"/> within the deadline.</summary>
    Task<byte[]> PublicKeyAsync(HsmKey key, CancellationToken ct);
}

/// <summary>The HSM is away, hung, or answers with an error. The endpoint answers 503 and nothing was signed.</summary>
public sealed class HsmUnavailableException : Exception, IUnavailable
{
    /// <inheritdoc/>
    public string Code => "keys.hsm-unavailable";
    /// <inheritdoc/>
    public string Explanation => "鍵の装置 (HSM) が応答しません。しばらくしてから、もう一度お試しください。";
    public HsmUnavailableException() { }
    public HsmUnavailableException(string message) : base(message) { }
    public HsmUnavailableException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>A key is missing, doubled, or could leave the HSM or do more than sign: it is not used. <clause>MOJ 第5-5(1)</clause></summary>
public sealed class HsmKeyRefusedException : Exception
{
    public HsmKeyRefusedException() { }
    public HsmKeyRefusedException(string message) : base(message) { }
    public HsmKeyRefusedException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>Where the HSM is. Any PKCS#11 2.40 module with CKM_ECDSA fits.</summary>
public sealed class HsmOptions
{
    /// <summary>Path of the module. Default: Debian's p11-kit-client.so, which speaks to <c>hsm-sim</c>.</summary>
    public string Module { get; set; } = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";
    /// <summary>C environment variables the module reads, e.g. P11_KIT_SERVER_ADDRESS. Default: none.</summary>
    public Dictionary<string, string> Environment { get; } = [];
    /// <summary>File with the user PIN; only the broker's OS user can read it.</summary>
    public string PinFile { get; set; } = "";
    /// <summary>Label of the token with the signing keys.</summary>
    public string SigningToken { get; set; } = "accessbroker-signing";
    /// <summary>Label of the token with the CA keys.</summary>
    public string CaToken { get; set; } = "accessbroker-ca";
    /// <summary>Parallel connections, 1 to 16. Default: one per core.</summary>
    public int Connections { get; set; } = Math.Clamp(System.Environment.ProcessorCount, 1, 16);
    /// <summary>How long a caller waits for one call, 50 ms to 30 s. Default 1 s.</summary>
    public TimeSpan Deadline { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>CKA_ID, hex, of the key that signs ID tokens. Default 01.</summary>
    public string TokenKeyId { get; set; } = "01";
    /// <summary>CKA_ID, hex, of the operator-card CA's key. Default 01.</summary>
    public string OperatorCardCaKeyId { get; set; } = "01";
    /// <summary>CKA_ID, hex, of the terminal CA's key. Default 02.</summary>
    public string TerminalCaKeyId { get; set; } = "02";

    /// <summary>CKA_ID, hex, of the secret from which management keys and PUKs of cards are derived. Default 03.</summary>
    public string CardSecretKeyId { get; set; } = "03";

    /// <summary>CKA_ID, hex, of the key that certifies keys for OpenSSH sessions. Default 04.</summary>
    public string SshCaKeyId { get; set; } = "04";

    /// <summary>Signs ID tokens.</summary>
    public HsmKey TokenKey => new(SigningToken, TokenKeyId);
    /// <summary>Signs operator-card certificates.</summary>
    public HsmKey OperatorCardCaKey => new(CaToken, OperatorCardCaKeyId);
    /// <summary>Signs terminal certificates.</summary>
    public HsmKey TerminalCaKey => new(CaToken, TerminalCaKeyId);
    /// <summary>Derives management keys and PUKs of cards.</summary>
    public HsmKey CardSecretKey => new(CaToken, CardSecretKeyId);
    /// <summary>Signs OpenSSH user certificates.</summary>
    public HsmKey SshCaKey => new(CaToken, SshCaKeyId);
    internal IReadOnlyList<HsmKey> SigningKeys => [TokenKey, OperatorCardCaKey, TerminalCaKey, SshCaKey];
    internal IReadOnlyList<HsmKey> MacKeys => [CardSecretKey];
    internal IEnumerable<HsmKey> Keys => SigningKeys.Concat(MacKeys);
}
