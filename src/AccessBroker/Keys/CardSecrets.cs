using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.Keys;

/// <summary>
/// Management key (9B) and PUK of each card, derived in the HSM from the card's id and a counter, never stored and never shown. Counters make a
/// used PUK worthless. Whoever asks wipes what it got. <clause>MIC 6.2(5)①</clause>
/// </summary>
public sealed class CardSecrets(IHsm hsm, HsmOptions options)
{
    /// <summary>The AES-256 management key of a card in its <paramref name="generation"/>th personalisation, from 1.</summary>
    public Task<byte[]> ManagementKeyAsync(string card, int generation, CancellationToken ct) => DeriveAsync("management", card, generation, ct);

    /// <summary>The card's PUK after <paramref name="counter"/> rotations: 8 bytes.</summary>
    public async Task<byte[]> PukAsync(string card, int counter, CancellationToken ct)
    {
        var derived = await DeriveAsync("puk", card, counter, ct);
        try { return derived[..8]; }
        finally { CryptographicOperations.ZeroMemory(derived); }
    }

    /// <summary>Answers a card's challenge with its management key (SP 800-73-4 part 2 §3.2.4): one block of AES-256.</summary>
    public async Task<byte[]> AnswerAsync(string card, int generation, byte[] challenge, CancellationToken ct)
    {
        var key = await ManagementKeyAsync(card, generation, ct);
        try
        {
            using var aes = Aes.Create();
            aes.Key = key;
            return aes.EncryptEcb(challenge, PaddingMode.None);
        }
        finally { CryptographicOperations.ZeroMemory(key); }
    }

    private Task<byte[]> DeriveAsync(string purpose, string card, int counter, CancellationToken ct) =>
        hsm.MacAsync(options.CardSecretKey, Encoding.ASCII.GetBytes($"accessbroker:card-{purpose}:v1:{card}:{counter}"), ct);

    /// <summary>What vendors ship blank cards with: the 3DES management key of equal thirds, which is single DES.</summary>
    public static byte[] AnswerWithFactoryKey(byte[] challenge)
    {
#pragma warning disable CA5351 // The factory key of every vendor; the first thing that happens to a card is that it loses it.
        using var des = DES.Create();
        des.Key = [1, 2, 3, 4, 5, 6, 7, 8];
        return des.EncryptEcb(challenge, PaddingMode.None);
#pragma warning restore CA5351
    }

    /// <summary>What vendors ship blank cards with.</summary>
    public static byte[] FactoryPuk => "12345678"u8.ToArray();
}
