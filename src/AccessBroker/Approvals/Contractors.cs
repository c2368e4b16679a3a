using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;

namespace AccessBroker.Approvals;

/// <summary>What a contractor may not ask for, whatever roles they hold. <clause>MIC 6.2(1)③(エ), 注1</clause></summary>
public static class Contractors
{
    /// <summary>Why a contractor cannot ask for credentials of their own, in Japanese; null: it is somebody else's, or no contractor asks.</summary>
    public static async Task<string?> OwnProblemAsync(UnitOfWork work, PersonId by, IReadOnlyDictionary<string, string> fields, DateTimeOffset at, CancellationToken ct) =>
        fields.GetValueOrDefault("person") == by.Value && await work.AskAsync(PeopleRegister.FindValid(by, at), ct) is { IsContractor: true } ? "委託先の方は、自分の認証手段を申請できません。情報システム管理者が申請します。" : null;
}
