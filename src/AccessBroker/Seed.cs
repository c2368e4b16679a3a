using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Oidc;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;

namespace AccessBroker;

/// <summary>Fills the registers from a file: the demo city, the tests; with <c>clients</c> only, relying parties of a real one. All or nothing; ids that exist already stop it.</summary>
internal static class Seed
{
    internal sealed record City(Dictionary<string, JsonElement> Clients)
    {
        public IReadOnlyList<Person> People { get; init; } = [];
        public IReadOnlyList<Place> Terminals { get; init; } = [];
        public IReadOnlyList<Grant> Grants { get; init; } = [];
        /// <summary>Blank cards in the cupboard on the first day.</summary>
        public int BlankCards { get; init; }
        public IReadOnlyList<Folder> Folders { get; init; } = [];
    }
    /// <summary>A place at the file server, and who may do what there for the next 300 days.</summary>
    internal sealed record Folder(string Path, string Title, string? Section, bool NamedOnly, int? Confidentiality, IReadOnlyList<FileRight> Rights);
    internal sealed record FileRight(string Subject, string Actions, int UpTo, string RequestedBy, string ApprovedBy, string Reason);
    internal sealed record Person(string Id, string Name, string Section, string Post, string? Role, DateTimeOffset? ValidUntil, string? Kana = null, string? StaffNumber = null, string? Employment = null, IReadOnlyList<string>? Roles = null);
    internal sealed record Place(string Id, string Name, string ResponsiblePerson, string Location, string System, string Address);
    internal sealed record Grant(string Terminal, string Person, string ApprovedBy, string Reason);

    internal static async Task RunAsync(Store store, City city, TimeProvider time, CancellationToken ct)
    {
        var from = time.GetUtcNow().AddMinutes(-1);
        await using var work = await store.BeginAsync(ct);
        foreach (var p in city.People)
            await PeopleChanges.AddAsync(work, PersonId.Parse(p.Id), p.Name, p.Kana ?? "", p.StaffNumber, p.Employment ?? "regular", null, from, p.ValidUntil?.ToUniversalTime(), (p.Roles ?? [p.Role!]).Select(role => new HeldPost(p.Post, p.Section, role)), ct);
        foreach (var p in city.People.Where(p => p.Role != "operator"))
            work.Enter("privileged", $"{p.Id}/post", "役職", "setup", new Dictionary<string, string> { ["person"] = p.Id, ["role"] = string.Join(' ', p.Roles ?? [p.Role!]), ["from"] = Web.JapaneseTime.Precise(from), ["reason"] = $"{p.Section} {p.Post}" }, from);
        var register = TerminalRegister.Context(work);
        register.AddRange(city.Terminals.Select(t => new TerminalRow { Id = t.Id, Name = t.Name, ResponsiblePerson = t.ResponsiblePerson, Place = t.Location, System = t.System, Address = t.Address, State = "in-use", ChangedAt = from }));
        await register.SaveChangesAsync(ct);
        register.AddRange(city.Grants.Select(g => new GrantRow { Terminal = g.Terminal, Person = g.Person, ApprovedBy = g.ApprovedBy, Reason = g.Reason, ValidFrom = from }));
        await register.SaveChangesAsync(ct);
        if (city.BlankCards > 0) work.Write($"insert into cards.stock (kind, change, why, by, at) values ('piv-card', {city.BlankCards}, '最初の在庫', 'setup', {from})");
        foreach (var folder in city.Folders)
        {
            await FileRegister.AddSetAsync(work, new(folder.Path, folder.Section, folder.NamedOnly, folder.Confidentiality, false), folder.Title, null, null, "setup", from, ct);
            foreach (var right in folder.Rights)
                await FileRegister.AddGrantAsync(work, new(0, folder.Path, right.Subject, right.Actions.Split(' '), false, right.UpTo, new Dictionary<string, JsonElement>(), from, from.AddDays(300)), right.Reason, right.RequestedBy, right.ApprovedBy, null, ct);
        }
        foreach (var (id, configuration) in city.Clients)
        {
            if (configuration.Deserialize<Client>(JsonSerializerOptions.Web)!.Problem() is { } problem) throw new InvalidOperationException($"relying party {id}: {problem}");
            await work.ExecuteAsync($"insert into oidc.clients (id, configuration) values ({id}, {configuration.GetRawText():json})", ct);
        }
        work.Record(new("setup.seed", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["people"] = $"{city.People.Count}", ["terminals"] = $"{city.Terminals.Count}", ["clients"] = $"{city.Clients.Count}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
    }
}
