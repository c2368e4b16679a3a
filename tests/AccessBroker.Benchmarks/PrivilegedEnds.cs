using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using AccessBroker.Primitives;
using AccessBroker.Tests.Privileged;
using AccessBroker.Tests.Support;
using Scram = AccessBroker.Helper.Scram;

namespace AccessBroker.Benchmarks;

/// <summary>
/// How soon privileged sessions are over on real targets: from the limit, the button, the card in the hand, the emergency stop, to the end of the connection
/// at the operator's stock client; and whether anything is left. One session at a time, and a hundred at once, each with a shell and a daemon, or a statement under way.
/// </summary>
internal static class PrivilegedEnds
{
    private const int Many = 100, Singles = 20;

    /// <summary>What an operator has open: when its connection ended, when the program was gone (it may be the same), and what makes its reader take the rest at once.</summary>
    private sealed record Client(Task<long> Ended, Task<long> Gone, Action Hurry);

    /// <summary>How long after a moment.</summary>
    /// <param name="Ended">Of each client: the end of its connection.</param>
    /// <param name="Gone">Of each client: its process.</param>
    /// <param name="Nothing">Of each session: nothing of it runs at the target any more, looked at from outside. Empty: nothing runs there, transfers are cut.</param>
    private sealed record Times(List<TimeSpan> Ended, List<TimeSpan> Gone, List<TimeSpan> Nothing)
    {
        internal static Times None => new([], [], []);
        internal void Add(Times more) { Ended.AddRange(more.Ended); Gone.AddRange(more.Gone); Nothing.AddRange(more.Nothing); }
        internal Times After(TimeSpan later) => new([.. Ended.Select(t => t - later)], [.. Gone.Select(t => t - later)], [.. Nothing.Select(t => t - later)]);
        public override string ToString() => $"{new Sample(Ended)}{(Nothing.Count == 0 ? "" : $"; until nothing runs at the target {new Sample(Nothing)}")}{(Gone.SequenceEqual(Ended) ? "" : $"; until the client's process is gone {new Sample(Gone)}")}";
    }

    /// <param name="Cause">From the press, from the card in the hand, from the limit.</param>
    /// <param name="Decided">From when the deciding node knew that they must end; a limit is its own cause.</param>
    private sealed record Round(Times Cause, Times Decided)
    {
        internal static Round None => new(Times.None, Times.None);
        internal void Add(Round more) { Cause.Add(more.Cause); Decided.Add(more.Decided); }
        internal void Tell(Dictionary<string, string> details, string what)
        {
            details[what] = Cause.ToString();
            if (!Cause.Ended.SequenceEqual(Decided.Ended)) details[what + ", from the node's decision"] = Decided.ToString();
        }
    }

    internal sealed class City : PrivilegedFilesCity
    {
        protected override int Accounts => Many;
        protected override void ChangePolicies(string directory)
        {
            base.ChangePolicies(directory);
            Tests.Support.CrowdedCity.LiftRateLimit(directory);
        }
    }

    internal static Task<Result> SshAsync() => EndsAsync("end-ssh", "app", "maintain");
    internal static Task<Result> PostgresAsync() => EndsAsync("end-postgres", "db", "look");
    internal static Task<Result> FilesAsync() => EndsAsync("end-files", "documents", "repair");

