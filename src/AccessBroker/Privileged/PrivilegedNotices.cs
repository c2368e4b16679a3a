using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.People;

namespace AccessBroker.Privileged;

/// <summary>Tells those who hold an operation, but for those who may not do it here: who did it does not review it.</summary>
internal sealed class PrivilegedNotices(Permissions permissions, TimeProvider time)
{
    internal async Task TellAsync(UnitOfWork work, string operation, string subject, string body, string url, CancellationToken ct, IReadOnlyCollection<string>? except = null) =>
        work.Notify((await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith(operation)], time.GetUtcNow()), ct)).Select(h => h.Id).Where(h => except?.Contains(h.Value) != true), subject, body, url, time.GetUtcNow());
}

/// <summary>What codes mean, for people.</summary>
internal static class PrivilegedWords
{
    /// <summary>The Japanese sentence of a reason code.</summary>
    internal static string Reason(string? code) => code switch
    {
        null => "",
        "privileged.limit" => "終了の時刻になりました。",
        "privileged.idle" => "しばらく操作がなかったため、終わりました。",
        "privileged.revoked" => "途中で終了しました。",
        "privileged.session-over" => "サインインが終わったため(カードを抜いたなど)、終わりました。",
        "privileged.emergency-stop" => "緊急停止により終わりました。",
        "privileged.no-witness" => "立会人がいないままだったため、終わりました。",
        "privileged.cut-off" => "対象の機器から AccessBroker へ届かなくなったため、終わりました。",
        "privileged.agent-restarted" or "privileged.agent-stopped" => "対象の機器のエージェントが止まったため、終わりました。",
        "privileged.recording-failed" => "記録できなくなったため、終わりました。",
        "privileged.policy-changed" => "方針が変わったため、終わりました。",
        "privileged.target-full" => "対象の機器で、同時に使える数を超えています。",
        "privileged.target-failed" => "対象の機器で準備ができませんでした。",
        "privileged.role-too-wide" => "方針にあるデータベースの役割の権限が広すぎます。",
        "privileged.not-recorded" => "この対象では、実行した文が記録されないため、二人作業を始められません。",
        "privileged.no-such-role" => "方針にあるデータベースの役割がありません。",
        "privileged.closed-by-hand" => "対象の機器から終わりの知らせがありませんでした。",
        "privileged.not-opened" => "対象の機器が応えなかったため、始められませんでした。",
        _ => "終わりました。",
    };

    /// <summary>The state as a word.</summary>
    internal static string State(string state) => state switch { "opening" => "準備中", "open" => "実施中", "ending" => "終了中", _ => "終了" };
}
