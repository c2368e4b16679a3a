using AccessBroker.Database;

namespace AccessBroker.FilePermissions;

/// <summary>What a grant would change, before anybody makes it: the decision itself, asked twice for everybody whom it concerns.</summary>
/// <param name="People">Whom it concerns, at most <see cref="MostPeople"/>.</param>
/// <param name="Changes">Who gains or loses what, where; whoever is not named gains and loses nothing.</param>
internal sealed record FileEffect(int People, IReadOnlyList<FileEffect.Change> Changes)
{
    /// <summary>Ours: people and places looked at.</summary>
    internal const int MostPeople = 300, MostPlaces = 100;

    internal sealed record Change(string Person, string Place, IReadOnlyList<string> Gained, IReadOnlyList<string> Lost);

    /// <summary>The effect of a grant at the instant it begins, now at the earliest.</summary>
    internal static async Task<FileEffect> OfAsync(UnitOfWork work, FileGrant grant, DateTimeOffset now, CancellationToken ct)
    {
        var at = grant.From > now ? grant.From : now;
        var (everySet, people) = (FileRegister.Sets(), FileRegister.ActingAs(grant.Subject, at, MostPeople));
        await work.AskAsync(ct, everySet, people);
        var sets = everySet.Answer.ToDictionary(s => s.Resource, StringComparer.Ordinal);
        var mine = await work.AskAsync(FileRegister.GrantsToAny([.. people.Answer.SelectMany(p => p.Subjects).Distinct()], at), ct);
        var before = mine.GroupBy(g => g.Resource).ToDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal);
        var after = new Dictionary<string, FileGrant[]>(before, StringComparer.Ordinal) { [grant.Resource] = [.. before.GetValueOrDefault(grant.Resource, []), grant with { Id = long.MaxValue }] };
        var below = grant.Resource == "/" ? "/" : grant.Resource + "/";
        var places = sets.Keys.Where(s => s.StartsWith(below, StringComparison.Ordinal) && s != grant.Resource).Order(StringComparer.Ordinal).Take(MostPlaces).Prepend(grant.Resource).ToList();
        var changes = new List<Change>();
        foreach (var (person, subjects) in people.Answer)
            foreach (var place in places)
            {
                bool May(Dictionary<string, FileGrant[]> grants, string action) => FileRule.Decide(sets, grants, subjects, person, place, action, at).Allowed;
                var changed = FileRule.Actions.Select(a => (Action: a, Before: May(before, a), After: May(after, a))).Where(c => c.Before != c.After).ToList();
                if (changed.Count > 0) changes.Add(new(person, place, [.. changed.Where(c => c.After).Select(c => c.Action)], [.. changed.Where(c => c.Before).Select(c => c.Action)]));
            }
        return new(people.Answer.Count, changes);
    }
}
