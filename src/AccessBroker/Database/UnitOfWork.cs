using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace AccessBroker.Database;

/// <summary>What a crash of the database server may undo of a commit.</summary>
public enum Durability
{
    /// <summary>Nothing.</summary>
    Durable,
    /// <summary>The last moments: for what only says how far somebody has come, and is begun again. Never for history, counters or endings.</summary>
    MayBeLostInACrash,
}

/// <summary>
/// One connection and one transaction that plain SQL, EF Core, history events and the outbox share. Nothing writes outside one.
/// What is not committed is rolled back at the end. Not thread-safe: one operation owns it.
/// </summary>
public sealed class UnitOfWork : IAsyncDisposable
{
    private readonly NpgsqlConnection _connection;
    private readonly NpgsqlTransaction? _transaction;
    private readonly List<Sql> _writes = [];
    private readonly List<Sql> _last = [];
    private readonly List<Action> _afterCommit = [];
    private readonly List<DbContext> _contexts = [];

    private readonly Action<string?> _noteWrite;

    internal UnitOfWork(NpgsqlConnection connection, NpgsqlTransaction? transaction, Action<string?> noteWrite) => (_connection, _transaction, _noteWrite) = (connection, transaction, noteWrite);

    /// <summary>Runs a statement. Returns the number of rows it touched. Throws <see cref="NpgsqlException"/> when the database is away.</summary>
    public async Task<int> ExecuteAsync(Sql sql, CancellationToken ct)
    {
        await using var command = sql.ToCommand(_connection, _transaction);
        return await command.ExecuteNonQueryAsync(ct);
    }

    /// <summary>Asks several questions in one round trip, in this order. Throws <see cref="NpgsqlException"/> when the database is away.</summary>
    public async Task AskAsync(CancellationToken ct, params Question[] questions)
    {
        await using var batch = new NpgsqlBatch(_connection, _transaction);
        foreach (var question in questions) batch.BatchCommands.Add(question.Sql.ToBatchCommand());
        await using var reader = await batch.ExecuteReaderAsync(ct);
        foreach (var question in questions)
        {
            await question.ReadAsync(reader, ct);
            await reader.NextResultAsync(ct);
        }
    }

    /// <summary>The answer to one question.</summary>
    public async Task<T> AskAsync<T>(Question<T> question, CancellationToken ct)
    {
        await AskAsync(ct, question);
        return question.Answer;
    }

    /// <summary>Adds a statement that runs with the commit, in this order, before the history's: for writes whose result nobody waits for.</summary>
    public void Write(Sql sql) => _writes.Add(sql);

    /// <summary>All rows of a query.</summary>
    public async Task<List<T>> QueryAsync<T>(Sql sql, Func<NpgsqlDataReader, T> row, CancellationToken ct)
    {
        await using var command = sql.ToCommand(_connection, _transaction);
        await using var reader = await command.ExecuteReaderAsync(ct);
        var rows = new List<T>();
        while (await reader.ReadAsync(ct)) rows.Add(row(reader));
        return rows;
    }

    /// <summary>The first row of a query, or null.</summary>
    public async Task<T?> FindAsync<T>(Sql sql, Func<NpgsqlDataReader, T> row, CancellationToken ct) where T : class
    {
        await using var command = sql.ToCommand(_connection, _transaction);
        await using var reader = await command.ExecuteReaderAsync(ct);
        return await reader.ReadAsync(ct) ? row(reader) : null;
    }

    /// <summary>A DbContext on this transaction; it lives as long as the unit of work. Call its SaveChanges before the commit.</summary>
    public TContext Context<TContext>(Func<DbContextOptions<TContext>, TContext> make) where TContext : DbContext
    {
        var context = make(new DbContextOptionsBuilder<TContext>().UseNpgsql(_connection).Options);
        if (_transaction is not null) context.Database.UseTransaction(_transaction);
        _contexts.Add(context);
        return context;
    }

    /// <summary>Adds a statement that runs as part of the commit, after everything else: history events.</summary>
    public void BeforeCommit(Sql sql) => _last.Add(sql);

    /// <summary>Adds something to do once the commit is durable: wake-ups. It must not throw and must not write.</summary>
    public void AfterCommit(Action action) => _afterCommit.Add(action);

    /// <summary>
    /// Writes the queued statements and commits, in one round trip: everything or nothing. A caller that goes away does not stop it half-way.
    /// Throws when nothing was committed, or when the connection broke before the server said which.
    /// </summary>
    /// <param name="durability">What a crash of the database server may undo.</param>
    public async Task CommitAsync(CancellationToken ct, Durability durability = Durability.Durable)
    {
        if (_transaction is null) throw new InvalidOperationException("this unit of work only reads");
        if (_writes.Count + _last.Count == 0) await _transaction.CommitAsync(ct);
        else
        {
            await using var batch = new NpgsqlBatch(_connection, _transaction);
            if (durability == Durability.MayBeLostInACrash) batch.BatchCommands.Add(new("set local synchronous_commit = off"));
            foreach (var sql in _writes.Concat(_last)) batch.BatchCommands.Add(sql.ToBatchCommand());
            // After a failure the server skips the rest of the batch, this included.
            batch.BatchCommands.Add(new("commit"));
            ct.ThrowIfCancellationRequested();
            try { await batch.ExecuteNonQueryAsync(CancellationToken.None); }
            catch (PostgresException e) when (_last.Count > 0 && e.SqlState is PostgresErrorCodes.DiskFull or PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.InsufficientPrivilege)
            {
                _noteWrite(e.SqlState);
                throw;
            }
            if (_last.Count > 0) _noteWrite(null);
        }
        foreach (var action in _afterCommit) action();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var context in _contexts) await context.DisposeAsync();
        if (_transaction is not null) await _transaction.DisposeAsync();
        await _connection.DisposeAsync();
    }
}
