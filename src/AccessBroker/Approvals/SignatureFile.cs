using System.IO.Compression;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using AccessBroker.Web;

namespace AccessBroker.Approvals;

/// <summary>
/// The approvals of a request as one file (ZIP) that is good without this system: for each its document, signature and certificate or key, and the commands
/// of stock tools (OpenSSL 3) that verify them. The CA's certificate is not in it: whoever verifies takes it from elsewhere. <clause>MIC 6.2(1)③(オ)</clause>
/// </summary>
internal static class SignatureFile
{
    internal static byte[] Write(Request request, IReadOnlyCollection<SignedApproval> approvals)
    {
        using var bytes = new MemoryStream();
        using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            void Add(string name, byte[] content)
            {
                using var entry = zip.CreateEntry(name).Open();
                entry.Write(content);
            }
            var commands = new StringBuilder("#!/bin/sh\n# 承認の署名を確かめます。使い方: sh verify.sh operator-card-ca.pem(AccessBroker以外から受け取ったCA証明書)\nset -e\nca=${1:?operator-card-ca.pem}\n");
            foreach (var approval in approvals)
            {
                Add($"{approval.Step}/document.json", Encoding.UTF8.GetBytes(approval.Document));
                Add($"{approval.Step}/signed", approval.Proof.Content);
                Add($"{approval.Step}/signature", approval.Proof.Signature);
                var at = request.Decisions.First(d => d.Step == approval.Step);
                commands.Append(System.Globalization.CultureInfo.InvariantCulture, $"\n# {approval.Step}: {at.By} {JapaneseTime.Precise(at.At)}\n").Append("s=").Append(approval.Step).Append('\n');
                switch (approval.Proof)
                {
                    case OperationSignature.OfCard card: AddCard(card, approval.Step, at.At, Add, commands); break;
                    case OperationSignature.OfPasskey key: AddPasskey(key, approval.Step, Add, commands); break;
                }
                commands.Append("grep -aqF \"$(openssl dgst -sha256 -r $s/document.json | cut -c1-64)\" $s/signed\necho \"$s: OK\"\n");
            }
            Add("verify.sh", Encoding.UTF8.GetBytes(commands.ToString()));
        }
        return bytes.ToArray();
    }

    private static void AddCard(OperationSignature.OfCard card, string step, DateTimeOffset at, Action<string, byte[]> add, StringBuilder commands)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(card.Certificate);
        add($"{step}/certificate.pem", Encoding.ASCII.GetBytes(certificate.ExportCertificatePem() + "\n"));
        commands.Append(System.Globalization.CultureInfo.InvariantCulture, $"""
            openssl verify -attime {at.ToUnixTimeSeconds()} -CAfile "$ca" $s/certificate.pem
            openssl x509 -in $s/certificate.pem -pubkey -noout > $s/key.pem
            openssl dgst -sha256 -verify $s/key.pem -signature $s/signature $s/signed

            """);
    }

    /// <summary>The challenge in what the browser sent is the hash of the signed fields; the key signed authenticator data and the hash of that.</summary>
    private static void AddPasskey(OperationSignature.OfPasskey key, string step, Action<string, byte[]> add, StringBuilder commands)
    {
        var publicKey = PublicKey.CreateFromSubjectPublicKeyInfo(key.PublicKey, out _);
        using var ecdsa = publicKey.GetECDsaPublicKey();
        add($"{step}/key.pem", Encoding.ASCII.GetBytes(PemEncoding.WriteString("PUBLIC KEY", key.PublicKey) + "\n"));
        add($"{step}/authenticator", key.Authenticator);
        add($"{step}/client.json", key.Client);
        commands.Append(System.Globalization.CultureInfo.InvariantCulture, $"""
            # パスキー {key.Card}: 誰のものかは、操作履歴の passkeys.enrol(key={Convert.ToHexStringLower(SHA256.HashData(key.PublicKey))})で確かめます。
            openssl pkey -pubin -in $s/key.pem -outform DER | openssl dgst -sha256 -r | grep -q ^{Convert.ToHexStringLower(SHA256.HashData(key.PublicKey))}
            openssl dgst -sha256 -binary $s/client.json | cat $s/authenticator - > $s/answer
            openssl dgst -{OperationSignature.OfPasskey.HashOf(ecdsa?.KeySize ?? 0).Name!.ToLowerInvariant()} -verify $s/key.pem -signature $s/signature $s/answer
            grep -qF "$(openssl dgst -sha256 -binary $s/signed | openssl base64 | tr '+/' '-_' | tr -d '=')" $s/client.json

            """);
    }
}
