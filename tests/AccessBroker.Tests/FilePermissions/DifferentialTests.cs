using System.Globalization;
using System.Text.Json;
using AccessBroker.AuthZen;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using AccessBroker.Web;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace AccessBroker.Tests.FilePermissions;

/// <summary>One decision, several doors: the SQL function, the snapshot, the AuthZEN API, and an evaluator written once more in the plainest way agree on every question.</summary>
public sealed class DifferentialTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private sealed record Line(string Resource, string Subject, string[] Actions, bool Deny, int UpTo, DateTimeOffset From, DateTimeOffset Until, bool Ended);

    private static readonly string[] People = ["p-1001", "p-1002", "p-2001", "p-3001", "p-7001", "p-9001", "p-1004", "nobody"];
    /// <summary>Whole minutes: grants begin and end exactly at questions. The city was seeded a moment ago.</summary>
    private static readonly DateTimeOffset Noon = DateTimeOffset.FromUnixTimeSeconds((DateTimeOffset.UtcNow.ToUnixTimeSeconds() / 60 * 60) + 3600);

    /// <summary>The rule as a clerk would apply it: all grants one by one, nothing clever.</summary>
    private static bool Naive(List<FileSet> sets, List<Line> grants, Dictionary<string, string[]> subjects, string person, string path, string action, DateTimeOffset at)
    {
        bool Above(string set) => set == "/" || set == path || path.StartsWith(set + "/", StringComparison.Ordinal);
        var around = sets.Where(s => Above(s.Resource)).OrderBy(s => s.Resource.Length).ToList();
        if (around.Count == 0 || around.Exists(s => s.InBatch)) return false;
        var classes = around.Where(s => s.Confidentiality is not null).Select(s => s.Confidentiality == 0 ? 3 : s.Confidentiality!.Value).ToList();
        var level = classes.Count == 0 ? 3 : classes.Max();
        var (owner, named) = (around.LastOrDefault(s => s.Section is not null)?.Section, around.LastOrDefault(s => s.NamedOnly)?.Resource);
        var mine = grants.Where(g => !g.Ended && subjects[person].Contains(g.Subject) && Above(g.Resource) && g.From <= at && at < g.Until && g.Actions.Contains(action)).ToList();
        if (mine.Exists(g => g.Deny)) return false;
        foreach (var grant in mine)
        {
            if (grant.UpTo < level) continue;
            if (grant.Subject == "person:" + person) { if (named is null || grant.Resource == named || grant.Resource.StartsWith(named + "/", StringComparison.Ordinal) || named == "/") return true; continue; }
            if (named is not null) continue;
            if (owner is not null && !subjects[person].Contains("section:" + owner)) continue;
            if (action == "export" && level >= 2) continue;
            return true;
        }
        return false;
    }

    private static string Path(Random random, int depth) => depth == 0 ? "/" : "/" + string.Join('/', Enumerable.Range(0, depth).Select(_ => (string[])["住民", "戸籍", "a", "b", "令和8"] is var names ? names[random.Next(names.Length)] : ""));

    [Fact, Trait("Requirement", "FIL-01"), Trait("Requirement", "FIL-03"), Trait("Requirement", "FIL-06"), Trait("Requirement", "FIL-07"), Trait("Requirement", "DAT-10")]
    public async Task Sql_snapshot_api_and_a_naive_evaluator_agree()
    {
        var seed = int.Parse(Environment.GetEnvironmentVariable("ACCESSBROKER_SEED") ?? "20261121", CultureInfo.InvariantCulture);
        var (random, questions, allowed) = (new Random(seed), Counts.Of(10_000, 1_000_000), 0);
        TestContext.Current.SendDiagnosticMessage($"seed {seed}, {questions} questions");
        await using var store = new Store(NpgsqlDataSource.Create(broker.Environment()["Broker__Database"]));
        var clock = new TestClock();
        using var decisions = new FileDecisions(store, new Wakeups(null), clock, NullLogger<FileDecisions>.Instance);
        var api = new AuthZenApi(store, decisions, new EnforcerKeys(store, clock), new GrantUses(store, clock, NullLogger<GrantUses>.Instance), new Coalescer(store, clock, NullLogger<Coalescer>.Instance), new BrokerOptions(), clock);
        var worlds = Math.Max(20, questions / 20_000);
        for (var world = 0; world < worlds; world++)
        {
            clock.Now = Noon;
            var sets = Enumerable.Range(0, random.Next(1, 12)).Select(_ => Path(random, random.Next(0, 4))).Distinct().Select(p => new FileSet(p, random.Next(3) == 0 ? "市民課" : random.Next(6) == 0 ? "人事課" : null, random.Next(6) == 0, random.Next(2) == 0 ? random.Next(0, 4) : null, random.Next(25) == 0)).ToList();
            var subjects = People.ToDictionary(p => p, _ => Array.Empty<string>());
            foreach (var person in People) subjects[person] = (await store.AskAsync(FileRegister.Subjects(PersonId.Parse(person), Noon), default)).Subjects;
            var all = subjects.Values.SelectMany(s => s).Distinct().Append("person:nobody").ToList();
            var grants = Enumerable.Range(0, random.Next(5, 60)).Select(_ => new Line(sets[random.Next(sets.Count)].Resource, all[random.Next(all.Count)], [.. FileRule.Actions.Where(_ => random.Next(3) > 0).DefaultIfEmpty("read")], random.Next(12) == 0, random.Next(1, 4), Noon.AddHours(random.Next(-5, 3)), Noon.AddHours(random.Next(3, 9)), random.Next(10) == 0)).ToList();
            await PlantAsync(sets, grants);
            await decisions.RefreshAsync(default);
            // Forward only: a snapshot holds no grant that was over when it was made.
            foreach (var at in Enumerable.Range(0, questions / worlds / 50).Select(_ => Noon.AddMinutes(random.Next(0, 600))).Order())
            {
                clock.Now = at;
                await decisions.RefreshAsync(default);
                var asked = Enumerable.Range(0, 50).Select(_ => (Person: People[random.Next(People.Length)], Path: Path(random, random.Next(0, 5)), Action: FileRule.Actions[random.Next(5)])).ToList();
                var (answers, overApi) = (await InSqlAsync(asked, at), await OverApiAsync(api, asked));
                for (var n = 0; n < asked.Count; n++)
                {
                    var (person, path, action) = asked[n];
                    // What the test's people are does not change in these hours.
                    var naive = Naive(sets, grants, subjects, person, path, action, at);
                    var snapshot = await decisions.DecideAsync(PersonId.Parse(person), path, action, default);
                    Assert.True((naive, naive, naive) == (snapshot.Allowed, answers[n].Allowed, overApi[n]) && snapshot.Reason == answers[n].Reason && snapshot.Grant == answers[n].Grant, $"seed {seed} world {world}: {person} {action} {path} at {at:O}: naive {naive}, snapshot {snapshot}, SQL {answers[n]}, API {overApi[n]}");
                    if (naive) allowed++;
                }
            }
        }
        // A test of two that always say no proves nothing.
        Assert.InRange(allowed, questions / 50, questions / 2);
    }

    private async Task PlantAsync(List<FileSet> sets, List<Line> grants)
    {
        await using var connection = await broker.OpenAsync();
        await using (var clear = new NpgsqlCommand("delete from file_permissions.grants; delete from file_permissions.sets", connection)) await clear.ExecuteNonQueryAsync();
        await using var batch = new NpgsqlBatch(connection);
        foreach (var set in sets)
            batch.BatchCommands.Add(new("insert into file_permissions.sets (resource, title, section, named_only, confidentiality, batch_since, created_at, created_by) values ($1, 'x', $2, $3, $4, case when $5 then now() end, now(), 'test')") { Parameters = { new() { Value = set.Resource }, new() { Value = (object?)set.Section ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Text }, new() { Value = set.NamedOnly }, new() { Value = (object?)(short?)set.Confidentiality ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Smallint }, new() { Value = set.InBatch } } });
        foreach (var grant in grants)
            batch.BatchCommands.Add(new("insert into file_permissions.grants (resource, subject, actions, deny, up_to, valid_from, valid_until, ended_at, ended_by, reason, requested_by, approved_by) values ($1, $2, $3, $4, $5, $6, $7, case when $8 then now() end, case when $8 then 'x' end, 'x', 'test', 'test')") { Parameters = { new() { Value = grant.Resource }, new() { Value = grant.Subject }, new() { Value = grant.Actions }, new() { Value = grant.Deny }, new() { Value = (short)grant.UpTo }, new() { Value = grant.From }, new() { Value = grant.Until }, new() { Value = grant.Ended } } });
        await batch.ExecuteNonQueryAsync();
    }

    /// <summary>As bodies of the evaluations endpoint; only the way through the network is left out, because the clock is the test's.</summary>
    private static async Task<List<bool>> OverApiAsync(AuthZenApi api, List<(string Person, string Path, string Action)> asked)
    {
        var body = JsonSerializer.SerializeToElement(new { evaluations = asked.Select(a => new { subject = new { type = "user", id = a.Person }, resource = new { type = "file", id = a.Path }, action = new { name = a.Action } }) });
        var context = new DefaultHttpContext { RequestServices = Services, Response = { Body = new MemoryStream() } };
        await (await api.EvaluateAllAsync(body, "test", default)).ExecuteAsync(context);
        return [.. JsonElement.Parse(((MemoryStream)context.Response.Body).ToArray()).GetProperty("evaluations").EnumerateArray().Select(e => e.GetProperty("decision").GetBoolean())];
    }

    private static readonly IServiceProvider Services = new ServiceCollection().AddLogging().BuildServiceProvider();

    private async Task<List<(bool Allowed, string Reason, long? Grant)>> InSqlAsync(List<(string Person, string Path, string Action)> asked, DateTimeOffset at)
    {
        await using var connection = await broker.OpenAsync(asServer: true);
        await using var command = new NpgsqlCommand("select (d).allowed, (d).reason, (d).grant_id from (select file_permissions.decide(q.who, q.what, q.act, $4) d, n from unnest($1::text[], $2::text[], $3::text[]) with ordinality q (who, what, act, n)) a order by n", connection)
        { Parameters = { new() { Value = asked.Select(a => a.Person).ToArray() }, new() { Value = asked.Select(a => a.Path).ToArray() }, new() { Value = asked.Select(a => a.Action).ToArray() }, new() { Value = at.ToUniversalTime() } } };
        await using var reader = await command.ExecuteReaderAsync();
        var answers = new List<(bool, string, long?)>();
        while (await reader.ReadAsync()) answers.Add((reader.GetBoolean(0), reader.GetString(1), reader.IsDBNull(2) ? null : reader.GetInt64(2)));
        return answers;
    }
}
