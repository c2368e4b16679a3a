using AccessBroker.People;
using AccessBroker.Sessions;

namespace AccessBroker.Cards;

/// <summary>What holds for whoever makes a credential of their own, of any kind. <clause>MIC 5.4(3), 6.2(1)注1</clause></summary>
public static class SelfService
{
    /// <summary>Why not, in Japanese; null: they may.</summary>
    /// <param name="notHere">What is said where the kind does not count; null: it counts here.</param>
    /// <param name="fresh">How fresh the sign-in must be.</param>
    /// <param name="strong">It must have been by card or passkey: equal to or stronger than what is made.</param>
    public static string? Problem(LiveSession session, ValidPerson? person, string? notHere, TimeSpan fresh, bool strong, DateTimeOffset now) =>
        notHere is not null ? notHere
        : person is not { IsContractor: false } ? "委託先の方の認証手段は、情報システム管理者が管理します。情報システム管理者へ申請してください。"
        : strong && !(session.Amr.Contains("sc") || session.Amr.Contains("hwk")) ? "カードか登録済みのパスキーでサインインしてから登録してください。お持ちでないときは、発行を申請してください。"
        : now - session.AuthTime > fresh ? "その前に、もう一度サインインしてください。" : null;
}