    private static async Task<Result> EndsAsync(string name, string target, string work)
    {
        var city = new City();
        await city.InitializeAsync();
        var terminal = await city.TerminalAsync("t-01");
        if (target == "app") await city.HostAsync();
        var look = new Look(target == "db" ? await city.DatabaseAsync() : null, hasHost: target == "app");
        var details = new Dictionary<string, string>();
        var (single, many) = (Round.None, Round.None);
        using var me = await ConsoleBrowser.SignInAsync(city, terminal, "admin");
        foreach (var cause in (string[])["limit", "button"])
        {
            // The first one after a start is told apart: it waits for the compiler as well.
            (await RoundAsync(city, me, terminal, target, work, 1, cause, look)).Tell(details, $"one session, {cause}, the first after a start");
            var round = Round.None;
            for (var i = 0; i < Singles; i++) round.Add(await RoundAsync(city, me, terminal, target, work, 1, cause, look));
            single.Add(round);
            round.Tell(details, $"one session, {cause}");
        }
        foreach (var cause in (string[])["limit", "stop", "card"])
        {
            var round = Round.None;
            for (var i = 0; i < (cause == "card" ? 1 : 2); i++) round.Add(await RoundAsync(city, me, terminal, target, work, Many, cause, look));
            many.Add(round);
            round.Tell(details, $"{Many} sessions at once, {cause}");
        }
        var inside = (await city.SqlAsync($"select round(percentile_disc(0.5) within group (order by ended_in)::numeric, 1), round(max(ended_in)::numeric, 1) from privileged.sessions where target = '{target}'"))[0].Split('|');
        details["at the target, from the order to nothing left"] = $"p50 {inside[0]} ms, max {inside[1]} ms";
        await city.DisposeAsync();
        details["goals"] = "from the limit, or the node's decision, to the client's end of file and to nothing left at the target: one max 50 ms; 100: p99 250 ms, max 500 ms";
        var (one, all) = (new Sample(single.Decided.Ended.Concat(single.Decided.Nothing)), new Sample(many.Decided.Ended));
        var nothing = new Sample(many.Decided.Nothing.DefaultIfEmpty());
        return new(name, all.P(99), $"ms p99 of {Many} at once", 250, one.P(100) <= 50 && Math.Max(all.P(99), nothing.P(99)) <= 250 && Math.Max(all.P(100), nothing.P(100)) <= 500, details);
    }

    /// <summary>Both targets, half of the sessions each, one press of the emergency stop.</summary>
    internal static async Task<Result> KillSwitchAsync()
    {
        var city = new City();
        await city.InitializeAsync();
        var terminal = await city.TerminalAsync("t-01");
        await city.HostAsync();
        var look = new Look(await city.DatabaseAsync(), hasHost: true);
        using var me = await ConsoleBrowser.SignInAsync(city, terminal, "admin");
        var times = Round.None;
        for (var round = 0; round < 5; round++)
        {
            var clients = (await OpenAsync(city, me, "app", "maintain", Many / 2)).Concat(await OpenAsync(city, me, "db", "look", Many / 2)).ToList();
            times.Add(await EndedAsync(city, clients, look, isLimit: false, () => StopAsync(city)));
            await OverAsync(city);
        }
        await city.DisposeAsync();
        var details = new Dictionary<string, string>();
        times.Tell(details, $"{Many} mixed sessions, from the button to the end of the client's connection");
        var sample = new Sample(times.Cause.Ended);
        return new("kill-switch", sample.P(99), "ms p99", 1000, Math.Max(sample.P(99), new Sample(times.Cause.Nothing).P(99)) <= 1000, details);
    }

    private static async Task<Round> RoundAsync(City city, ConsoleBrowser me, TestTerminal terminal, string target, string work, int count, string cause, Look look)
    {
        var clients = await OpenAsync(city, me, target, work, count);
        var ends = await EndedAsync(city, clients, look, cause == "limit", cause switch
        {
            "limit" => () => LimitAsync(city),
            "card" => async () => { var began = Stopwatch.GetTimestamp(); await terminal.RemoveAsync(); return began; }
            ,
            "button" => async () =>
            {
                var id = (await city.SqlAsync("select id from privileged.sessions where ended_at is null"))[0];
                var began = Stopwatch.GetTimestamp();
                await me.PostAsync($"/privileged/{id}?handler=end");
                return began;
            }
            ,
            _ => () => StopAsync(city),
        });
        await OverAsync(city);
        if (target == "documents") await NoStreamAsync();
        return ends;
    }

    private static async Task<long> StopAsync(City city)
    {
        using var chief = await ConsoleBrowser.SignInAsync(city, await city.TerminalAsync("t-02"), "boss");
        var began = Stopwatch.GetTimestamp();
        await chief.PostAsync("/privileged?handler=stop", ("What", "everyone/"), ("Reason", "計測"));
        return began;
    }

