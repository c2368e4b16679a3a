using System.Security.Cryptography;
using System.Text;
using Npgsql;

namespace AccessBroker.Database;

/// <summary>
/// SQL files of the slices (<c>yyyyMMddTHHmm_name.sql</c>), applied in the order of their names, each in its own transaction, under an
/// advisory lock, as the owner role. A file that was applied never changes again: its hash is kept.
/// </summary>
internal static class Migrations
{
    private const long LockKey = 0x4163_6365_7373_4272;    // "AccessBr"

    /// <summary>Applies what is missing. Returns the names of what it applied. Throws when an applied file was changed.</summary>
    internal static async Task<IReadOnlyList<string>> ApplyAsync(string ownerConnection, CancellationToken ct)
    {
        // Not pooled: a pooled close would keep the advisory lock.
        var settings = new NpgsqlConnectionStringBuilder(ownerConnection) { Pooling = false };
        await using var connection = new NpgsqlConnection(settings.ConnectionString);
        await connection.OpenAsync(ct);
        await RunAsync(connection, $"select pg_advisory_lock({LockKey})", ct);
        await RunAsync(connection, """
            create schema if not exists migrations;
            create table if not exists migrations.applied (name text primary key, sha256 text not null, applied_at timestamptz not null default clock_timestamp());
            grant usage on schema migrations to accessbroker;
            grant select on migrations.applied to accessbroker;
            """, ct);
        var applied = await AppliedAsync(connection, ct);
        var done = new List<string>();
        foreach (var (name, text) in Files())
        {
            if (applied.TryGetValue(name, out var hash))
            {
                if (hash != HashOf(text)) throw new InvalidOperationException($"migration {name} was changed after it was applied; write a new one");
                continue;
            }
            await using var transaction = await connection.BeginTransactionAsync(ct);
            await RunAsync(connection, text, ct);
            await using var note = new NpgsqlCommand("insert into migrations.applied (name, sha256) values ($1, $2)", connection) { Parameters = { new() { Value = name }, new() { Value = HashOf(text) } } };
            await note.ExecuteNonQueryAsync(ct);
            await transaction.CommitAsync(ct);
            done.Add(name);
        }
        return done;
    }

    /// <summary>Refuses to serve on a database that is not exactly migrated, or with a role that could alter it. Throws with what to do.</summary>
    internal static async Task RequireReadyAsync(NpgsqlDataSource server, CancellationToken ct)
    {
        await using var connection = await server.OpenConnectionAsync(ct);
        await using var rights = new NpgsqlCommand("select rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or has_table_privilege('history.events', 'update, delete, truncate') from pg_roles where rolname = current_user", connection);
        Dictionary<string, string> applied;
        try
        {
            applied = await AppliedAsync(connection, ct);
            if (await rights.ExecuteScalarAsync(ct) is not false)
                throw new InvalidOperationException("the database role of 'serve' may alter the history; use the server role, not the owner");
        }
        catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.InvalidSchemaName)
        {
            throw new InvalidOperationException("the database is empty; run 'AccessBroker migrate' first", e);
        }
        if (Files().FirstOrDefault(f => !applied.TryGetValue(f.Name, out var hash) || hash != HashOf(f.Text)) is { Name: { } missing })
            throw new InvalidOperationException($"migration {missing} is not applied; run 'AccessBroker migrate' first");
    }

    internal static IEnumerable<(string Name, string Text)> Files()
    {
        var assembly = typeof(Migrations).Assembly;
        return assembly.GetManifestResourceNames().Where(n => n.StartsWith("migration/", StringComparison.Ordinal)).Order(StringComparer.Ordinal).Select(n =>
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(n)!);
            return (n["migration/".Length..], reader.ReadToEnd());
        });
    }

    private static string HashOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static async Task<Dictionary<string, string>> AppliedAsync(NpgsqlConnection connection, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand("select name, sha256 from migrations.applied", connection);
        await using var reader = await command.ExecuteReaderAsync(ct);
        var applied = new Dictionary<string, string>();
        while (await reader.ReadAsync(ct)) applied[reader.GetString(0)] = reader.GetString(1);
        return applied;
    }

    private static async Task RunAsync(NpgsqlConnection connection, string text, CancellationToken ct)
    {
        await using var command = new NpgsqlCommand(text, connection);
        await command.ExecuteNonQueryAsync(ct);
    }
}
