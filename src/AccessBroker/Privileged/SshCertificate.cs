using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AccessBroker.Keys;

namespace AccessBroker.Privileged;

/// <summary>
/// OpenSSH user certificates (PROTOCOL.certkeys): made here, signed by the HSM's SSH CA (ECDSA P-256). Subject keys: ecdsa-sha2-nistp256 or ssh-ed25519.
/// </summary>
internal sealed class SshCertificates(IHsm hsm, HsmOptions options)
{
    private const string Curve = "nistp256", Ecdsa = "ecdsa-sha2-nistp256", Ed25519 = "ssh-ed25519", UserSuffix = "-cert-v01@openssh.com";
    private const uint UserCertificate = 1;

    /// <summary>What a certificate says.</summary>
    /// <param name="Principal">The session: sshd lets in whoever has it, under the session's account only.</param>
    /// <param name="Address">Only from this address (critical option source-address).</param>
    internal sealed record Content(ulong Serial, string KeyId, string Principal, DateTimeOffset From, DateTimeOffset Until, string Address);

    /// <summary>The certificate as one line for a file ending in -cert.pub; null: <paramref name="publicKey"/> is no key we certify. Throws <see cref="HsmUnavailableException"/>.</summary>
    internal async Task<string?> IssueAsync(string publicKey, Content content, CancellationToken ct)
    {
        if (ReadKey(publicKey) is not var (type, key)) return null;
        var name = type + UserSuffix;
        var body = new Wire().Text(name).Bytes(RandomNumberGenerator.GetBytes(32)).Raw(key).UInt64(content.Serial).UInt32(UserCertificate).Text(content.KeyId)
            .Bytes(new Wire().Text(content.Principal).ToArray())
            .UInt64((ulong)content.From.ToUnixTimeSeconds()).UInt64((ulong)content.Until.ToUnixTimeSeconds())
            .Bytes(new Wire().Text("source-address").Bytes(new Wire().Text(content.Address + (content.Address.Contains(':', StringComparison.Ordinal) ? "/128" : "/32")).ToArray()).ToArray())
            // A terminal, and nothing that forwards.
            .Bytes(new Wire().Text("permit-pty").Text("").ToArray())
            .Text("").Bytes(await AuthorityKeyAsync(ct)).ToArray();
        var rs = await hsm.SignAsync(options.SshCaKey, SHA256.HashData(body), ct);
        var signature = new Wire().Text(Ecdsa).Bytes(new Wire().Number(rs.AsSpan(0, 32)).Number(rs.AsSpan(32)).ToArray()).ToArray();
        return $"{name} {Convert.ToBase64String(new Wire().Raw(body).Bytes(signature).ToArray())} {content.KeyId}";
    }

    /// <summary>An OpenSSH signature (PROTOCOL.sshsig) by the CA's key, for what agents must be able to judge alone. Throws <see cref="HsmUnavailableException"/>.</summary>
    internal async Task<string> SignAsync(string @namespace, byte[] message, CancellationToken ct)
    {
        Wire Fields(Wire wire) => wire.Text(@namespace).Text("").Text("sha256");
        var signed = Fields(new Wire().Raw("SSHSIG"u8)).Bytes(SHA256.HashData(message)).ToArray();
        var rs = await hsm.SignAsync(options.SshCaKey, SHA256.HashData(signed), ct);
        var signature = new Wire().Text(Ecdsa).Bytes(new Wire().Number(rs.AsSpan(0, 32)).Number(rs.AsSpan(32)).ToArray()).ToArray();
        var blob = Convert.ToBase64String(Fields(new Wire().Raw("SSHSIG"u8).UInt32(1).Bytes(await AuthorityKeyAsync(ct))).Bytes(signature).ToArray());
        return $"-----BEGIN SSH SIGNATURE-----\n{string.Join('\n', blob.Chunk(70).Select(c => new string(c)))}\n-----END SSH SIGNATURE-----\n";
    }