    /// <summary>The limit of all, 4 s from now; told to the target, which counts by itself. Rather too early than too late: from before the database's clock is asked.</summary>
    private static async Task<long> LimitAsync(City city)
    {
        await city.SqlAsync("""
            with t as (select clock_timestamp() + interval '4 seconds' as at), g as (update file_permissions.grants set valid_until = t.at from t where ended_at is null and subject = 'person:p-9001')
            update privileged.sessions set ends_at = t.at from t where ended_at is null
            """);
        await using var connection = await city.OpenAsync();
        await using var ask = new Npgsql.NpgsqlCommand("select extract(epoch from max(ends_at) - clock_timestamp())::float8 from privileged.sessions where ended_at is null", connection);
        var began = Stopwatch.GetTimestamp();
        return began + (long)((double)(await ask.ExecuteScalarAsync())! * Stopwatch.Frequency);
    }

    /// <summary>No process has one of the files open half a second later.</summary>
    private static async Task NoStreamAsync()
    {
        await Task.Delay(500);
        var (_, open, _) = await Place.RunAsync("find", ["/proc", "-maxdepth", "3", "-path", "*/fd/*", "-lname", "*/files/作業/*"], mayFail: true);
        if (open.Trim().Length > 0) throw new InvalidOperationException($"a stream is left: {open}");
    }

    private static async Task OverAsync(City city)
    {
        await Eventually.TrueAsync(async () => await city.SqlAsync("select count(*) from privileged.sessions where ended_at is null") is ["0"], "all are over", 60);
        await city.SqlAsync("update privileged.stops set lifted_at = now(), lifted_by = 'bench' where lifted_at is null");
    }

