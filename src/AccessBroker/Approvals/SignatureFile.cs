using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace AccessBroker.Approvals;

/// <summary>
/// The approvals of a request, or of a session and its start, as one file (ZIP) that is good without this system: for each its document, signature and certificate or key, and a script of
/// stock tools (OpenSSL 3) that verifies them. The CA's certificate is not in it, and the script is the same for every request: whoever verifies takes
/// both from elsewhere. <clause>MIC 6.2(1)③(オ)</clause>
/// </summary>
public static class SignatureFile
{
    /// <summary>The file.</summary>
    public static byte[] Write(IReadOnlyCollection<SignedApproval> approvals)
    {
        using var bytes = new MemoryStream();
        using (var zip = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            void Add(string name, byte[] content)
            {
                using var entry = zip.CreateEntry(name).Open();
                entry.Write(content);
            }
            foreach (var (step, document, proof, at) in approvals)
            {
                Add($"{step}/document.json", Encoding.UTF8.GetBytes(document));
                Add($"{step}/signed", proof.Content);
                Add($"{step}/signature", proof.Signature);
                Add($"{step}/at", Encoding.ASCII.GetBytes(at.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)));
                if (proof is OperationSignature.OfCard card)
                {
                    using var certificate = X509CertificateLoader.LoadCertificate(card.Certificate);
                    Add($"{step}/certificate.pem", Encoding.ASCII.GetBytes(certificate.ExportCertificatePem() + "\n"));
                }
                if (proof is not OperationSignature.OfPasskey key) continue;
                Add($"{step}/key.pem", Encoding.ASCII.GetBytes(PemEncoding.WriteString("PUBLIC KEY", key.PublicKey) + "\n"));
                Add($"{step}/authenticator", key.Authenticator);
                Add($"{step}/client.json", key.Client);
            }
            Add("verify.sh", Encoding.UTF8.GetBytes(Script));
        }
        return bytes.ToArray();
    }

    /// <summary>
    /// What <see cref="OperationSignature.Holds"/> judges, with stock tools: the purpose and the document's hash stand in the signed fields; a card's key signed
    /// these; a passkey signed authenticator data (user present and verified) and the hash of client data, whose challenge is the fields' hash.
    /// </summary>
    private const string Script = """
        #!/bin/sh
        # 承認の署名を確かめます: sh verify.sh operator-card-ca.pem
        # この手順はどの申請でも同じです。CA証明書と同じく、別に保管した写しを使ってください。OpenSSL 3 が必要です。
        set -eu
        [ $# != 1 ] || [ -f "$1" ] || echo "ファイルがありません: $1" >&2
        [ $# = 1 ] && [ -f "$1" ] || { echo "使い方: sh verify.sh operator-card-ca.pem(操作識別カードの認証局の証明書。別に受け取った写し)" >&2; exit 2; }
        ca=$(realpath "$1")
        cd "$(dirname "$0")"
        [ -n "$(find . -mindepth 2 -name signed)" ] || { echo "署名がありません" >&2; exit 1; }
        refuse() { echo "$s: NG — $1" >&2; exit 1; }
        hash() { h=$(openssl dgst -sha256 -r "$1") || exit 1; h=${h%% *}; [ ${#h} = 64 ] || exit 1; echo "$h"; }
        challenge() { c=$(openssl dgst -sha256 -binary "$1" | openssl base64 -A | tr '+/' '-_' | tr -d '='); [ ${#c} = 43 ] || exit 1; echo "$c"; }
        for s in */; do
          s=${s%/}
          if [ -e "$s/certificate.pem" ]; then
            openssl verify -attime "$(cat "$s/at")" -no-CApath -no-CAstore -CAfile "$ca" "$s/certificate.pem" > /dev/null || refuse 証明書
            openssl x509 -in "$s/certificate.pem" -pubkey -noout > "$s/key.pem"
            openssl dgst -sha256 -verify "$s/key.pem" -signature "$s/signature" "$s/signed" > /dev/null || refuse 署名
            who="カード $(openssl x509 -in "$s/certificate.pem" -noout -subject -nameopt RFC2253)(誰のものかは、カードの管理簿の番号と比べてください)"
          else
            c=$(challenge "$s/signed") || refuse 署名の対象
            grep -qF -e "\"challenge\":\"$c\"" "$s/client.json" || refuse チャレンジ
            grep -qF -e '"type":"webauthn.get"' "$s/client.json" || refuse 種類
            flags=$(od -An -tu1 -j32 -N1 "$s/authenticator")
            [ $((flags & 5)) = 5 ] || refuse 本人確認
            case $(openssl pkey -pubin -in "$s/key.pem" -text -noout | head -1) in *"(384 bit)"*) d=-sha384 ;; *"(521 bit)"*) d=-sha512 ;; *) d=-sha256 ;; esac
            openssl dgst -sha256 -binary "$s/client.json" | cat "$s/authenticator" - > "$s/answer"
            openssl dgst $d -verify "$s/key.pem" -signature "$s/signature" "$s/answer" > /dev/null || refuse 署名
            openssl pkey -pubin -in "$s/key.pem" -outform DER -out "$s/key.der"
            who="パスキー key=$(hash "$s/key.der")(誰のものかは、操作履歴の承認または開始の key と比べてください)"
          fi
          printf '\000\000\000\030accessbroker:approval:v1' | cmp -s -n 28 - "$s/signed" || refuse 目的
          h=$(hash "$s/document.json") || refuse 文書
          [ "$(tail -c 64 "$s/signed")" = "$h" ] || refuse 文書
          echo "$s: OK — $who"
          echo "  署名された内容: $(cat "$s/document.json")"
          echo "  時刻(記録による。署名の対象ではない): $(date -u -d "@$(cat "$s/at")" +%FT%TZ)"
        done

        """;
}
