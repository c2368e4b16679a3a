using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.Primitives;
using AccessBroker.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace AccessBroker.Benchmarks;

/// <summary>
/// One decision, measured at each door: over AuthZEN against a bare endpoint of the same server, from a snapshot in memory, in SQL; with 10,000 to
/// 10,000,000 grants. And whether unknown people and places cost the same as unauthorised ones.
/// </summary>
internal static class FileRights
{
    private const double Goal = 0.5;
    private const int People = 10_000, Places = 20_000;

    internal static async Task<Result> RunAsync()
    {
        var city = new Pdp();
        await city.InitializeAsync();
        var details = new Dictionary<string, string>();
        var (worst, sqlP99) = (0.0, 0.0);
        foreach (var grants in (int[])[10_000, 100_000, 1_000_000, 10_000_000])
        {
            await PlantAsync(city, grants);
            (details[string.Create(CultureInfo.InvariantCulture, $"{grants:N0} grants: SQL function")], sqlP99) = await SqlAsync(city);
            var (words, p50) = await SnapshotAsync(city);
            details[string.Create(CultureInfo.InvariantCulture, $"{grants:N0} grants: snapshot")] = words;
            worst = Math.Max(worst, p50);
        }
        var (ratio, api) = await ApiAsync(city);
        details["API"] = api;
        (details["unknown against unauthorised"], var apart) = await TimingAsync(city);
        details["snapshot p50, worst of all sizes"] = $"{worst:0.00} µs, goal 5";
        await city.DisposeAsync();
        return new("permissions", ratio, "of a bare endpoint's decisions/s", Goal, ratio >= Goal && worst <= 5 && sqlP99 <= 1000 && apart <= 5, details);
    }

    internal sealed class Pdp : BrokerHost
    {
        internal string Secret { get; private set; } = "";
        protected override void ChangePolicies(string directory) => CrowdedCity.LiftRateLimit(directory);

        protected override async Task ArrangeAsync()
        {
            await using var owner = new Store(NpgsqlDataSource.Create(Environment()["Broker__DatabaseOwner"]));
            Secret = await Enforcers.MakeAsync(owner, "bench", null, TimeProvider.System, default);
        }
    }

    /// <summary>10,000 people in 100 sections, 20,000 places three deep; each person has an equal part of the grants, at places all over the tree.</summary>
    private static async Task PlantAsync(BrokerHost city, int grants)
    {
        await using var connection = await city.OpenAsync();
        await RunAsync(connection, $"""
            alter table file_permissions.grants disable trigger user;
            truncate file_permissions.grants restart identity;
            insert into file_permissions.sets (resource, title, section, confidentiality, created_at, created_by)
                select '/d' || i % 20 || case when i >= 20 then '/e' || i / 20 % 50 else '' end || case when i >= 1000 then '/f' || i / 1000 else '' end, 'x', null, 1 + i % 2, now(), 'bench' from generate_series(0, {Places - 1}) i on conflict do nothing;
            insert into people.persons (id, valid_from) select 'b-' || i, now() - interval '1 day' from generate_series(0, {People - 1}) i on conflict do nothing;
            insert into people.persons (id, valid_from) select 'v-' || i, now() - interval '1 day' from generate_series(0, 199) i on conflict do nothing;
            insert into people.names (person, name, valid_from) select 'v-' || i, 'v', now() - interval '1 day' from generate_series(0, 199) i where not exists (select from people.names where person = 'v-' || i);
            insert into people.posts (person, section, post, role, valid_from) select 'v-' || i, 's' || i % 100, 'p', 'operator', now() - interval '1 day' from generate_series(0, 199) i where not exists (select from people.posts where person = 'v-' || i);
            insert into people.names (person, name, valid_from) select 'b-' || i, 'b', now() - interval '1 day' from generate_series(0, {People - 1}) i where not exists (select from people.names where person = 'b-' || i);
            insert into people.posts (person, section, post, role, valid_from) select 'b-' || i, 's' || i % 100, 'p', 'operator', now() - interval '1 day' from generate_series(0, {People - 1}) i where not exists (select from people.posts where person = 'b-' || i);
            insert into file_permissions.grants (resource, subject, actions, up_to, valid_from, valid_until, reason, requested_by, approved_by)
                select s.resource, 'person:b-' || i % {People}, array['read', 'write'], 3, now() - interval '1 day', now() + interval '90 days', 'x', 'x', 'x'
                from generate_series(0, {grants - 1}) i join (select resource, row_number() over (order by resource) - 1 n from file_permissions.sets) s on s.n = (i::bigint * 7919 + i / {People}) % (select count(*) from file_permissions.sets);
            alter table file_permissions.grants enable trigger user;
            update file_permissions.epoch set value = value + 1, sets = sets + 1;
            """);
        await RunAsync(connection, "vacuum analyze file_permissions.grants");
        await RunAsync(connection, "vacuum analyze file_permissions.sets");
        await RunAsync(connection, "vacuum analyze people.posts");
    }

