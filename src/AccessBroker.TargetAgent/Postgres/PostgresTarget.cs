using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Npgsql;

namespace AccessBroker.TargetAgent.Postgres;

/// <summary>
/// A PostgreSQL server. A session is a role of its own, member of the narrow roles the policy lists; each connection is a login of it, which may come in
/// only while its establishing window is open. The end: every backend of the role terminated, no more logins, looked at again; what it owns handed to a
/// role that can do nothing; the role dropped.
/// <c>VALID UNTIL</c> and <c>DROP ROLE</c> alone end no session. <clause>MIC 6.2(6), 6.2解(1)</clause>
/// </summary>
internal sealed class PostgresTarget(PostgresOptions options, Recorder recorder) : ITarget, IDisposable
{
    private const string Prefix = "ab_", Quarantine = "accessbroker_quarantine";
    /// <summary>Ours: 20 logins of one session at a time; those that are over and unused make room.</summary>
    private const int MostConnections = 20;
    private readonly NpgsqlDataSource _source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(options.Connection) { ApplicationName = "AccessBroker.TargetAgent", MaxPoolSize = 4, CommandTimeout = 5, Timeout = 3, SearchPath = "pg_catalog" });
    private readonly ConcurrentDictionary<string, Room> _rooms = new();

    private readonly StatementLog _statements = new(options.StatementLog, (session, said) => recorder.WriteIfOpen(session, "m", said), recorder.Fail);

    private sealed record Room(string Database, string[] Narrow, bool ReadOnly)
    {
        /// <summary>The server writes down what is said.</summary>
        internal bool IsLogged { get; init; }
        /// <summary>Nobody watches: nobody gets in.</summary>
        internal volatile bool Held;
    }

    /// <summary>One login for each connection that was let in: two at once do not change each other's password.</summary>
    private static string RoleOf(string session, long order) => string.Create(CultureInfo.InvariantCulture, $"{Prefix}{session}_{order}");
    private static string Quoted(string identifier) => $"\"{identifier.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    private static string Literal(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";

    public async Task<JsonObject> OpenAsync(Opening opening, CancellationToken ct)
    {
        var room = new Room(opening.Grants.GetProperty("database").GetString()!, [.. opening.Grants.GetProperty("roles").EnumerateArray().Select(r => r.GetString()!)], opening.Grants.TryGetProperty("readOnly", out var only) && only.GetBoolean()) { Held = opening.TwoPerson };
        await using var connection = await _source.OpenConnectionAsync(ct);
        await RefuseWideAsync(connection, room.Narrow, ct);
        room = room with { IsLogged = _statements.IsThere && (await ColumnAsync(connection, "select 'may' where has_parameter_privilege('log_statement', 'SET') and current_setting('log_destination') like '%jsonlog%' and current_setting('logging_collector') = 'on' and $1 is not null", [])).Count == 1 };
        // The second person would have nothing to watch.
        if (opening.TwoPerson && !room.IsLogged) throw new TargetException("privileged.not-recorded");
        _rooms[opening.Session] = room;
        await using (var batch = new NpgsqlBatch(connection))
        {
            foreach (var sql in Creation(Prefix + opening.Session, room)) batch.BatchCommands.Add(new(sql));
            await batch.ExecuteNonQueryAsync(ct);
        }
        recorder.Begin(opening.Session, 24, 80, $"psql {room.Database}");
        return new() { ["host"] = options.Host, ["port"] = options.Port, ["database"] = room.Database, ["statementLog"] = room.IsLogged };
    }

    /// <summary>The session's own role: nobody logs in as it, whatever connections make is its.</summary>
    private static IEnumerable<string> Creation(string role, Room room)
    {
        yield return $"create role {Quoted(role)} nologin inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls";
        foreach (var name in room.Narrow) yield return $"grant {Quoted(name)} to {Quoted(role)}";
    }

    /// <summary>A login of it: acts as the session's role from its first moment.</summary>
    private static IEnumerable<string> Login(string role, string session, Room room, string verifier, string until)
    {
        yield return $"create role {Quoted(role)} login inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls connection limit 1 password {Literal(verifier)} valid until {Literal(until)} in role {Quoted(Prefix + session)}";
        yield return $"alter role {Quoted(role)} set role = {Literal(Prefix + session)}";
        if (room.IsLogged) yield return $"alter role {Quoted(role)} set log_statement = 'all'";
        if (room.ReadOnly) yield return $"alter role {Quoted(role)} set default_transaction_read_only = on";
    }

    /// <summary>A narrow role is narrow: none that may do everything, bypass row-level security, make roles or read the server's files. <clause>MIC 6.2注2</clause></summary>
    private static async Task RefuseWideAsync(NpgsqlConnection connection, string[] narrow, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand("""
            with recursive reach (oid) as (select oid from pg_roles where rolname = any($1) union select m.roleid from pg_auth_members m join reach r on m.member = r.oid)
            select count(distinct r.rolname) filter (where r.rolname = any($1)), bool_or(r.rolsuper or r.rolcanlogin or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolname like 'pg\_%' and r.rolname not in ('pg_read_all_stats', 'pg_monitor', 'pg_read_all_settings', 'pg_stat_scan_tables'))
            from reach join pg_roles r using (oid)
            """, connection) { Parameters = { new() { Value = narrow } } };
        await using var reader = await command.ExecuteReaderAsync(ct);
        await reader.ReadAsync(ct);
        if (narrow.Length == 0 || reader.GetInt64(0) != narrow.Length) throw new TargetException("privileged.no-such-role");
        if (reader.GetBoolean(1)) throw new TargetException("privileged.role-too-wide");
    }

    public async Task<string> AdmitAsync(string session, long order, string verifier, TimeSpan window, CancellationToken ct)
    {
        // RFC 5803's form as PostgreSQL stores it; anything else would be taken for a password and stored as one.
        if (!verifier.StartsWith("SCRAM-SHA-256$4096:", StringComparison.Ordinal) || verifier.Length > 200) throw new TargetException("privileged.malformed");
        if (!_rooms.TryGetValue(session, out var room)) throw new TargetException("privileged.ended");
        if (room.Held) throw new TargetException("privileged.no-witness");
        await using var connection = await _source.OpenConnectionAsync(ct);
        foreach (var over in await ColumnAsync(connection, "select rolname from pg_roles r where split_part(rolname, '_', 2) = any($1) and rolcanlogin and rolvaliduntil < clock_timestamp() and not exists (select from pg_stat_activity a where a.usename = r.rolname)", [session])) await DropAsync(over, room.Database);
        if ((await ColumnAsync(connection, "select rolname from pg_roles where split_part(rolname, '_', 2) = any($1) and rolcanlogin", [session])).Count >= MostConnections) throw new TargetException("privileged.target-full");
        await using var now = new NpgsqlCommand("select (clock_timestamp() + $1)::text", connection) { Parameters = { new() { Value = window } } };
        var until = (string)(await now.ExecuteScalarAsync(ct))!;
        await using var batch = new NpgsqlBatch(connection);
        foreach (var sql in Login(RoleOf(session, order), session, room, verifier, until)) batch.BatchCommands.Add(new(sql));
        await batch.ExecuteNonQueryAsync(ct);
        if (room.Held)
        {
            await EndAsync([session]);
            throw new TargetException("privileged.no-witness");
        }
        return RoleOf(session, order);
    }

    public async Task HoldAsync(string session, bool held)
    {
        if (!_rooms.TryGetValue(session, out var room)) return;
        room.Held = held;
        if (held && (await EndAsync([session])).Values.Any(left => left != 0)) throw new InvalidOperationException("connections are left");
    }

    /// <summary>
    /// Each round: who is in goes first (a session's own open transaction must not hold up its end), then nobody gets in any more, then everybody is
    /// looked for anew by name. Throws when the database does not answer; then the caller asks again.
    /// </summary>
    public async Task<IReadOnlyDictionary<string, int>> EndAsync(IReadOnlyList<string> sessions)
    {
        string[] wanted = [.. sessions];
        await using var connection = await _source.OpenConnectionAsync();
        await using (var limit = new NpgsqlCommand("set lock_timeout = '200ms'", connection)) await limit.ExecuteNonQueryAsync();
        var pause = TimeSpan.FromMilliseconds(2);
        for (var since = Stopwatch.StartNew(); ;)
        {
            await ColumnAsync(connection, Terminate, wanted);
            await CloseAsync(connection, await ColumnAsync(connection, "select rolname from pg_roles where split_part(rolname, '_', 2) = any($1) and rolname like 'ab\\_%' and rolcanlogin", wanted));
            var left = await ColumnAsync(connection, """
                select split_part(usename, '_', 2) from pg_stat_activity where split_part(usename, '_', 2) = any($1) and usename like 'ab\_%'
                union all select split_part(rolname, '_', 2) from pg_roles where split_part(rolname, '_', 2) = any($1) and rolname like 'ab\_%' and rolcanlogin
                """, wanted);
            if (left.Count == 0 || since.Elapsed.TotalSeconds > 5) return sessions.ToDictionary(s => s, s => left.Count(l => l == s));
            await Task.Delay(pause);
            // A hundred backends take their time to go: asking all the time would take it from them.
            pause = TimeSpan.FromMilliseconds(Math.Min(20, pause.TotalMilliseconds * 1.5));
        }
    }

    /// <summary>Nobody gets in any more: all in one transaction, so that the disk is waited for once; each alone where one of them fails.</summary>
    private static async Task CloseAsync(NpgsqlConnection connection, List<string> roles)
    {
        if (roles.Count == 0) return;
        await using var batch = new NpgsqlBatch(connection);
        foreach (var role in roles) batch.BatchCommands.Add(new($"alter role {Quoted(role)} nologin connection limit 0 password null valid until '-infinity'"));
        try { await batch.ExecuteNonQueryAsync(); }
        // One that is held, changed or dropped at this moment keeps no other open; alone it is for the next round, which looks again.
        catch (PostgresException e) when (roles.Count > 1 || e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.InternalError or PostgresErrorCodes.UndefinedObject)
        {
            if (roles.Count > 1) foreach (var role in roles) await CloseAsync(connection, [role]);
        }
    }

    /// <summary>Materialized: whom it is about must be settled before anything is terminated, whatever order the planner likes.</summary>
    private const string Terminate = "with mine as materialized (select pid, usename::text as role from pg_stat_activity where split_part(usename, '_', 2) = any($1) and usename like 'ab\\_%') select role from mine where pg_terminate_backend(pid)";

    private static async Task<List<string>> ColumnAsync(NpgsqlConnection connection, string sql, string[] roles)
    {
        await using var command = new NpgsqlCommand(sql, connection) { Parameters = { new() { Value = roles } } };
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<string>();
        while (await reader.ReadAsync()) rows.Add(reader.GetString(0));
        return rows;
    }

    public async Task<IReadOnlyList<string>> CleanAsync(string session)
    {
        var database = _rooms.TryGetValue(session, out var room) ? room.Database : null;
        _statements.Read();
        await using var connection = await _source.OpenConnectionAsync();
        var found = new List<string>();
        foreach (var role in await ColumnAsync(connection, "select rolname from pg_roles where split_part(rolname, '_', 2) = any($1) and rolname like 'ab\\_%' order by length(rolname) desc", [session])) found.AddRange(await DropAsync(role, database));
        _rooms.TryRemove(session, out _);
        return found;
    }

    private async Task<IReadOnlyList<string>> DropAsync(string role, string? database)
    {
        var found = new List<string>();
        await using var own = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(options.Connection) { Pooling = false, CommandTimeout = 10, SearchPath = "pg_catalog", Database = database ?? new NpgsqlConnectionStringBuilder(options.Connection).Database });
        try
        {
            await using var connection = await own.OpenConnectionAsync();
            foreach (var line in await ColumnAsync(connection, "select pg_describe_object(classid, objid, objsubid) from pg_shdepend where refclassid = 'pg_authid'::regclass and refobjid in (select oid from pg_roles where rolname = any($1)) and deptype = 'o' and dbid = (select oid from pg_database where datname = current_database())", [role])) found.Add($"owned: {line}");
            found.AddRange((await ColumnAsync(connection, "select gid from pg_prepared_xacts where owner = any($1)", [role])).Select(g => $"prepared transaction {g}"));
            // What it could do through others first, and for good: should the rest fail, a login that slept through the end wakes up without rights.
            await using (var revoke = new NpgsqlBatch(connection))
            {
                foreach (var other in await ColumnAsync(connection, "select r.rolname from pg_auth_members m join pg_roles r on r.oid = m.roleid join pg_roles w on w.oid = m.member where w.rolname = any($1)", [role])) revoke.BatchCommands.Add(new($"revoke {Quoted(other)} from {Quoted(role)}"));
                if (revoke.BatchCommands.Count > 0) await revoke.ExecuteNonQueryAsync();
            }
            await using var batch = new NpgsqlBatch(connection);
            // What it made goes to a role that can do nothing: never to the agent's own.
            if ((await ColumnAsync(connection, "select rolname from pg_roles where rolname = any($1)", [Quarantine])).Count == 0) batch.BatchCommands.Add(new($"create role {Quarantine} nologin noinherit"));
            foreach (var sql in (string[])[$"grant {Quoted(role)}, {Quarantine} to current_user", $"reassign owned by {Quoted(role)} to {Quarantine}", $"drop owned by {Quoted(role)}", $"drop role {Quoted(role)}"]) batch.BatchCommands.Add(new(sql));
            await batch.ExecuteNonQueryAsync();
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException) { found.Add($"role {role} could not be dropped; it cannot log in: {(e as PostgresException)?.MessageText ?? e.GetType().Name}"); }
        return found;
    }

    public async Task<IReadOnlyList<string>> BusyAsync(IReadOnlyCollection<string> living)
    {
        await using var connection = await _source.OpenConnectionAsync();
        // Backends that belong to nobody: of a session that is over, or of a role that is gone (a login that slept through its session's end: post_auth_delay is
        // anybody's to set, and until it is over no view shows the backend). Of these nothing but their role's number is shown to the agent.
        await using (var command = new NpgsqlCommand("""
            with stray as materialized (select a.pid from pg_stat_activity a where a.usename like 'ab\_ps%' and not (split_part(a.usename, '_', 2) = any($1)) or a.usesysid <> 0 and not exists (select from pg_roles r where r.oid = a.usesysid))
            select pg_terminate_backend(pid) from stray
            """, connection) { Parameters = { new() { Value = living.ToArray() } } }) await command.ExecuteNonQueryAsync();
        if (living.Count == 0) return [];
        return await ColumnAsync(connection, "select distinct split_part(usename, '_', 2) from pg_stat_activity where usename like any($1) and (state = 'active' or state_change > clock_timestamp() - interval '6 seconds')", ["ab\\_ps%"]);
    }

    /// <inheritdoc cref="PostgresRights"/>
    public async Task<IReadOnlyList<string>> RightsAsync()
    {
        // A session that begins or ends meanwhile would be taken for somebody's: looked at again.
        while (true)
        {
            var living = _rooms.ToDictionary(r => Prefix + r.Key, r => r.Value.Narrow);
            var lines = await PostgresRights.FindAsync(options.Connection, living);
            if (living.Keys.ToHashSet().SetEquals(_rooms.Keys.Select(k => Prefix + k))) return lines;
        }
    }

    public void Tell(string session, string line) { /* The operator's helper shows the time left: the server cannot speak first. */ }

    public void Dispose()
    {
        _statements.Dispose();
        _source.Dispose();
    }

    public async Task RecoverAsync(IReadOnlyList<string> sessions)
    {
        _statements.Begin();
        // The database may come up after the agent: until it answers and nobody is in any more.
        while (!await IsRecoveredAsync()) await Task.Delay(200);
    }

    /// <summary>The recovery has just asked everything that an end asks.</summary>
    public Task RehearseAsync() => Task.CompletedTask;

    private async Task<bool> IsRecoveredAsync()
    {
        try
        {
            List<string> left;
            await using (var connection = await _source.OpenConnectionAsync()) left = await ColumnAsync(connection, "select rolname from pg_roles where rolname like any($1) order by length(rolname) desc", ["ab\\_ps%"]);
            if ((await EndAsync([.. left.Select(r => r.Split('_')[1]).Distinct()])).Values.Any(still => still != 0)) return false;
            foreach (var role in left) foreach (var found in await DropAsync(role, null)) Log.Warn($"{role}: {found}");
            return true;
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            Log.Warn($"the database does not answer: {e.Message}");
            return false;
        }
    }
}
