using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.TerminalAgent.Piv;

namespace AccessBroker.TerminalAgent;

/// <summary>Makes an order to stop privileged work and signs it with the card in the reader (key 9C), for when nobody can sign in. <clause>MIC 1(2)⑤</clause></summary>
internal static class SignStop
{
    /// <summary>Ours: good for 10 minutes, once.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(10);
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The signed order, JSON. Throws <see cref="CardException"/> and <see cref="InvalidOperationException"/>.</summary>
    /// <param name="scope">everyone, person, target or work.</param>
    /// <param name="value">Whose; empty for everyone.</param>
    internal static string Run(string reader, string scope, string value, string reason, string pin, TimeProvider time) => PrepareCard.WithCard(reader, card =>
    {
        var order = JsonSerializer.Serialize(new SortedDictionary<string, object>(StringComparer.Ordinal)
        {
            ["expires"] = (time.GetUtcNow() + Lifetime).ToUnixTimeSeconds(),
            ["nonce"] = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
            ["reason"] = reason,
            ["scope"] = scope,
            ["value"] = value,
        }, Format);
        card.Begin();
        using var certificate = X509CertificateLoader.LoadCertificate(card.ReadCertificate(PivCard.Slot.Signature));
        var digits = Encoding.ASCII.GetBytes(pin);
        try { if (!card.Verify(digits)) throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"暗証番号が違います。あと {card.TriesLeft()} 回です。")); }
        finally { CryptographicOperations.ZeroMemory(digits); }
        var signature = card.Sign(PivCard.Slot.Signature, SignedFields.Encode(SignedFields.StopOrder, order));
        return JsonSerializer.Serialize(new { order, key = Convert.ToBase64String(certificate.PublicKey.ExportSubjectPublicKeyInfo()), signature = Convert.ToBase64String(signature) }, Format);
    });
}
