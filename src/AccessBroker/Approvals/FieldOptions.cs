using AccessBroker.Database;
using AccessBroker.People;

namespace AccessBroker.Approvals;

/// <summary>Finds what a person means by what they typed into a field: by id, name, kana or number. Slices supply theirs for cards and terminals.</summary>
public interface IFieldOptions
{
    /// <summary>The type of field it answers for.</summary>
    FieldType Type { get; }
    /// <summary>Value and label of everything that fits, at most 20; an exact id gives one.</summary>
    Task<IReadOnlyList<(string Value, string Label)>> FindAsync(UnitOfWork work, string text, DateTimeOffset at, CancellationToken ct);
}

/// <summary>People, by name, kana, staff number or section.</summary>
internal sealed class PersonOptions : IFieldOptions
{
    public FieldType Type => FieldType.Person;

    public async Task<IReadOnlyList<(string Value, string Label)>> FindAsync(UnitOfWork work, string text, DateTimeOffset at, CancellationToken ct)
    {
        var found = (await work.AskAsync(PeopleRegister.Search(text, at, 200), ct)).Where(p => p.Standing is "valid" or "future" or "suspended").ToList();
        var exact = found.Where(p => p.Id.Value == text.Trim() || p.StaffNumber == text.Trim()).ToList();
        return [.. (exact.Count == 1 ? exact : found).Take(20).Select(p => (p.Id.Value, $"{p.Name}({string.Join("、", p.Posts)})"))];
    }
}
