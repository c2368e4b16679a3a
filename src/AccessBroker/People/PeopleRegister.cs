using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.People;

/// <summary>A person as valid at one instant: name, and the posts held then.</summary>
/// <param name="Name">As shown to colleagues.</param>
/// <param name="Posts">At least one: without a post nobody works.</param>
/// <param name="Employment">regular, temporary or contractor.</param>
public sealed record ValidPerson(PersonId Id, string Name, IReadOnlyList<HeldPost> Posts, string Employment = "regular")
{
    /// <summary>The roles of the posts held, each once.</summary>
    public IEnumerable<string> Roles => Posts.Select(p => p.Role).Distinct();
    /// <summary>A contractor never approves. <clause>MIC 6.2(1)③(エ)</clause></summary>
    public bool IsContractor => Employment == "contractor";
}

/// <summary>A post held: its name, section and role.</summary>
public sealed record HeldPost(string Post, string Section, string Role);

/// <summary>A line of the register as it was at one instant, valid then or not.</summary>
/// <param name="Standing">valid, future, left or suspended.</param>
/// <param name="Posts">"section post" of each post held then.</param>
public sealed record PersonLine(PersonId Id, string Name, string Kana, string? StaffNumber, string Employment, string? Mail, DateTimeOffset ValidFrom, DateTimeOffset? ValidUntil, string Standing, IReadOnlyList<string> Posts, IReadOnlyList<string> Roles);

/// <summary>The register of people: the public query of this slice.</summary>
public static class PeopleRegister
{
    /// <summary>The person with the posts held at <paramref name="at"/>; null when unknown, not valid, suspended, or without a post then. <clause>MIC 6.2(1)②</clause></summary>
    public static Question<ValidPerson?> FindValid(PersonId person, DateTimeOffset at) => Question.All($"""
        select people.name_at(p.id, {at}), q.post, people.section_name(q.section, {at}), q.role, people.employment_at(p.id, {at}) from people.persons p join people.posts q on q.person = p.id
        where p.id = {person} and p.valid_from <= {at} and (p.valid_until is null or p.valid_until > {at}) and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at})
          and not exists (select from people.suspensions s where s.person = p.id and s.since <= {at} and (s.lifted_at is null or s.lifted_at > {at}))
        order by q.post, q.role
        """, r => (Name: r.GetString(0), Post: new HeldPost(r.GetString(1), r.GetString(2), r.GetString(3)), Employment: r.GetString(4)))
        .Select(rows => rows.Count == 0 ? null : new ValidPerson(person, rows[0].Name, [.. rows.Select(r => r.Post)], rows[0].Employment));

    /// <inheritdoc cref="FindValid"/>
    public static Task<ValidPerson?> FindValidAsync(UnitOfWork work, PersonId person, DateTimeOffset at, CancellationToken ct) => work.AskAsync(FindValid(person, at), ct);

    /// <summary>Who has this staff number at <paramref name="at"/>; null: nobody, or nobody alone. Full-width digits count as digits.</summary>
    public static Question<PersonId?> FindByStaffNumber(string number, DateTimeOffset at) => Question.All(
        $"select id from people.persons where staff_number = {(number.Length > 40 ? "" : FreeText.CommonForm(number.Trim()))} and staff_number <> '' and valid_from <= {at} and (valid_until is null or valid_until > {at}) limit 2",
        r => PersonId.Parse(r.GetString(0))).Select(found => found is [var only] ? only : (PersonId?)null);

    /// <summary>A person as of <paramref name="at"/>, valid or not; null: never registered.</summary>
    public static Question<PersonLine?> Find(PersonId person, DateTimeOffset at) => Question.First($"{Line(at)} where p.id = {person}", Read);

    /// <summary>
    /// People whose name, kana (any kind of kana), staff number, section or id contains <paramref name="text"/>, by kana, at most <paramref name="count"/>.
    /// </summary>
    public static Question<List<PersonLine>> Search(string text, DateTimeOffset at, int count = 100)
    {
        var (like, kana) = ($"%{Like(text.Trim())}%", $"%{Like(Kana.Normalise(text))}%");
        return Question.All($"""
            {Line(at)} where {text.Trim().Length == 0} or n.name like {like} or (n.kana like {kana} and {Kana.Normalise(text).Length > 0}) or p.staff_number like {like} or p.id like {like}
              or exists (select from people.posts q where q.person = p.id and (people.section_name(q.section, {at}) like {like} or q.post like {like}) and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}))
            order by n.kana, p.id limit {count}
            """, Read);
    }

