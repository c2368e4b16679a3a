using AccessBroker.Database;
using AccessBroker.Primitives;

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
    public static Question<ValidPerson?> FindValid(PersonId person, DateTimeOffset at) => Question.All($"""
        select p.name, q.post, q.section, q.role from people.persons p join people.posts q on q.person = p.id
        where p.id = {person} and p.valid_from <= {at} and (p.valid_until is null or p.valid_until > {at}) and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at})
        order by q.post
        """, r => (Name: r.GetString(0), Post: new HeldPost(r.GetString(1), r.GetString(2), r.GetString(3))))
        .Select(rows => rows.Count == 0 ? null : new ValidPerson(person, rows[0].Name, [.. rows.Select(r => r.Post)]));

    /// <inheritdoc cref="FindValid"/>
    public static Task<ValidPerson?> FindValidAsync(UnitOfWork work, PersonId person, DateTimeOffset at, CancellationToken ct) => work.AskAsync(FindValid(person, at), ct);

    /// <summary>Adds a person with one post. Throws when the id was ever used.</summary>
    internal static async Task AddAsync(UnitOfWork work, PersonRow person, CancellationToken ct)
    {
        var context = work.Context<PeopleContext>(o => new(o));
        context.Add(person);
        await context.SaveChangesAsync(ct);
    }
}
