using System.ComponentModel.DataAnnotations;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.SignIn;

/// <summary>What a refused operator was told is a number; whoever they call finds the reason here, in words. The look-up is recorded. <clause>MIC 7.1③</clause></summary>
[Authorize("sign-in.read-receipts"), Audited("sign-in.read-receipts")]
internal sealed class ReceiptsModel(Store store, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(9)] public string? Number { get; set; }

    public bool Searched { get; private set; }
    public ReceiptLine? Found { get; private set; }
    public string Why { get; private set; } = "";
    public string Next { get; private set; } = "";
    public string? NextUrl { get; private set; }
    public string PersonName { get; private set; } = "";
    public string TerminalName { get; private set; } = "";

    public async Task<IActionResult> OnPostAsync(CancellationToken ct)
    {
        Searched = true;
        Number = new string([.. (Number ?? "").ToUpperInvariant().Where(char.IsAsciiLetterOrDigit)]);
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        Found = Number.Length == 8 ? await work.AskAsync(HistoryLog.FindReceipt(Number), ct) : null;
        if (Found is { } found)
        {
            (Why, Next, NextUrl) = InWords(found);
            if (found.Person is { } person) PersonName = (await work.AskAsync(PeopleRegister.Names([person], now), ct)).GetValueOrDefault(person, person);
            if (TerminalId.TryParse(found.Terminal, null, out var terminal)) TerminalName = (await work.AskAsync(TerminalRegister.Find(terminal), ct))?.Name ?? terminal.Value;
        }
        work.Record(new("sign-in.read-receipts", HistoryOutcome.Done) { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["receipt"] = Number, ["found"] = Found is null ? "no" : "yes" } }, now);
        await work.CommitAsync(ct);
        return Page();
    }

    private const string CardIs = "sign-in.card-";

    /// <summary>Why it was refused, and what to do next, for every reason that gives a receipt.</summary>
    internal static (string Why, string Next, string? Url) InWords(ReceiptLine found) => found.Reason switch
    {
        "sign-in.no-grant" => ("この人には、この端末の利用許可がありません。", "「端末の利用許可」を申請し、端末の管理責任者が認めると使えます。", $"/requests/new/terminals.grant?person={found.Person}&terminal={found.Terminal}"),
        "sign-in.person-not-valid" => ("この人は在籍していないか、権限が停止されています。", "職員の画面で状態を確かめてください。", $"/people/{found.Person}"),
        "sign-in.foreign-card" => ("この市のカードではありません。", "持ち主を確かめてください。名刺や他のシステムのカードかもしれません。", null),
        "sign-in.unknown-card" => ("登録のないカードです。", "カードを預かり、暗証番号管理者が確かめてください。", null),
        "sign-in.card-expired" => ("当日限りのカードの時間が終わっています。", "必要なら、当日限りのカードを申請し直してください。", $"/requests/new/cards.temporary?person={found.Person}"),
        "sign-in.first-pin-expired" => ("封緘用紙の暗証番号の期限が切れています。", "「暗証番号の再設定」を申請してください。", $"/requests/new/cards.unblock?card={found.Card}"),
        "sign-in.terminal-not-in-use" => ("この端末は、使用を止められています。", "端末の画面で状態を確かめてください。", $"/terminals/{found.Terminal}"),
        "sign-in.wrong-password" or "sign-in.wrong-code" or "sign-in.wrong-password-and-code" or "sign-in.unknown-person" => ("職員番号、パスワード、ワンタイムパスワードのどれかが違いました。", "本人が忘れたときは「仮パスワードの発行」を、生成器が合わないときは生成器の交換を申請してください。", found.Person is { } who ? $"/requests/new/passwords.reset?person={who}" : null),
        "sign-in.code-used" => ("一度使われたワンタイムパスワードでした。", "次の番号が出てから、もう一度始めてください。本人に覚えがないときは、情報セキュリティ管理者へ連絡してください。", "/incidents"),
        "sign-in.method-not-offered" => ("この区分では、パスワードとワンタイムパスワードは使えません。", "カードと暗証番号でサインインしてください。", null),
        "sign-in.clock-not-exact" => ("認証サーバーの時計がずれているため、特権とワンタイムパスワードの確認を止めています。", "稼働状態の「時刻源との同期」を確かめ、時刻同期を直してください。", "/health"),
        "sign-in.outside-hours" => ("サインインできる時間帯ではありません。", "時間帯は sign-in.yaml で決められています。", null),
        "sign-in.browser-elsewhere" => ("画面を開いた端末と、カードを入れた端末が違います。", "カードを入れた端末で、業務システムの画面を開き直してください。", null),
        "sign-in.passkey-unknown" => ("登録のないパスキーです。", "本人の「自分のパスキー」に登録があるか確かめてください。", null),
        "sign-in.passkey-model-refused" => ("このキーの機種は、いまは使えません。", "カードでサインインし、別の機種のキーを登録してください。", null),
        "sign-in.factor-missing" => ("この業務に必要な認証手段が足りませんでした。", "カードと暗証番号でサインインしてください。", null),
        "sign-in.passkey-ceremony-over" => ("パスキーの操作が時間切れになりました。", "もう一度始めてください。", null),
        "sign-in.passkey-not-proven" => ("パスキーの応答が確かめられませんでした。", "キーの本人確認(指紋・暗証番号)を行って、もう一度始めてください。続くときは、キーを登録し直してください。", null),
        "sign-in.passkey-cloned" => ("パスキーのカウンターが逆行しました。複製された疑いがあり、一時停止しました。", "情報セキュリティ管理者へ連絡し、キーの現物を確かめてください。", "/incidents"),
        "sign-in.possession-not-proven" or "sign-in.pin-not-proven" or "sign-in.card-exchanged" => ("カードの署名が確かめられませんでした。", "カードを差し込み直してください。続くときは、カードの交換を申請してください。", $"/cards/{found.Card}"),
        { } reason when reason.StartsWith(CardIs, StringComparison.Ordinal) && CardNames.State(reason[CardIs.Length..]) is var state => ($"このカードの状態は「{state}」です。", "カードの画面で経過を確かめてください。", found.Card is { } card ? $"/cards/{card}" : null),
        _ => ("サインインの条件を満たしませんでした。", "理由の記号を添えて、システム管理者に伝えてください。", null),
    };
}