    private static async Task RunAsync(NpgsqlConnection connection, string sql)
    {
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 900 };
        await command.ExecuteNonQueryAsync();
    }

    private static string PathOf(Random random) => $"/d{random.Next(20)}/e{random.Next(50)}/f{random.Next(1, 20)}/file-{random.Next(1000)}.txt";

    /// <summary>Inside the server, as row-level security asks it; and with the round trip of a client.</summary>
    private static async Task<(string Words, double P99)> SqlAsync(BrokerHost city)
    {
        var (random, times) = (new Random(1), new List<TimeSpan>());
        await using var connection = await city.OpenAsync(asServer: true);
        await using (var define = new NpgsqlCommand($$"""
            create function pg_temp.measure(n integer) returns double precision[] language plpgsql as $f$
            declare began timestamptz; times double precision[] := '{}'; who text; what text; yes boolean;
            begin
                for i in 1..n loop
                    who := 'b-' || floor(random() * {{People}})::integer;
                    what := '/d' || floor(random() * 20)::integer || '/e' || floor(random() * 50)::integer || '/f' || 1 + floor(random() * 19)::integer || '/file.txt';
                    began := clock_timestamp();
                    select allowed into yes from file_permissions.decide(who, what, 'read', began);
                    times := times || extract(epoch from clock_timestamp() - began)::double precision;
                end loop;
                return times;
            end $f$
            """, connection)) await define.ExecuteNonQueryAsync();
        await using var measure = new NpgsqlCommand("select pg_temp.measure(6000)", connection) { CommandTimeout = 120 };
        var inside = ((double[])(await measure.ExecuteScalarAsync())!).Skip(1_000).Select(TimeSpan.FromSeconds);
        await using var command = new NpgsqlCommand("select allowed from file_permissions.decide($1, $2, 'read', now())", connection) { Parameters = { new() { Value = "b-1" }, new() { Value = "/d1" } } };
        await command.PrepareAsync();
        for (var i = 0; i < 4_000; i++)
        {
            (command.Parameters[0].Value, command.Parameters[1].Value) = ($"b-{random.Next(People)}", PathOf(random));
            var began = Stopwatch.GetTimestamp();
            await command.ExecuteScalarAsync();
            if (i >= 1_000) times.Add(Stopwatch.GetElapsedTime(began));
        }
        var sample = new Sample(inside);
        return ($"{sample.Micro()}, goal p99 1,000 µs; with a client's round trip {new Sample(times).Micro()}", sample.P(99) * 1000);
    }

    /// <summary>The product's own class with a database behind it; people who have been asked about before.</summary>
    private static async Task<(string Words, double P50)> SnapshotAsync(BrokerHost city)
    {
        await using var store = new Store(NpgsqlDataSource.Create(city.Environment()["Broker__Database"]));
        using var decisions = new FileDecisions(store, new Wakeups(null), TimeProvider.System, NullLogger<FileDecisions>.Instance);
        await decisions.RefreshAsync(default);
        var people = Enumerable.Range(0, 200).Select(i => PersonId.Parse($"b-{i * 37}")).ToArray();
        var heapBefore = GC.GetTotalMemory(true);
        var loads = new List<TimeSpan>();
        foreach (var person in people)
        {
            await decisions.RefreshAsync(default);
            var began = Stopwatch.GetTimestamp();
            await decisions.DecideAsync(person, "/d1", "read", default);
            loads.Add(Stopwatch.GetElapsedTime(began));
        }
        var memory = (GC.GetTotalMemory(true) - heapBefore) / (double)people.Length / 1024;
        var (random, times, allowed) = (new Random(2), new List<TimeSpan>(), 0);
        var questions = Enumerable.Range(0, 120_000).Select(_ => (Person: people[random.Next(people.Length)], Path: PathOf(random))).ToArray();
        await decisions.RefreshAsync(default);
        for (var i = 0; i < questions.Length; i++)
        {
            if (i % 10_000 == 0) await decisions.RefreshAsync(default);
            var began = Stopwatch.GetTimestamp();
            var decision = await decisions.DecideAsync(questions[i].Person, questions[i].Path, "read", default);
            if (i >= 20_000) times.Add(Stopwatch.GetElapsedTime(began));
            if (decision.Allowed) allowed++;
        }
        var sample = new Sample(times);
        return ($"{sample.Micro()}, {allowed * 100 / questions.Length} % allowed; first question of a person: p50 {new Sample(loads).P(50):0.0} ms; {memory:0.0} KiB for each person; {decisions.Places:N0} places", sample.P(50) * 1000);
    }

    /// <summary>Keep-alive connections, several at a time, in turns of both endpoints so that the machine treats both alike.</summary>
    private static async Task<(double Ratio, string Words)> ApiAsync(Pdp city)
    {
        var (bare, api) = (new List<TimeSpan>(), new List<TimeSpan>());
        var (bareWall, apiWall) = (TimeSpan.Zero, TimeSpan.Zero);
        using var client = Client(city);
        var bodies = Bodies();
        for (var round = 0; round < 12; round++)
        {
            var warm = round < 2;
            bareWall += await LoadAsync(warm ? [] : bare, () => new(HttpMethod.Get, "/.well-known/authzen-configuration"), client, warm);
            apiWall += await LoadAsync(warm ? [] : api, () => new(HttpMethod.Post, "/access/v1/evaluation") { Content = Json(bodies()) }, client, warm);
        }
        var (bareRate, apiRate) = (bare.Count / bareWall.TotalSeconds, api.Count / apiWall.TotalSeconds);
        return (apiRate / bareRate, $"{apiRate:0} decisions/s, {new Sample(api)}; the bare endpoint {bareRate:0}/s, {new Sample(bare)}; 8 at a time, load generator on the same {Environment.ProcessorCount} cores, TLS, HTTP/1.1");
    }

    private static HttpClient Client(Pdp city)
    {
        var client = city.Client();
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", city.Secret);
        return client;
    }

    private static Func<string> Bodies()
    {
        var random = new Random(3);
        return () => { lock (random) return Body($"b-{random.Next(500)}", PathOf(random)); };
    }

    private static string Body(string person, string path) => $$"""{"subject": {"type": "user", "id": "{{person}}"}, "resource": {"type": "file", "id": "{{path}}"}, "action": {"name": "read"} }""";
    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/json");

    private static async Task<TimeSpan> LoadAsync(List<TimeSpan> times, Func<HttpRequestMessage> request, HttpClient client, bool warm)
    {
        var began = Stopwatch.GetTimestamp();
        await Parallel.ForEachAsync(Enumerable.Range(0, 1_500), new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (_, ct) =>
        {
            using var one = request();
            var start = Stopwatch.GetTimestamp();
            using var response = await client.SendAsync(one, ct);
            await response.Content.ReadAsByteArrayAsync(ct);
            if (!response.IsSuccessStatusCode) throw new InvalidOperationException($"{response.StatusCode}");
            lock (times) times.Add(Stopwatch.GetElapsedTime(start));
        });
        return warm ? TimeSpan.Zero : Stopwatch.GetElapsedTime(began);
    }

    /// <summary>10,000 interleaved questions about the unauthorised, an unknown person, and an unknown place: the medians must not tell them apart.</summary>
    private static async Task<(string Words, double Percent)> TimingAsync(Pdp city)
    {
        using var client = Client(city);
        var random = new Random(4);
        Func<string>[] questions = [() => Body($"v-{random.Next(200)}", $"/d1/e1/{random.Next(100_000)}"), () => Body($"u-{random.Next(200)}", $"/d1/e1/{random.Next(100_000)}"), () => Body($"v-{random.Next(200)}", $"/x1/e1/{random.Next(100_000)}")];
        var times = questions.Select(_ => new List<TimeSpan>()).ToArray();
        for (var i = 0; i < 12_000; i++)
        {
            var which = random.Next(3);
            using var content = Json(questions[which]());
            var began = Stopwatch.GetTimestamp();
            using var response = await client.PostAsync(new Uri("/access/v1/evaluation", UriKind.Relative), content);
            await response.Content.ReadAsByteArrayAsync();
            if (i >= 2_000) times[which].Add(Stopwatch.GetElapsedTime(began));
        }
        var medians = times.Select(t => new Sample(t).P(50)).ToArray();
        var apart = (medians.Max() / medians.Min() - 1) * 100;
        return ($"medians {string.Join(", ", medians.Select(m => $"{m * 1000:0} µs"))} (unauthorised, unknown person, unknown place), n 10,000; apart by at most {apart:0.0} %, goal 5", apart);
    }
}