    /// <summary>Who holds one of these roles at <paramref name="at"/>: id and name, by name.</summary>
    public static Question<List<(PersonId Id, string Name)>> Holders(IReadOnlyCollection<string> roles, DateTimeOffset at) => Question.All($"""
        select distinct q.person, people.name_at(q.person, {at}) from people.posts q
        where q.role = any({roles.ToArray()}) and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}) and people.valid_at(q.person, {at}) order by 2
        """, r => (PersonId.Parse(r.GetString(0)), r.GetString(1)));

    /// <summary>The managers of a person's sections at <paramref name="at"/> with one of these roles.</summary>
    public static Question<List<PersonId>> HoldersInSectionOf(PersonId person, IReadOnlyCollection<string> roles, DateTimeOffset at) => Question.All($"""
        select distinct q.person from people.posts q join people.posts own on own.section = q.section and own.person = {person} and own.valid_from <= {at} and (own.valid_until is null or own.valid_until > {at}) and own.section <> ''
        where q.role = any({roles.ToArray()}) and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}) and people.valid_at(q.person, {at})
        """, r => PersonId.Parse(r.GetString(0)));

    /// <summary>Names of these people as of <paramref name="at"/>, by id. Unknown ids are left out.</summary>
    public static Question<Dictionary<string, string>> Names(IEnumerable<string> people, DateTimeOffset at) => Question.All(
        $"select p.id, coalesce(people.name_at(p.id, {at}), (select n.name from people.names n where n.person = p.id order by n.valid_from limit 1)) from people.persons p where p.id = any({people.Distinct().ToArray()})",
        r => (Id: r.GetString(0), Name: r.GetString(1))).Select(rows => rows.ToDictionary(r => r.Id, r => r.Name));

    /// <summary>Everybody who was ever registered, as of <paramref name="at"/>; posts as "section code|post", each once, without deputies (they have no section).</summary>
    public static Question<List<PersonLine>> WholeAt(DateTimeOffset at) => Question.All($"""
        select p.id, n.name, n.kana, p.staff_number, people.employment_at(p.id, {at}), p.mail, p.valid_from, p.valid_until, case when p.valid_until <= {at} then 'left' else 'valid' end,
            array(select distinct q.section || '|' || q.post from people.posts q where q.person = p.id and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}) and q.section <> ''),
            array(select distinct q.role from people.posts q where q.person = p.id and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}) and q.section <> '')
        from people.persons p join lateral (select m.name, m.kana from people.names m where m.person = p.id order by (m.valid_from <= {at}) desc, case when m.valid_from <= {at} then m.valid_from end desc, m.valid_from limit 1) n on true
        order by p.id
        """, Read);

    /// <summary>Names of sections as of <paramref name="at"/>, by code.</summary>
    public static Question<Dictionary<string, string>> SectionsAt(DateTimeOffset at) => Question.All($"select distinct on (code) code, name from people.sections where valid_from <= {at} order by code, valid_from desc", r => (r.GetString(0), r.GetString(1))).Select(rows => rows.ToDictionary());

    private static string Like(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("%", "\\%", StringComparison.Ordinal).Replace("_", "\\_", StringComparison.Ordinal);

    private static Sql Line(DateTimeOffset at) => $"""
        select p.id, n.name, n.kana, p.staff_number, people.employment_at(p.id, {at}), p.mail, p.valid_from, p.valid_until,
            case when p.valid_from > {at} then 'future' when p.valid_until <= {at} then 'left' when exists (select from people.suspensions s where s.person = p.id and s.since <= {at} and (s.lifted_at is null or s.lifted_at > {at})) then 'suspended' else 'valid' end,
            array(select distinct people.section_name(q.section, {at}) || ' ' || q.post from people.posts q where q.person = p.id and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at})),
            array(select distinct q.role from people.posts q where q.person = p.id and q.valid_from <= {at} and (q.valid_until is null or q.valid_until > {at}))
        from people.persons p join lateral (select m.name, m.kana from people.names m where m.person = p.id order by (m.valid_from <= {at}) desc, case when m.valid_from <= {at} then m.valid_from end desc, m.valid_from limit 1) n on true
        """;

    private static PersonLine Read(Npgsql.NpgsqlDataReader r) => new(PersonId.Parse(r.GetString(0)), r.GetString(1), r.GetString(2), r.IsDBNull(3) ? null : r.GetString(3), r.GetString(4), r.IsDBNull(5) ? null : r.GetString(5),
        r.GetFieldValue<DateTimeOffset>(6), r.IsDBNull(7) ? null : r.GetFieldValue<DateTimeOffset>(7), r.GetString(8), r.GetFieldValue<string[]>(9), r.GetFieldValue<string[]>(10));
}