    private static async Task<Round> EndedAsync(City city, List<Client> clients, Look look, bool isLimit, Func<Task<long>> cause)
    {
        var nothing = look.AtNothingAsync();
        await Task.Delay(1000);
        if (clients.Exists(c => c.Ended.IsCompleted)) throw new InvalidOperationException("a client ended before its session");
        var causing = cause();
        // One reader takes what it gets from the press on, a hundred from when the page has answered; a limit lies ahead.
        if (clients.Count == 1 && !isLimit) clients.ForEach(c => c.Hurry());
        var began = await causing;
        if (Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), began) is { Ticks: > 0 } ahead) await Task.Delay(ahead);
        clients.ForEach(c => c.Hurry());
        List<TimeSpan> After(IEnumerable<long> moments) => [.. moments.Select(at => Stopwatch.GetElapsedTime(began, at))];
        var times = new Times(After(await Task.WhenAll(clients.Select(c => c.Ended))), After(await Task.WhenAll(clients.Select(c => c.Gone))), After(await nothing));
        // Of each session it was seen that nothing of it runs, or of none: transfers have no process.
        if (times.Nothing.Count != (look.Sees ? clients.Count : 0)) throw new InvalidOperationException($"of {clients.Count} sessions {times.Nothing.Count} were seen at their targets");
        // What ends before its cause has ended of something else.
        if (times.Nothing.Append(TimeSpan.Zero).Min() < TimeSpan.FromMilliseconds(-10)) throw new InvalidOperationException("a session ended at its target before its time");
        if (times.Ended.Min() < TimeSpan.FromMilliseconds(-10)) throw new InvalidOperationException($"a client ended {-times.Ended.Min().TotalMilliseconds} ms before its session");
        return new(times, isLimit ? times : times.After(await DecidedAfterAsync(city, began)));
    }

    /// <summary>How long after the cause the deciding node knew: by its own record, on this machine's clock.</summary>
    private static async Task<TimeSpan> DecidedAfterAsync(City city, long began)
    {
        var (cause, said) = (Clock.At(began), "");
        // An end waits for no record: it may come before.
        for (var since = Stopwatch.StartNew(); said.Length == 0 && since.Elapsed.TotalSeconds < 10; await Task.Delay(20))
            said = (await city.SqlAsync($"select to_char(min(asked_at) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ') from privileged.sessions where asked_at >= '{cause.AddSeconds(-1):O}'"))[0];
        var decided = DateTimeOffset.Parse(said, CultureInfo.InvariantCulture);
        return decided - cause is { Ticks: >= 0 } later ? later : throw new InvalidOperationException("decided before its cause");
    }

    private static Client Of(Process client, Wire wire)
    {
        async Task<long> GoneAsync()
        {
            using (client) await client.WaitForExitAsync();
            return Stopwatch.GetTimestamp();
        }
        return new(wire.Ended, GoneAsync(), () => { });
    }

    /// <summary>Sessions as a start leaves them, opened by their target and connected with the stock clients; these run at nice 19: in a city they have machines of their own.</summary>
    private static async Task<List<Client>> OpenAsync(City city, ConsoleBrowser me, string target, string work, int count)
    {
        if (target == "documents") return await DownloadsAsync(city, me, work, count);
        if (await city.SqlAsync("select id from sessions.sessions where person = 'p-9001' and ended_at is null") is []) throw new InvalidOperationException("nobody is signed in");
        var kind = target == "app" ? "ssh" : "postgres";
        var codes = new Dictionary<string, string>();
        foreach (var _ in Enumerable.Range(0, count))
        {
            var (id, code) = ($"ps{Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(10))}", Secret.New(16));
            codes[id] = code;
            await city.SqlAsync($"""
                insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state)
                select '{id}', '{work}', '{target}', '{kind}', s.person, s.card, s.terminal, s.id, s.address, 'bench', '', '{'{'}{'}'}', now(), now() + interval '1 hour', 'opening' from sessions.sessions s where s.person = 'p-9001' and s.ended_at is null
                """);
        }
        await Eventually.TrueAsync(async () => await city.SqlAsync($"select count(*) from privileged.sessions where state = 'open' and target = '{target}'") is [var open] && open == $"{count}", "all are open", 60);
        var clients = new ConcurrentBag<Client>();
        await Parallel.ForEachAsync(codes, new ParallelOptions { MaxDegreeOfParallelism = 4 }, async (session, ct) =>
        {
            await city.SqlAsync($"insert into privileged.connect_codes (code_hash, session, expires_at) values ('\\x{Convert.ToHexString(Secret.Hash(session.Value))}', '{session.Key}', clock_timestamp() + interval '2 minutes')");
            clients.Add(await (kind == "ssh" ? SshClientAsync(city, me, session.Value) : PsqlClientAsync(me, session.Value)));
        });
        return [.. clients];
    }

    /// <summary>
    /// Sessions with a large file each, as a start leaves them, and its download under way: about 0.3 MB/s with a window of 64 KiB until the cause; from then on
    /// the reader takes what is in the pipes as fast as it can.
    /// </summary>
    private static async Task<List<Client>> DownloadsAsync(City city, ConsoleBrowser me, string work, int count)
    {
        Directory.CreateDirectory(Path.Combine(city.Files.Root, "作業"));
        for (var i = 0; i < count; i++)
        {
            var path = Path.Combine(city.Files.Root, $"作業/{i}.bin");
            if (!File.Exists(path)) await using (var file = File.Create(path)) file.SetLength(1L << 30);
            await city.SqlAsync($"""
                insert into file_permissions.sets (resource, title, confidentiality, created_at, created_by) values ('/作業/{i}.bin', 'x', 1, now(), 'bench') on conflict do nothing;
                with s as (insert into privileged.sessions (id, work, target, kind, person, card, terminal, session, address, reason, ticket, approvers, started_at, ends_at, state)
                  select 'ps{Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(10))}', '{work}', 'documents', 'files', s.person, s.card, s.terminal, s.id, s.address, 'bench', '', '{'{'}{'}'}', now(), now() + interval '1 hour', 'open' from sessions.sessions s where s.person = 'p-9001' and s.ended_at is null returning id)
                insert into file_permissions.grants (resource, subject, actions, valid_from, valid_until, reason, requested_by, approved_by, holder) select '/作業/{i}.bin', 'person:p-9001', array['read'], now(), now() + interval '1 hour', 'bench', 'x', 'x', id from s
                """);
        }
        await city.EnterFilesAsync(me);
        var http = city.Client(cookies: me.Cookies, window: 64 * 1024);
        return [.. await Task.WhenAll(Enumerable.Range(0, count).Select(i => DownloadAsync(http, new Uri($"{city.Files.Origin}/{Uri.EscapeDataString("作業")}/{i}.bin"))))];
    }

    private static async Task<Client> DownloadAsync(HttpClient http, Uri file)
    {
        var response = await http.GetAsync(file, HttpCompletionOption.ResponseHeadersRead);
        // Written past the broker: its node hears of it within its poll.
        for (var since = Stopwatch.StartNew(); response.StatusCode == HttpStatusCode.Forbidden && since.Elapsed.TotalSeconds < 5; response = await http.GetAsync(file, HttpCompletionOption.ResponseHeadersRead)) response.Dispose();
        response.EnsureSuccessStatusCode();
        var hurry = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        async Task<long> ReadAsync()
        {
            using (response)
            {
                await using var body = await response.Content.ReadAsStreamAsync();
                var buffer = new byte[16 * 1024];
                try { while (await body.ReadAsync(buffer) > 0) if (!hurry.Task.IsCompleted) await Task.WhenAny(hurry.Task, Task.Delay(50)); }
                catch (IOException) { return Stopwatch.GetTimestamp(); }
                throw new InvalidOperationException("a download ended as if it were whole");
            }
        }
        var ended = ReadAsync();
        return new(ended, ended, () => hurry.TrySetResult());
    }

    private static async Task<Client> SshClientAsync(City city, ConsoleBrowser me, string code)
    {
        var directory = Directory.CreateDirectory(Path.Combine(city.DataDirectory, "keys", Secret.New(9))).FullName;
        await Place.RunAsync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", $"{directory}/key"]);
        var answer = await ConnectAsync(me, new { code, publicKey = (await File.ReadAllTextAsync($"{directory}/key.pub")).Trim() });
        await File.WriteAllTextAsync($"{directory}/key-cert.pub", answer.GetProperty("certificate").GetString() + "\n");
        var place = answer.GetProperty("place");
        var wire = Wire.To(place.GetProperty("port").GetInt32());
        var ssh = Process.Start(new ProcessStartInfo("nice", ["-n", "19", "ssh", "-F", "none", "-tt", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", $"{directory}/key", "-o", $"CertificateFile={directory}/key-cert.pub", "-p", $"{wire.Port}", $"{place.GetProperty("account").GetString()}@127.0.0.1", "(setsid sleep 3000 < /dev/null > /dev/null 2>&1 &) ; echo ready; sleep 3000"]) { RedirectStandardOutput = true, RedirectStandardInput = true, RedirectStandardError = true })!;
        while (await ssh.StandardOutput.ReadLineAsync() is { } line) if (line.Contains("ready", StringComparison.Ordinal)) return Of(ssh, wire);
        throw new InvalidOperationException("ssh ended: " + await ssh.StandardError.ReadToEndAsync());
    }

    private static async Task<Client> PsqlClientAsync(ConsoleBrowser me, string code)
    {
        var password = Secret.New();
        var answer = await ConnectAsync(me, new { code, verifier = Scram.Verifier(password) });
        var place = answer.GetProperty("place");
        var wire = Wire.To(place.GetProperty("port").GetInt32());
        var psql = Process.Start(new ProcessStartInfo("nice", ["-n", "19", "psql", "-qAt", "-c", "select 'ready'", "-c", "select pg_sleep(3000)", $"host=127.0.0.1 port={wire.Port} user={answer.GetProperty("account").GetString()} dbname={place.GetProperty("database").GetString()}"]) { RedirectStandardOutput = true, RedirectStandardError = true, Environment = { ["PGPASSWORD"] = password } })!;
        if (await psql.StandardOutput.ReadLineAsync() != "ready") throw new InvalidOperationException("psql ended: " + await psql.StandardError.ReadToEndAsync());
        return Of(psql, wire);
    }

    private static async Task<JsonElement> ConnectAsync(ConsoleBrowser me, object question)
    {
        using var response = await me.Http.PostAsJsonAsync("/privileged/connect", question);
        var answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        return response.IsSuccessStatusCode ? answer : throw new InvalidOperationException(answer.ToString());
    }
}
