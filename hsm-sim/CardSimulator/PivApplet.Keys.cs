using System.Numerics;
using System.Security.Cryptography;

namespace CardSimulator;

/// <content>GENERAL AUTHENTICATE and GENERATE ASYMMETRIC KEY PAIR (SP 800-73-4 part 2, §3.2.4 and §3.3.2).</content>
internal sealed partial class PivApplet
{
    private const byte Rsa2048 = 0x07, P256 = 0x11, P384 = 0x14;

    private (byte[], int) GeneralAuthenticate(byte algorithm, byte slot, byte[] data, bool pinJustVerified)
    {
        var outer = Tlv.Parse(data);
        if (outer.Count != 1 || outer[0].Tag != 0x7C) return ([], BadData);
        var template = Tlv.Parse(outer[0].Value).ToDictionary(o => o.Tag, o => o.Value);
        if (slot == 0x9B) return AuthenticateManagement(algorithm, template);
        if (!card.Keys.TryGetValue(slot, out var key)) return ([], ReferenceNotFound);
        // 9E asks for no PIN, 9C for one right before each use, every other key for one since power-on.
        if (slot == 0x9C ? !pinJustVerified : slot != 0x9E && !_pinVerified) return ([], SecurityStatus);
        if (algorithm != key.Algorithm) return ([], BadParameters);
        if (template.TryGetValue(0x85, out var peer) && algorithm != Rsa2048) return (Response(Agree(key, peer)), Ok);
        return template.TryGetValue(0x81, out var input) ? (Response(Sign(key, input)), Ok) : ([], BadData);
    }

    private static byte[] Response(byte[] value) => Tlv.Encode(0x7C, Tlv.Encode(0x82, value));

    private static byte[] Sign(CardState.StoredKey key, byte[] input)
    {
        if (key.Algorithm == Rsa2048) return RawRsa(key.Pkcs8, input);
        using var ecdsa = ECDsa.Create();
        ecdsa.ImportPkcs8PrivateKey(key.Pkcs8, out _);
        var length = key.Algorithm == P256 ? 32 : 48;
        return ecdsa.SignHash(input.Length > length ? input[..length] : input, DSASignatureFormat.Rfc3279DerSequence);
    }

    private static byte[] Agree(CardState.StoredKey key, byte[] peer)
    {
        using var own = ECDiffieHellman.Create();
        own.ImportPkcs8PrivateKey(key.Pkcs8, out _);
        var length = (peer.Length - 1) / 2;
        using var other = ECDiffieHellman.Create(new ECParameters { Curve = own.ExportParameters(false).Curve, Q = new() { X = peer[1..(1 + length)], Y = peer[(1 + length)..] } });
        return own.DeriveRawSecretAgreement(other.PublicKey);
    }

    /// <summary>The host pads, the card exponentiates (SP 800-73-4 part 2 appendix A.3).</summary>
    private static byte[] RawRsa(byte[] pkcs8, byte[] input)
    {
        using var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(pkcs8, out _);
        var p = rsa.ExportParameters(true);
        var size = p.Modulus!.Length;
        if (input.Length != size) throw new FormatException("RSA block");
        var result = BigInteger.ModPow(new(input, true, true), new(p.D!, true, true), new(p.Modulus, true, true)).ToByteArray(true, true);
        return [.. new byte[size - result.Length], .. result];
    }

    private (byte[], int) AuthenticateManagement(byte algorithm, Dictionary<int, byte[]> template)
    {
        if (algorithm != card.ManagementAlgorithm && !(algorithm == 0 && card.ManagementAlgorithm == 3)) return ([], BadParameters);
        var block = card.ManagementAlgorithm == 0x03 ? 8 : 16;
        var (witness, challenge, response) = (template.GetValueOrDefault(0x80), template.GetValueOrDefault(0x81), template.GetValueOrDefault(0x82));
        if (witness is { Length: 0 })                                   // mutual authentication: the card's witness
        {
            _witness = RandomNumberGenerator.GetBytes(block);
            return (Tlv.Encode(0x7C, Tlv.Encode(0x80, Ecb(_witness, encrypt: true))), Ok);
        }
        if (witness is not null && challenge is not null)               // … its answer, and the host's challenge
        {
            var expected = Interlocked.Exchange(ref _witness, null);
            if (expected is null || challenge.Length != block || !CryptographicOperations.FixedTimeEquals(witness, expected)) return ([], SecurityStatus);
            _managed = true;
            return (Response(Ecb(challenge, encrypt: true)), Ok);
        }
        if (challenge is { Length: 0 })                                 // external authentication: the card's challenge
        {
            _challenge = RandomNumberGenerator.GetBytes(block);
            return (Tlv.Encode(0x7C, Tlv.Encode(0x81, _challenge)), Ok);
        }
        if (response is not null && Interlocked.Exchange(ref _challenge, null) is { } sent)
        {
            _managed = CryptographicOperations.FixedTimeEquals(response, Ecb(sent, encrypt: true));
            return ([], _managed ? Ok : SecurityStatus);
        }
        return ([], BadData);
    }

    private byte[] Ecb(byte[] data, bool encrypt)
    {
        using var cipher = ManagementCipher();
        return encrypt ? cipher.EncryptEcb(data, PaddingMode.None) : cipher.DecryptEcb(data, PaddingMode.None);
    }

    private SymmetricAlgorithm ManagementCipher()
    {
        var key = card.ManagementKey;
        SymmetricAlgorithm cipher;
        if (card.ManagementAlgorithm != 0x03) cipher = Aes.Create();
        // .NET refuses 3DES keys with equal thirds as weak; the factory key is one, and EDE with it is single DES.
        else if (key.AsSpan(0, 8).SequenceEqual(key.AsSpan(8, 8)) && key.AsSpan(8, 8).SequenceEqual(key.AsSpan(16))) (cipher, key) = (SingleDes(), key[..8]);
        else cipher = TripleDes();
        cipher.Key = key;
        return cipher;
    }

#pragma warning disable CA5350, CA5351 // The standard's default management key algorithm is 3DES (SP 800-78-4 table 6-2).
    private static DES SingleDes() => DES.Create();
    private static TripleDES TripleDes() => TripleDES.Create();
#pragma warning restore CA5350, CA5351

    private (byte[], int) Generate(byte slot, byte[] data)
    {
        if (!_managed) return ([], SecurityStatus);
        if (slot is not (0x9A or 0x9C or 0x9D or 0x9E or (>= 0x82 and <= 0x95))) return ([], BadParameters);
        var algorithm = Tlv.Parse(Tlv.Parse(data)[0].Value).First(o => o.Tag == 0x80).Value[0];
        byte[] publicKey;
        if (algorithm == Rsa2048)
        {
            using var rsa = RSA.Create(2048);
            card.Keys[slot] = new(algorithm, rsa.ExportPkcs8PrivateKey());
            var p = rsa.ExportParameters(false);
            publicKey = [.. Tlv.Encode(0x81, p.Modulus), .. Tlv.Encode(0x82, p.Exponent)];
        }
        else if (algorithm is P256 or P384)
        {
            using var ecdsa = ECDsa.Create(algorithm == P256 ? ECCurve.NamedCurves.nistP256 : ECCurve.NamedCurves.nistP384);
            card.Keys[slot] = new(algorithm, ecdsa.ExportPkcs8PrivateKey());
            var q = ecdsa.ExportParameters(false).Q;
            publicKey = Tlv.Encode(0x86, [4, .. q.X!, .. q.Y!]);
        }
        else return ([], BadData);
        save();
        return (Tlv.Encode(0x7F49, publicKey), Ok);
    }
}
