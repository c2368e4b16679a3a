using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.TargetAgent;

/// <summary>Verifies OpenSSH signatures (PROTOCOL.sshsig) by ECDSA P-256 keys over SHA-256.</summary>
internal static class SshSignature
{
    private const string Begin = "-----BEGIN SSH SIGNATURE-----", End = "-----END SSH SIGNATURE-----", Algorithm = "ecdsa-sha2-nistp256";

    /// <summary>Never throws.</summary>
    /// <param name="publicKey">A line as in a .pub file: the only key that counts.</param>
    internal static bool Holds(string publicKey, string @namespace, byte[] message, string armored)
    {
        try
        {
            var blob = Convert.FromBase64String(armored.Replace(Begin, "", StringComparison.Ordinal).Replace(End, "", StringComparison.Ordinal).ReplaceLineEndings(""));
            if (!blob.AsSpan().StartsWith("SSHSIG\0\0\0\u0001"u8)) return false;
            var fields = Split(blob.AsSpan(10));
            if (fields is not [var key, var space, var reserved, var hash, var signature] || !key.AsSpan().SequenceEqual(Convert.FromBase64String(publicKey.Split(' ')[1])) || Encoding.UTF8.GetString(space) != @namespace || Encoding.ASCII.GetString(hash) != "sha256") return false;
            if (Split(signature) is not [var name, var numbers] || Encoding.ASCII.GetString(name) != Algorithm || Split(numbers) is not [var r, var s]) return false;
            if (Split(key) is not [_, _, { Length: 65 } point]) return false;
            using var ecdsa = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = point[1..33], Y = point[33..] } });
            byte[] signed = [.. "SSHSIG"u8, .. Field(space), .. Field(reserved), .. Field(hash), .. Field(SHA256.HashData(message))];
            byte[] numbersFixed = [.. Fixed(r), .. Fixed(s)];
            return ecdsa.VerifyData(signed, numbersFixed, HashAlgorithmName.SHA256);
        }
        catch (Exception e) when (e is FormatException or CryptographicException or ArgumentException or IndexOutOfRangeException) { return false; }
    }

    private static List<byte[]> Split(ReadOnlySpan<byte> blob)
    {
        var fields = new List<byte[]>();
        while (blob.Length > 0)
        {
            var length = blob.Length < 4 ? uint.MaxValue : BinaryPrimitives.ReadUInt32BigEndian(blob);
            if (length > blob.Length - 4) throw new FormatException("a field is longer than what is there");
            fields.Add(blob.Slice(4, (int)length).ToArray());
            blob = blob[(4 + (int)length)..];
        }
        return fields;
    }

    private static byte[] Field(ReadOnlySpan<byte> bytes)
    {
        var field = new byte[4 + bytes.Length];
        BinaryPrimitives.WriteInt32BigEndian(field, bytes.Length);
        bytes.CopyTo(field.AsSpan(4));
        return field;
    }

    /// <summary>An mpint as 32 bytes.</summary>
    private static byte[] Fixed(byte[] number)
    {
        var bytes = number.AsSpan().TrimStart((byte)0);
        if (bytes.Length > 32) throw new FormatException("a number is too long");
        var padded = new byte[32];
        bytes.CopyTo(padded.AsSpan(32 - bytes.Length));
        return padded;
    }
}
