using AccessBroker.Database;
using AccessBroker.People;

namespace AccessBroker.Staff;

/// <summary>The register as a roster is compared with it.</summary>
internal static class RosterRegister
{
    internal static Question<List<KnownPerson>> Known(DateTimeOffset at) => PeopleRegister.WholeAt(at).Select(people => people.ConvertAll(p =>
        new KnownPerson(p.Id.Value, p.StaffNumber ?? "", p.Name, p.Kana, p.Employment, p.Mail, p.Standing == "left", p.ValidUntil, p.Posts, p.Roles)));

    internal static Question<Dictionary<string, string>> Sections(DateTimeOffset at) => PeopleRegister.SectionsAt(at);
}
