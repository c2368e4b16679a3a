using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Oidc;
using AccessBroker.People;
using AccessBroker.Terminals;

namespace AccessBroker;

/// <summary>Fills an empty register from a file: the first day, the demo city, the tests. All or nothing; ids that exist already stop it.</summary>
internal static class Seed
{
    internal sealed record City(IReadOnlyList<Person> People, IReadOnlyList<Place> Terminals, IReadOnlyList<Grant> Grants, Dictionary<string, JsonElement> Clients);
    internal sealed record Person(string Id, string Name, string Section, string Post, string Role, DateTimeOffset? ValidUntil);
    internal sealed record Place(string Id, string Name, string ResponsiblePerson, string Location, string System, string Address);
    internal sealed record Grant(string Terminal, string Person, string ApprovedBy, string Reason);

    internal static async Task RunAsync(Store store, City city, TimeProvider time, CancellationToken ct)
    {
        var from = time.GetUtcNow().AddMinutes(-1);
        await using var work = await store.BeginAsync(ct);
        foreach (var p in city.People)
            await PeopleRegister.AddAsync(work, new() { Id = p.Id, Name = p.Name, ValidFrom = from, ValidUntil = p.ValidUntil?.ToUniversalTime(), Posts = { new() { Person = p.Id, Post = p.Post, Section = p.Section, Role = p.Role, ValidFrom = from } } }, ct);
        var register = TerminalRegister.Context(work);
        register.AddRange(city.Terminals.Select(t => new TerminalRow { Id = t.Id, Name = t.Name, ResponsiblePerson = t.ResponsiblePerson, Place = t.Location, System = t.System, Address = t.Address, State = "in-use" }));
        await register.SaveChangesAsync(ct);
        register.AddRange(city.Grants.Select(g => new GrantRow { Terminal = g.Terminal, Person = g.Person, ApprovedBy = g.ApprovedBy, Reason = g.Reason, ValidFrom = from }));
        await register.SaveChangesAsync(ct);
        foreach (var (id, configuration) in city.Clients)
        {
            if (configuration.Deserialize<Client>(JsonSerializerOptions.Web)!.Problem() is { } problem) throw new InvalidOperationException($"relying party {id}: {problem}");
            await work.ExecuteAsync($"insert into oidc.clients (id, configuration) values ({id}, {configuration.GetRawText():json})", ct);
        }
        work.Record(new("setup.seed", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["people"] = $"{city.People.Count}", ["terminals"] = $"{city.Terminals.Count}", ["clients"] = $"{city.Clients.Count}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
    }
}