    /// <summary>The CA's public key, for sshd's TrustedUserCAKeys.</summary>
    internal async Task<string> AuthorityAsync(CancellationToken ct) => $"{Ecdsa} {Convert.ToBase64String(await AuthorityKeyAsync(ct))} accessbroker-user-ca";

    private async Task<byte[]> AuthorityKeyAsync(CancellationToken ct)
    {
        using var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(await hsm.PublicKeyAsync(options.SshCaKey, ct), out _);
        var q = key.ExportParameters(false).Q;
        return new Wire().Text(Ecdsa).Text(Curve).Bytes([4, .. q.X!, .. q.Y!]).ToArray();
    }

    /// <summary>Type, and what follows the nonce in a certificate: the key's own fields.</summary>
    private static (string Type, byte[] Fields)? ReadKey(string line)
    {
        if (line.Length > 1000 || line.Split(' ') is not [var type, var base64, ..] || type is not (Ecdsa or Ed25519)) return null;
        var blob = new byte[600];
        if (!Convert.TryFromBase64String(base64, blob, out var length)) return null;
        var fields = Split(blob.AsSpan(0, length));
        if (fields is null || Encoding.ASCII.GetString(fields[0]) != type) return null;
        return type switch
        {
            Ecdsa when fields is [_, var curve, { Length: 65 } point] && Encoding.ASCII.GetString(curve) == Curve && IsOnCurve(point) => (type, new Wire().Bytes(curve).Bytes(point).ToArray()),
            Ed25519 when fields is [_, { Length: 32 } point] => (type, new Wire().Bytes(point).ToArray()),
            _ => null,
        };
    }

    private static bool IsOnCurve(byte[] point)
    {
        if (point[0] != 4) return false;
        try
        {
            using var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = point[1..33], Y = point[33..] } });
            return key.KeySize == 256;
        }
        catch (CryptographicException) { return false; }
    }

    private static List<byte[]>? Split(ReadOnlySpan<byte> blob)
    {
        var fields = new List<byte[]>();
        while (blob.Length > 0)
        {
            if (blob.Length < 4 || BinaryPrimitives.ReadUInt32BigEndian(blob) is var length && length > blob.Length - 4) return null;
            fields.Add(blob.Slice(4, (int)length).ToArray());
            blob = blob[(4 + (int)length)..];
        }
        return fields.Count > 0 ? fields : null;
    }

    /// <summary>RFC 4251 §5.</summary>
    private sealed class Wire
    {
        private readonly List<byte> _bytes = [];
        internal byte[] ToArray() => [.. _bytes];
        internal Wire Raw(ReadOnlySpan<byte> bytes) { _bytes.AddRange(bytes); return this; }
        internal Wire Bytes(ReadOnlySpan<byte> bytes) => UInt32((uint)bytes.Length).Raw(bytes);
        internal Wire Text(string text) => Bytes(Encoding.UTF8.GetBytes(text));

        internal Wire UInt32(uint value)
        {
            Span<byte> bytes = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
            return Raw(bytes);
        }

        internal Wire UInt64(ulong value)
        {
            Span<byte> bytes = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
            return Raw(bytes);
        }

        /// <summary>mpint: no leading zeros, but one where the first bit is set.</summary>
        internal Wire Number(ReadOnlySpan<byte> number)
        {
            var first = number.IndexOfAnyExcept((byte)0);
            number = first < 0 ? [] : number[first..];
            return number.Length > 0 && number[0] >= 0x80 ? Bytes([0, .. number]) : Bytes(number);
        }
    }

    /// <summary>Who, what for, where: sshd logs it with the serial.</summary>
    internal static string KeyId(string session, string person, long? request) => string.Create(CultureInfo.InvariantCulture, $"{session}/{person}/{request?.ToString(CultureInfo.InvariantCulture) ?? "emergency"}");
}
