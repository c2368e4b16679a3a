using Npgsql;

namespace AccessBroker.Database;

/// <summary>The same database by connections of its own, for presence and endings.</summary>
public sealed record VitalStore(Store Store);

/// <summary>The PostgreSQL database: where units of work begin.</summary>
public sealed class Store(NpgsqlDataSource source, Store? notes = null) : IAsyncDisposable
{
    private volatile string? _notWritable;

    /// <summary>Why the last history events could not be written (SQLSTATE: disk full, read-only, no right); null while they can.</summary>
    public string? NotWritable => notes is null ? _notWritable : notes.NotWritable;

    internal void NoteWrite(string? failure)
    {
        if (notes is null) _notWritable = failure;
        else notes.NoteWrite(failure);
    }

    /// <summary>Opens a connection and a transaction (read committed). Throws <see cref="NpgsqlException"/> when the database is away.</summary>
    public async Task<UnitOfWork> BeginAsync(CancellationToken ct)
    {
        var connection = await source.OpenConnectionAsync(ct);
        try { return new UnitOfWork(connection, await connection.BeginTransactionAsync(ct), NoteWrite); }
        catch { await connection.DisposeAsync(); throw; }
    }

    /// <summary>A unit of work that only reads, each question for itself: no transaction is opened.</summary>
    public async Task<UnitOfWork> ReadAsync(CancellationToken ct) => new(await source.OpenConnectionAsync(ct), null, NoteWrite);

    /// <summary>One statement as a transaction of its own. Returns the number of rows it touched.</summary>
    public async Task<int> ExecuteAsync(Sql sql, CancellationToken ct)
    {
        await using var connection = await source.OpenConnectionAsync(ct);
        await using var command = sql.ToCommand(connection, null);
        return await command.ExecuteNonQueryAsync(ct);
    }

    /// <summary>One question outside a transaction, for reads on hot paths.</summary>
    public async Task<T> AskAsync<T>(Question<T> question, CancellationToken ct)
    {
        await using var work = await ReadAsync(ct);
        return await work.AskAsync(question, ct);
    }

    /// <summary>One query outside a transaction, for reads on hot paths.</summary>
    public async Task<T?> FindAsync<T>(Sql sql, Func<NpgsqlDataReader, T> row, CancellationToken ct) where T : class
    {
        await using var connection = await source.OpenConnectionAsync(ct);
        await using var command = sql.ToCommand(connection, null);
        await using var reader = await command.ExecuteReaderAsync(ct);
        return await reader.ReadAsync(ct) ? row(reader) : null;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => source.DisposeAsync();
}
