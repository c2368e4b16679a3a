using AccessBroker.Database;
using AccessBroker.Primitives;
using Microsoft.EntityFrameworkCore;

namespace AccessBroker.People;

/// <summary>A person as valid at one instant: name, and the posts held then.</summary>
/// <param name="Name">As shown to colleagues.</param>
/// <param name="Posts">At least one: without a post nobody works.</param>
public sealed record ValidPerson(PersonId Id, string Name, IReadOnlyList<HeldPost> Posts);

/// <summary>A post held: its name, section and role.</summary>
public sealed record HeldPost(string Post, string Section, string Role);

/// <summary>The register of people: the public query of this slice.</summary>
public static class PeopleRegister
{
    /// <summary>The person with the posts held at <paramref name="at"/>; null when unknown, not valid, or without a post then. <clause>MIC 6.2(1)②</clause></summary>
    public static async Task<ValidPerson?> FindValidAsync(UnitOfWork work, PersonId person, DateTimeOffset at, CancellationToken ct)
    {
        var context = work.Context<PeopleContext>(o => new(o));
        var row = await context.Persons.AsNoTracking()
            .Where(p => p.Id == person.Value && p.ValidFrom <= at && (p.ValidUntil == null || p.ValidUntil > at))
            .Select(p => new { p.Name, Posts = p.Posts.Where(q => q.ValidFrom <= at && (q.ValidUntil == null || q.ValidUntil > at)).OrderBy(q => q.Post).ToList() })
            .SingleOrDefaultAsync(ct);
        return row is { Posts.Count: > 0 } ? new(person, row.Name, [.. row.Posts.Select(p => new HeldPost(p.Post, p.Section, p.Role))]) : null;
    }

    /// <summary>Adds a person with one post. Throws when the id was ever used.</summary>
    internal static async Task AddAsync(UnitOfWork work, PersonRow person, CancellationToken ct)
    {
        var context = work.Context<PeopleContext>(o => new(o));
        context.Add(person);
        await context.SaveChangesAsync(ct);
    }
}
