using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.People;

/// <summary>
/// Changes of the register, each from an instant on: what was true before stays on record. The caller writes history and registers.
/// <clause>MIC 6.2(1)②(ア)</clause>
/// </summary>
public static class PeopleChanges
{
    /// <summary>Adds a person. Throws <see cref="Npgsql.PostgresException"/> (unique violation) when id or staff number was ever used. <clause>MIC 5.4(2)①</clause></summary>
    public static async Task AddAsync(UnitOfWork work, PersonId person, string name, string kana, string? staffNumber, string employment, string? mail, DateTimeOffset from, DateTimeOffset? until, IEnumerable<HeldPost> posts, CancellationToken ct)
    {
        var context = work.Context<PeopleContext>(o => new(o));
        var row = new PersonRow { Id = person.Value, StaffNumber = staffNumber, Employment = employment, Mail = mail, ValidFrom = from, ValidUntil = until };
        row.Names.Add(new() { Person = person.Value, Name = name, Kana = Kana.Normalise(kana), ValidFrom = from });
        row.Posts.AddRange(posts.Select(p => new PostRow { Person = person.Value, Post = p.Post, Section = p.Section, Role = p.Role, ValidFrom = from }));
        context.Add(row);
        await context.SaveChangesAsync(ct);
    }

    /// <summary>From <paramref name="from"/> on the person holds exactly these posts; sections are codes. A deputy (no section) stays one.</summary>
    public static void Move(UnitOfWork work, PersonId person, IReadOnlyCollection<HeldPost> posts, DateTimeOffset from)
    {
        work.Write($"update people.posts set valid_until = greatest({from}, valid_from) where person = {person} and section <> '' and (valid_until is null or valid_until > {from})");
        foreach (var post in posts) Hold(work, person, post, from, null);
    }

    /// <summary>The person holds one more post for a time: a deputy, for example.</summary>
    public static void Hold(UnitOfWork work, PersonId person, HeldPost post, DateTimeOffset from, DateTimeOffset? until) => work.Write($"""
        insert into people.posts (person, post, section, role, valid_from, valid_until) values ({person}, {post.Post}, {post.Section}, {post.Role}, {from}, {until})
        on conflict (person, post, section, role, valid_from) do update set valid_until = excluded.valid_until
        """);

    /// <summary>From <paramref name="from"/> on the person is called so.</summary>
    public static void Rename(UnitOfWork work, PersonId person, string name, string kana, DateTimeOffset from)
    {
        work.Write($"update people.names set valid_until = {from} where person = {person} and valid_until is null and valid_from < {from}");
        work.Write($"insert into people.names (person, name, kana, valid_from) values ({person}, {name}, {Kana.Normalise(kana)}, {from}) on conflict (person, valid_from) do update set name = excluded.name, kana = excluded.kana");
    }

    /// <summary>The person's rights end at <paramref name="at"/>, by themselves; an earlier day or a later one replaces the former. Who has left by <paramref name="now"/> stays so. <clause>MIC 5.1解(1)</clause></summary>
    public static void Leave(UnitOfWork work, PersonId person, DateTimeOffset at, DateTimeOffset now) =>
        work.Write($"update people.persons set valid_until = {at} where id = {person} and (valid_until is null or valid_until > {now})");

    /// <summary>From <paramref name="from"/> on the person is employed so; a contractor deputises for nobody any more. <clause>MIC 6.2(1)③(エ)</clause></summary>
    public static void Employ(UnitOfWork work, PersonId person, string employment, DateTimeOffset from)
    {
        work.Write($"insert into people.employments (person, employment, valid_from) values ({person}, {employment}, {from}) on conflict (person, valid_from) do update set employment = excluded.employment");
        if (employment == "contractor") work.Write($"update people.posts set valid_until = greatest({from}, valid_from) where person = {person} and section = '' and (valid_until is null or valid_until > {from})");
    }

    /// <summary>Where notices by mail go.</summary>
    public static void SetMail(UnitOfWork work, PersonId person, string mail) => work.Write($"update people.persons set mail = {mail} where id = {person}");

    /// <summary>The rights of a person rest from now on. <clause>MIC 7.6(2)③</clause></summary>
    public static void Suspend(UnitOfWork work, PersonId person, PersonId by, string reason, DateTimeOffset at) =>
        work.Write($"insert into people.suspensions (person, by_person, reason, since) values ({person}, {by}, {reason}, {at})");

    /// <summary>Lifts every suspension of a person.</summary>
    public static void Resume(UnitOfWork work, PersonId person, PersonId by, DateTimeOffset at) =>
        work.Write($"update people.suspensions set lifted_at = {at}, lifted_by = {by} where person = {person} and lifted_at is null");

    /// <summary>A section is called so from an instant on.</summary>
    public static void NameSection(UnitOfWork work, string code, string name, DateTimeOffset from) => work.Write($"""
        insert into people.sections (code, name, valid_from) select {code}, {name}, {from}
        where (select s.name from people.sections s where s.code = {code} and s.valid_from <= {from} order by s.valid_from desc limit 1) is distinct from {name}
        on conflict (code, valid_from) do update set name = excluded.name
        """);
}
