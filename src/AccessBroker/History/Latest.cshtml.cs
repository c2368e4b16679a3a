using System.Security.Claims;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.History;

/// <summary>The latest events, for administrators. Looking is an operation too. <clause>INA 第20-1</clause></summary>
[Authorize("history.read"), Audited("history.read")]
internal sealed class LatestModel(Store store, TimeProvider time) : PageModel
{
    /// <summary>Ours: 100.</summary>
    private const int Count = 100;

    public IReadOnlyList<HistoryRow> Rows { get; private set; } = [];

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        Rows = await HistoryLog.LatestAsync(work, Count, ct);
        work.Record(new("history.read", HistoryOutcome.Done)
        {
            Person = PersonId.Of(User),
            Terminal = TerminalId.TryParse(User.FindFirstValue("terminal"), null, out var terminal) ? terminal : null,
            Session = SessionId.TryParse(User.FindFirstValue("sid"), null, out var session) ? session : null,
        }, time.GetUtcNow());
        await work.CommitAsync(ct);
    }

    /// <summary>The Japanese name of an operation; the code itself when it has none yet.</summary>
    internal static string NameOf(string operation) => operation switch
    {
        "sign-in.claim" => "サインインの開始",
        "sign-in.possession" => "カードの確認",
        "sign-in.pin" => "暗証番号の入力",
        "sign-in.proof" => "本人の確認",
        "sign-in.complete" => "サインイン",
        "sign-in.cancel" => "サインインの取消",
        "sign-in.not-me" => "身に覚えがないとの届出",
        "sessions.end" => "セッションの終了",
        "cards.issue" => "カードの発行",
        "cards.report-lost" => "カードの紛失届",
        "cards.pin-tried-elsewhere" => "認証サーバー外での暗証番号の試行",
        "terminals.enrol" => "端末の登録",
        "terminals.make-enrolment-code" => "端末登録コードの発行",
        "terminals.attach" => "端末の接続",
        "lockout.lock" => "ロック",
        "lockout.unlock-terminal" => "端末のロック解除",
        "setup.seed" => "初期登録",
        "history.read" => "操作履歴の閲覧",
        "oidc.authorize" => "業務システムからの要求",
        "oidc.token" => "トークンの発行",
        "oidc.userinfo" => "利用者情報の照会",
        "oidc.end-session" => "業務システムからのサインアウト",
        _ => operation,
    };
}
