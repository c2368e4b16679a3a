using AccessBroker.Database;
using AccessBroker.People;

namespace AccessBroker.FilePermissions;

/// <summary>How people call those to whom something is granted.</summary>
internal sealed class Subjects
{
    private readonly Dictionary<string, string> _people, _sections;
    private Subjects(Dictionary<string, string> people, Dictionary<string, string> sections) => (_people, _sections) = (people, sections);

    internal static Subjects None { get; } = new([], []);

    /// <summary>Names as of <paramref name="at"/> of subjects (person:…, section:…, post:…/…) and of plain ids of people.</summary>
    internal static async Task<Subjects> OfAsync(UnitOfWork work, IEnumerable<string> subjects, DateTimeOffset at, CancellationToken ct)
    {
        var (people, sections) = (PeopleRegister.Names(subjects.Select(s => s.StartsWith("person:", StringComparison.Ordinal) ? s[7..] : s), at), PeopleRegister.SectionsAt(at));
        await work.AskAsync(ct, people, sections);
        return new(people.Answer, sections.Answer);
    }

    internal string Person(string? id) => id is null ? "" : _people.GetValueOrDefault(id, id);

    internal string Section(string? code) => code is null ? "" : _sections.GetValueOrDefault(code, code);

    /// <summary>A subject in words. Of another form: itself.</summary>
    internal string Subject(string subject) => subject.Split(':', 2) switch
    {
        ["person", var id] => Person(id),
        ["section", var code] => Section(code) + "(課の全員)",
        ["post", var post] when post.Split('/', 2) is [var code, var name] => $"{Section(code)} {name}",
        _ => subject,
    };
}
