namespace AccessBroker.Staff;

/// <summary>One person as the register has them on the day.</summary>
public sealed record KnownPerson(string Id, string StaffNumber, string Name, string Kana, string Employment, string? Mail, bool Left, DateTimeOffset? Until, IReadOnlyList<string> Posts, IReadOnlyList<string> Roles);

/// <summary>One difference between roster and register.</summary>
/// <param name="Kind">join, move, recode (the same section under another code), rename, employment, leave, mail, section or orphan.</param>
/// <param name="Person">Id; of a joiner: the one they will get.</param>
public sealed record RosterChange(string Kind, string Person, string StaffNumber, string Name, string Before, string After);

/// <summary>Compares a roster with the register, pure: what would change on the day, and what cannot be. <clause>MIC 6.2(1)②(ア)(ウ)</clause></summary>
public static class RosterRule
{
    /// <summary>The id of somebody who joins.</summary>
    public static string IdOf(string staffNumber) => $"p-{staffNumber.ToLowerInvariant()}";

    /// <summary>"section code|post" of a line.</summary>
    public static string PostOf(string section, string post) => $"{section}|{post}";

    /// <summary>The changes, in the order of the roster, sections first, orphans last; and the problems. Never throws.</summary>
    public static (IReadOnlyList<RosterChange> Changes, IReadOnlyList<RosterProblem> Problems) Compare(IReadOnlyList<RosterPerson> roster, IReadOnlyList<KnownPerson> register, IReadOnlyDictionary<string, string> sections, IReadOnlyCollection<string> usedIds)
    {
        var (changes, problems) = (new List<RosterChange>(), new List<RosterProblem>());
        var known = register.Where(k => k.StaffNumber.Length > 0).ToDictionary(k => k.StaffNumber);
        foreach (var section in roster.Select(r => (r.SectionCode, r.SectionName)).Distinct())
            if (sections.GetValueOrDefault(section.SectionCode, section.SectionCode) != section.SectionName) changes.Add(new("section", section.SectionCode, "", section.SectionName, sections.GetValueOrDefault(section.SectionCode, ""), section.SectionName));
        for (var i = 0; i < roster.Count; i++)
        {
            var line = roster[i];
            if (!known.TryGetValue(line.StaffNumber, out var person))
            {
                if (usedIds.Contains(IdOf(line.StaffNumber))) problems.Add(new(i + 2, "職員番号", "過去に使われた番号です。番号は再利用できません(MIC 5.4(2)①)。"));
                else changes.Add(new("join", IdOf(line.StaffNumber), line.StaffNumber, line.Name, "", PostOf(line.SectionCode, line.Post)));
                continue;
            }
            if (person.Left) { problems.Add(new(i + 2, "職員番号", "退職した人の番号です。番号は再利用できません(MIC 5.4(2)①)。")); continue; }
            if (line.Name != person.Name) changes.Add(new("rename", person.Id, line.StaffNumber, line.Name, person.Name, line.Name));
            if (line.Employment != person.Employment) changes.Add(new("employment", person.Id, line.StaffNumber, line.Name, person.Employment, line.Employment));
            var post = PostOf(line.SectionCode, line.Post);
            if (!person.Posts.SequenceEqual([post])) changes.Add(new(IsSamePlace(person.Posts, line, sections) ? "recode" : "move", person.Id, line.StaffNumber, line.Name, string.Join('、', person.Posts), post));
            if (line.Mail != person.Mail && line.Mail is not null) changes.Add(new("mail", person.Id, line.StaffNumber, line.Name, person.Mail ?? "", line.Mail));
            if (line.Until is { } until && Roster.EndOf(until) is var end && person.Until != end) changes.Add(new("leave", person.Id, line.StaffNumber, line.Name, person.Until is { } had ? $"{had:O}" : "", $"{end:O}"));
        }
        var listed = roster.Select(r => r.StaffNumber).ToHashSet();
        changes.AddRange(register.Where(k => k.StaffNumber.Length > 0 && !k.Left && k.Until is null && k.Posts.Count > 0 && k.Employment != "contractor" && !listed.Contains(k.StaffNumber)).Select(k => new RosterChange("orphan", k.Id, k.StaffNumber, k.Name, string.Join('、', k.Posts), "")));
        return (changes, problems);
    }

    /// <summary>The same post in a section of the same name: only its code is another.</summary>
    private static bool IsSamePlace(IReadOnlyList<string> held, RosterPerson line, IReadOnlyDictionary<string, string> sections) =>
        held is [var one] && one.Split('|') is [var code, var post] && post == line.Post && sections.GetValueOrDefault(code, code) == line.SectionName;

    /// <summary>Does a transfer leave the section? Then its seats end; another post in the same section keeps them.</summary>
    public static bool LeavesSection(RosterChange move, string sectionName, IReadOnlyDictionary<string, string> sections) =>
        !move.Before.Split('、').Any(b => b.Split('|')[0] is var code && (code == move.After.Split('|')[0] || sections.GetValueOrDefault(code, code) == sectionName));
}
