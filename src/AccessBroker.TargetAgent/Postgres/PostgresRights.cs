using Npgsql;

namespace AccessBroker.TargetAgent.Postgres;

/// <summary>
/// Who may do what on a PostgreSQL server, beside the living sessions: attributes and memberships of roles, rights on databases; and in every database
/// that lets the agent in, what others than its owner may do with each schema's relations, columns and functions, counted, and which functions of the catalog were granted. Not looked
/// at: large objects, types, languages, foreign servers, tablespaces, parameters, views of the catalog. <clause>MIC 6.2解(1)</clause>
/// </summary>
internal static class PostgresRights
{
    /// <param name="living">The living sessions' own roles, and the narrow ones each was given.</param>
    internal static async Task<List<string>> FindAsync(string connection, IReadOnlyDictionary<string, string[]> living)
    {
        var own = new NpgsqlConnectionStringBuilder(connection) { Pooling = false, CommandTimeout = 5, Timeout = 3, SearchPath = "pg_catalog" };
        var (lines, others) = (new List<string>(), new List<string>());
        await using (var source = NpgsqlDataSource.Create(own))
        {
            await using var home = await source.OpenConnectionAsync();
            lines.AddRange(await LinesAsync(home, Server, living));
            lines.AddRange(await LinesAsync(home, Objects, living));
            others.AddRange(await LinesAsync(home, "select datname from pg_database where datallowconn and datname <> current_database() order by datname", living));
        }
        foreach (var other in others)
            try
            {
                await using var source = NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(own.ConnectionString) { Database = other });
                await using var there = await source.OpenConnectionAsync();
                lines.AddRange((await LinesAsync(there, Objects, living)).Select(l => $"{other}: {l}"));
            }
            // What nobody can look into is said as well.
            catch (NpgsqlException e) { lines.Add($"{other}: not looked into ({(e as PostgresException)?.SqlState ?? "no answer"})"); }
        return lines;
    }

    private static async Task<List<string>> LinesAsync(NpgsqlConnection connection, string sql, IReadOnlyDictionary<string, string[]> living)
    {
        // Exactly what the living sessions were given: their own roles, the narrow ones, their logins.
        var given = living.SelectMany(r => r.Value.Select(n => (Member: r.Key, Role: n))).ToList();
        await using var command = new NpgsqlCommand(sql, connection) { Parameters = { new() { Value = given.Select(g => g.Member).ToArray() }, new() { Value = given.Select(g => g.Role).ToArray() }, new() { Value = living.Keys.ToArray() } } };
        await using var reader = await command.ExecuteReaderAsync();
        var lines = new List<string>();
        while (await reader.ReadAsync()) lines.Add(reader.GetString(0));
        return lines;
    }

    private const string Server = """
        select 'role ' || rolname || ':' || case when rolsuper then ' superuser' else '' end || case when rolcreaterole then ' createrole' else '' end || case when rolcreatedb then ' createdb' else '' end
          || case when rolreplication then ' replication' else '' end || case when rolbypassrls then ' bypassrls' else '' end
        from pg_roles where rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls
        union all select 'member ' || w.rolname || ' of ' || r.rolname || case when m.admin_option then ' with admin option' else '' end from pg_auth_members m join pg_roles r on r.oid = m.roleid join pg_roles w on w.oid = m.member
        where not (w.rolname like 'pg\_%') and not (w.rolname = current_user and regexp_replace(r.rolname, '_[0-9]+$', '') = any($3) and r.rolname ~ '^ab_ps[0-9a-f]+(_[0-9]+)?$') and (m.admin_option or not exists (select from unnest($1::text[], $2::text[]) g (m, r) where g.m = w.rolname and g.r = r.rolname) and not (r.rolname = any($3) and w.rolname ~ ('^' || r.rolname || '_[0-9]+$')))
        union all select 'database ' || d.datname || ': ' || coalesce(g.rolname, 'public') || ' ' || a.privilege_type from pg_database d, aclexplode(d.datacl) a left join pg_roles g on g.oid = a.grantee where a.grantee <> d.datdba and (a.grantee <> 0 or a.privilege_type not in ('CONNECT', 'TEMPORARY'))
        """;

    /// <summary>Everybody's CREATE and everything that acts with its owner's rights stand among them; what PostgreSQL gives everybody by itself does not.</summary>
    private const string Objects = """
        select 'acl ' || n.nspname || ': ' || coalesce(g.rolname, 'public') || ' ' || a.privilege_type || ' on ' || count(*) || ' ' || case c.relkind when 'S' then 'sequences' else 'tables' end || ' #' || left(md5(string_agg(c.relname, ',' order by c.relname)), 8)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a left join pg_roles g on g.oid = a.grantee
        where n.nspname not in ('pg_catalog', 'information_schema') and a.grantee <> c.relowner and c.relpersistence <> 't' group by n.nspname, g.rolname, a.privilege_type, case c.relkind when 'S' then 'sequences' else 'tables' end
        union all select 'owner ' || n.nspname || ': ' || o.rolname || ' of ' || count(*) || ' #' || left(md5(string_agg(c.relname, ',' order by c.relname)), 8)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in ('r', 'v', 'm', 'f', 'p', 'S') and c.relpersistence <> 't' and not (o.rolname = any($3)) group by n.nspname, o.rolname
        union all select 'columns ' || n.nspname || ': ' || coalesce(g.rolname, 'public') || ' ' || a.privilege_type || ' on ' || count(*) || ' #' || left(md5(string_agg(c.relname || '.' || t.attname, ',' order by c.relname, t.attname)), 8)
        from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace, aclexplode(t.attacl) a left join pg_roles g on g.oid = a.grantee where n.nspname not in ('pg_catalog', 'information_schema') and a.grantee <> c.relowner and c.relpersistence <> 't' group by n.nspname, g.rolname, a.privilege_type
        union all select 'catalog ' || n.nspname || ': ' || g.rolname || ' EXECUTE on ' || count(*) || ' #' || left(md5(string_agg(p.oid::regprocedure::text, ',' order by p.oid::regprocedure::text)), 8)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace left join pg_init_privs i on i.objoid = p.oid and i.classoid = 'pg_proc'::regclass and i.objsubid = 0, aclexplode(p.proacl) a join pg_roles g on g.oid = a.grantee
        where n.nspname in ('pg_catalog', 'information_schema') and p.proacl is distinct from i.initprivs and a.grantee <> p.proowner and not exists (select from aclexplode(i.initprivs) b where b.grantee = a.grantee) group by n.nspname, g.rolname
        union all select 'function ' || n.nspname || ': ' || coalesce(g.rolname, 'public') || ' EXECUTE on ' || count(*) || ' #' || left(md5(string_agg(p.oid::regprocedure::text, ',' order by p.oid::regprocedure::text)), 8)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a left join pg_roles g on g.oid = a.grantee where n.nspname not in ('pg_catalog', 'information_schema') and a.grantee <> p.proowner and a.grantee <> 0 group by n.nspname, g.rolname
        union all select 'definer ' || n.nspname || ': ' || o.rolname || ' of ' || count(*) || ' functions #' || left(md5(string_agg(p.oid::regprocedure::text || p.prosrc || coalesce(p.probin, ''), ',' order by p.oid::regprocedure::text)), 8)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles o on o.oid = p.proowner where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema') and not (o.rolname = any($3)) group by n.nspname, o.rolname
        union all select 'schema ' || n.nspname || ': ' || coalesce(g.rolname, 'public') || ' ' || a.privilege_type from pg_namespace n, aclexplode(n.nspacl) a left join pg_roles g on g.oid = a.grantee
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and a.grantee <> n.nspowner and (a.grantee <> 0 or n.nspname <> 'public' or a.privilege_type <> 'USAGE')
        union all select 'default ' || coalesce(n.nspname, '*') || ': ' || coalesce(g.rolname, 'public') || ' ' || a.privilege_type || ' on new ' || d.defaclobjtype::text || ' of ' || o.rolname
        from pg_default_acl d join pg_roles o on o.oid = d.defaclrole left join pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a left join pg_roles g on g.oid = a.grantee where a.grantee <> d.defaclrole
        """;
}
