using AccessBroker.Database;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.Staff;

/// <summary>What an import would give and take, in words: for the preview. Nobody shall lose access by surprise.</summary>
/// <param name="ByPerson">By person id.</param>
/// <param name="Warnings">What has to be confirmed: Japanese sentences.</param>
/// <param name="Sections">Names of sections by code.</param>
public sealed record RosterEffects(IReadOnlyDictionary<string, string> ByPerson, IReadOnlyList<string> Warnings, IReadOnlyDictionary<string, string> Sections)
{
    /// <summary>Whoever looks would gain rights by it: somebody else applies it. <clause>MIC 1(8)①</clause></summary>
    public bool ForOneself { get; init; }

    /// <summary>Nothing known.</summary>
    public static readonly RosterEffects None = new(new Dictionary<string, string>(), [], new Dictionary<string, string>());

    /// <summary>What the change does to rights and seats; empty: nothing.</summary>
    public string Of(RosterChange change) => change.Kind is "join" or "move" or "recode" or "employment" or "leave" ? ByPerson.GetValueOrDefault(change.Person, "") : "";

    /// <summary>"code|post、…" with the names of sections.</summary>
    public string Place(string posts) => string.Join('、', posts.Split('、').Select(p => p.Split('|') is [var code, var post] ? $"{Sections.GetValueOrDefault(code, code)} {post}" : ListModel.EmploymentName(p)));
}

public sealed partial class RosterImport
{
    /// <summary>What applying an import would give and take.</summary>
    public async Task<RosterEffects> EffectsAsync(Import import, PersonId by, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        return await EffectsAsync(work, import, by, ct);
    }

    private async Task<RosterEffects> EffectsAsync(UnitOfWork work, Import import, PersonId by, CancellationToken ct)
    {
        var at = From(import.Effective);
        var (known, named, seats) = (RosterRegister.Known(at), RosterRegister.Sections(at), TerminalRegister.Seats(null, null, at));
        await work.AskAsync(ct, known, named, seats);
        var (register, lines) = (known.Answer.ToDictionary(k => k.Id), import.People.ToDictionary(p => p.StaffNumber));
        var sections = named.Answer.Concat(import.People.Where(p => !named.Answer.ContainsKey(p.SectionCode)).DistinctBy(p => p.SectionCode).Select(p => KeyValuePair.Create(p.SectionCode, p.SectionName))).ToDictionary();
        var after = known.Answer.Where(k => !k.Left).ToDictionary(k => k.Id, k => k.Roles);
        var (words, warnings, unseated) = (new Dictionary<string, string>(), new List<string>(), new HashSet<string>());
        foreach (var change in import.Changes.Where(c => c.Kind is "join" or "move" or "recode" or "employment" or "leave"))
        {
            var line = lines[change.StaffNumber];
            var had = register.GetValueOrDefault(change.Person)?.Roles ?? [];
            IReadOnlyList<string> has = change.Kind == "leave" ? [] : [.. posts.Now.Held(line.Post, line.SectionCode, line.Employment).Select(h => h.Role)];
            after[change.Person] = has;
            var lost = change.Kind == "leave" || (change.Kind == "move" && RosterRule.LeavesSection(change, line.SectionName, named.Answer)) ? seats.Answer.Where(s => s.Person.Value == change.Person).Select(s => s.Terminal.Value).Distinct().ToList() : [];
            if (lost.Count > 0) unseated.Add(change.Person);
            words[change.Person] = string.Join("。", ((string[])[
                has.Except(had).ToList() is { Count: > 0 } more ? $"得る: {roles.Now.TitlesOf(string.Join(' ', more))}" : "",
                had.Except(has).ToList() is { Count: > 0 } less ? $"失う: {roles.Now.TitlesOf(string.Join(' ', less))}" : "",
                lost.Count > 0 ? $"使えなくなる端末: {string.Join("、", lost)}" : ""]).Where(w => w.Length > 0));
        }
        var seatless = new List<string>();
        foreach (var role in known.Answer.Where(k => !k.Left).SelectMany(k => k.Roles).Except(posts.Now.DefaultRoles).Distinct())
        {
            var holders = after.Where(a => a.Value.Contains(role)).Select(a => a.Key).ToList();
            if (holders.Count == 0) warnings.Add($"反映すると、「{roles.Now.TitlesOf(role)}」の役割を持つ人がいなくなります。");
            else if (unseated.Count > 0 && holders.All(h => !seats.Answer.Any(s => s.Person.Value == h) || unseated.Contains(h)) && holders.Any(unseated.Contains)) seatless.Add(roles.Now.TitlesOf(role));
        }
        if (seatless.Count > 0) warnings.Add($"発効日から、次の役割を持つ人が使える端末がなくなります。先に新しい端末の利用許可を用意してください: {string.Join("、", seatless)}");
        if (unseated.Contains(by.Value)) warnings.Insert(0, "発効日から、あなた自身が使える端末がなくなり、サインインできなくなります。");
        if (after.GetValueOrDefault(by.Value) is { } own && register.GetValueOrDefault(by.Value)?.Roles.Except(own).ToList() is { Count: > 0 } gone) warnings.Insert(0, $"発効日から、あなた自身が失います: {roles.Now.TitlesOf(string.Join(' ', gone))}");
        var forOneself = after.GetValueOrDefault(by.Value)?.Except(register.GetValueOrDefault(by.Value)?.Roles ?? []).Except(posts.Now.DefaultRoles).Any() == true;
        return new(words, warnings, sections) { ForOneself = forOneself };
    }

    /// <summary>The register in the shape of a roster, to be changed and imported: rows in the order of <see cref="Roster.Headings"/>.</summary>
    internal async Task<IReadOnlyList<string[]>> CurrentAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.ReadAsync(ct);
        var (known, named) = (RosterRegister.Known(now), RosterRegister.Sections(now));
        await work.AskAsync(ct, known, named);
        return [.. known.Answer.Where(k => !k.Left && k.StaffNumber.Length > 0 && k.Posts.Count > 0).Select(k => k.Posts[0].Split('|') is var place ? new[]
        {
            k.StaffNumber, k.Name, k.Kana, place[0], named.Answer.GetValueOrDefault(place[0], place[0]), place[1],
            k.Employment switch { "temporary" => "会計年度任用", "contractor" => "委託", _ => "正規" }, k.Mail ?? "", k.Until is { } until ? $"{Web.JapaneseTime.DayOf(until.AddSeconds(-1)):yyyy-MM-dd}" : "",
        } : [])];
    }
}
