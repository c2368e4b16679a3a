using System.Globalization;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.Privileged;

/// <summary>
/// What a contract lets its people do: named people, kinds of work, terminals (the place of work), days. A contractor without one does no privileged work.
/// <clause>MIC 6.2(1)注1, 8.1(2), 8.1解②④</clause>
/// </summary>
public sealed record Contract
{
    /// <summary>The company and its contract, as people call it.</summary>
    public required string Name { get; init; }
    /// <summary>Its first day, yyyy-MM-dd, in Japan.</summary>
    public required string From { get; init; }
    /// <summary>Its last day, yyyy-MM-dd, in Japan.</summary>
    public required string Until { get; init; }
    /// <summary>Ids of its workers, each by name.</summary>
    public required List<string> People { get; init; }
    /// <summary>Ids of kinds of work of this file.</summary>
    public required List<string> Work { get; init; }
    /// <summary>Ids of terminals where they work.</summary>
    public required List<string> Terminals { get; init; }
    /// <summary>Workers of a subcontractor: id, and the city's prior approval of the subcontract in words. Default: none. <clause>INA 第24(2), MOJ 第5-10(3), MIC 8.1解⑧</clause></summary>
    public Dictionary<string, string> Subcontracted { get; init; } = [];

    private DateTimeOffset Begins => JapaneseTime.StartOf(Day(From)!.Value);
    private DateTimeOffset Ends => JapaneseTime.EndOf(Day(Until)!.Value);

    internal static DateOnly? Day(string text) => DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day) ? day : null;

    internal IEnumerable<string> Problems(string key, PrivilegedPolicy policy)
    {
        var at = $"contracts.{key}";
        if (Day(From) is not { } from || Day(Until) is not { } until || until < from) yield return $"{at}: from and until must be days (yyyy-MM-dd), the earlier first";
        foreach (var person in People.Concat(Subcontracted.Keys).Where(p => !PersonId.TryParse(p, null, out _))) yield return $"{at}: '{person}' is no person's id";
        foreach (var unknown in Work.Except(policy.Work.Keys)) yield return $"{at}.work: there is no work {unknown}";
        foreach (var terminal in Terminals.Where(t => !TerminalId.TryParse(t, null, out _))) yield return $"{at}.terminals: '{terminal}' is no terminal's id";
        foreach (var person in Subcontracted.Keys.Where(p => policy.Contracts.Values.Any(c => c.People.Contains(p)))) yield return $"{at}.subcontracted.{person} is also in people: a subcontractor's worker is nobody's own (INA 第24(2))";
        foreach (var (person, _) in Subcontracted.Where(s => s.Value.Trim().Length < 4)) yield return $"{at}.subcontracted.{person}: the city's prior approval must be named (MOJ 第5-10(3))";
    }

    /// <summary>Why a contractor's work is outside every contract, from an instant to another; null: it is inside one, or the person is no contractor.</summary>
    /// <param name="terminal">Where; null: not known yet.</param>
    internal static (string Code, string Sentence)? Problem(PrivilegedPolicy policy, ValidPerson person, string work, TerminalId? terminal, DateTimeOffset from, DateTimeOffset until)
    {
        if (!person.IsContractor) return null;
        var theirs = policy.Contracts.Values.Where(c => c.People.Contains(person.Id.Value) || c.Subcontracted.ContainsKey(person.Id.Value)).ToList();
        if (theirs.Count == 0) return ("privileged.no-contract", "委託契約の作業者として登録されていません(方針 contracts)。情報システム管理者に連絡してください。");
        theirs = [.. theirs.Where(c => c.Begins <= from && c.Ends >= until)];
        if (theirs.Count == 0) return ("privileged.outside-contract-days", "委託契約の期間の外です(方針 contracts)。");
        theirs = [.. theirs.Where(c => c.Work.Contains(work))];
        if (theirs.Count == 0) return ("privileged.outside-contract", "この作業は、委託契約の範囲にありません(方針 contracts)。");
        if (terminal is { } place) theirs = [.. theirs.Where(c => c.Terminals.Contains(place.Value))];
        if (theirs.Count == 0) return ("privileged.outside-contract-place", "この端末は、委託契約で決めた作業場所ではありません(方針 contracts)。");
        // INA forbids it whatever was approved; elsewhere it needs the approval that the contract names.
        return !policy.Contracts.Values.Any(c => c.Subcontracted.ContainsKey(person.Id.Value)) || policy.Targets[policy.Work[work].Target].Subcontracting ? null : ("privileged.subcontracted", "この対象の作業は、再委託先の方には認められません(INA 第24(2))。");
    }
}
