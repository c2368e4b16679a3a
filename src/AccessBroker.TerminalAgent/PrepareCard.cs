using System.Security.Cryptography;
using System.Text;
using AccessBroker.TerminalAgent.Piv;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>
/// <c>card generate</c> and <c>card load</c>: the two halves of preparing a blank card at a reader, around 'AccessBroker cards issue'.
/// For demonstrations and tests; the PIN manager's issuing station takes their place.
/// </summary>
internal static class PrepareCard
{
    internal sealed record Keys(string Card, byte[] SignIn, byte[] Signature, byte[] Possession);
    internal sealed record Certificates(byte[] SignIn, byte[] Signature, byte[] Possession, byte[] ManagementKey, byte[] Puk);

    /// <summary>The vendors' factory management key of blank cards (3DES).</summary>
    private static readonly byte[] FactoryKey = [1, 2, 3, 4, 5, 6, 7, 8];

    /// <summary>Makes the three keys on the card.</summary>
    internal static Keys Generate(PivCard card)
    {
        card.Begin();
        card.AuthenticateManagement(0x03, AnswerWithFactoryKey);
        return new(card.ReadId(), card.Generate(PivCard.Slot.SignIn), card.Generate(PivCard.Slot.Signature), card.Generate(PivCard.Slot.Possession));
    }

    /// <summary>
    /// Writes the certificates, sets the first PIN, and replaces the factory's PUK and management key by those that the broker derived in the HSM.
    /// </summary>
    internal static void Load(PivCard card, Certificates certificates, string firstPin)
    {
        card.Begin();
        card.AuthenticateManagement(0x03, AnswerWithFactoryKey);
        card.WriteCertificate(PivCard.Slot.SignIn, certificates.SignIn);
        card.WriteCertificate(PivCard.Slot.Signature, certificates.Signature);
        card.WriteCertificate(PivCard.Slot.Possession, certificates.Possession);
        card.ChangePin("123456"u8, Encoding.ASCII.GetBytes(firstPin));
        card.ChangePuk("12345678"u8, certificates.Puk);
        card.ChangeManagementKey(certificates.ManagementKey);
        card.Reset();
    }

    /// <summary>A card that was put in this moment is not there for the PC/SC service yet (ours: 2 s); at a station the person may still be reaching for it (ours: 60 s).</summary>
    private static readonly TimeSpan Insertion = TimeSpan.FromSeconds(2), Reaching = TimeSpan.FromSeconds(60);

    /// <summary>The same for work that waits for people.</summary>
    internal static async Task<T> WithCardAsync<T>(string reader, Func<PivCard, Task<T>> work, TimeProvider time)
    {
        var pcsc = PlatformParts.Pcsc();
        var context = pcsc.EstablishContext();
        try
        {
            var (handle, protocol) = await ConnectAsync(pcsc, context, reader, Reaching, time);
            try { return await work(new PivCard(pcsc, handle, protocol)); }
            finally { pcsc.Disconnect(handle); }
        }
        finally { pcsc.ReleaseContext(context); }
    }

    private static async Task<(nint Card, uint Protocol)> ConnectAsync(IPcsc pcsc, nint context, string reader, TimeSpan patience, TimeProvider time)
    {
        for (var since = time.GetTimestamp(); ;)
        {
            try { return pcsc.ConnectExclusive(context, reader); }
            catch (PcscException e) when (e.NoCard && time.GetElapsedTime(since) < patience) { await Task.Delay(TimeSpan.FromMilliseconds(100), time); }
        }
    }

    /// <summary>Runs <paramref name="work"/> on the card in the named reader.</summary>
    internal static T WithCard<T>(string reader, Func<PivCard, T> work)
    {
        var pcsc = PlatformParts.Pcsc();
        var context = pcsc.EstablishContext();
        try
        {
            var (handle, protocol) = pcsc.ConnectExclusive(context, reader);
            try { return work(new PivCard(pcsc, handle, protocol)); }
            finally { pcsc.Disconnect(handle); }
        }
        finally { pcsc.ReleaseContext(context); }
    }

#pragma warning disable CA5351 // The factory key's equal thirds make 3DES single DES, which .NET's TripleDES refuses to do.
    private static byte[] AnswerWithFactoryKey(byte[] challenge)
    {
        using var des = DES.Create();
        des.Key = FactoryKey;
        return des.EncryptEcb(challenge, PaddingMode.None);
    }
#pragma warning restore CA5351
}
