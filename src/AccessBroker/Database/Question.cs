using Npgsql;

namespace AccessBroker.Database;

/// <summary>A query of some slice, not yet asked: <see cref="UnitOfWork.AskAsync"/> asks several in one round trip.</summary>
public abstract class Question
{
    internal abstract Sql Sql { get; }
    internal abstract Task ReadAsync(NpgsqlDataReader reader, CancellationToken ct);

    /// <summary>All rows.</summary>
    public static Question<List<T>> All<T>(Sql sql, Func<NpgsqlDataReader, T> row) => new(sql, async (reader, ct) =>
    {
        var rows = new List<T>();
        while (await reader.ReadAsync(ct)) rows.Add(row(reader));
        return rows;
    });

    /// <summary>The first row, or null.</summary>
    public static Question<T?> First<T>(Sql sql, Func<NpgsqlDataReader, T> row) where T : class => new(sql, async (reader, ct) => await reader.ReadAsync(ct) ? row(reader) : null);

    /// <summary>Whether there is a row.</summary>
    public static Question<bool> Any(Sql sql) => new(sql, (reader, ct) => reader.ReadAsync(ct));
}

/// <summary>A question whose answer is a <typeparamref name="T"/>.</summary>
public sealed class Question<T> : Question
{
    private readonly Sql _sql;
    private readonly Func<NpgsqlDataReader, CancellationToken, Task<T>> _read;
    private (T Value, bool Known) _answer;

    internal Question(Sql sql, Func<NpgsqlDataReader, CancellationToken, Task<T>> read) => (_sql, _read) = (sql, read);

    /// <summary>The answer. Throws <see cref="InvalidOperationException"/> when the question was not asked.</summary>
    public T Answer => _answer.Known ? _answer.Value : throw new InvalidOperationException("not asked yet");

    /// <summary>The same question with its answer in another form.</summary>
    public Question<TOther> Select<TOther>(Func<T, TOther> form) => new(_sql, async (reader, ct) => form(await _read(reader, ct)));

    internal override Sql Sql => _sql;
    internal override async Task ReadAsync(NpgsqlDataReader reader, CancellationToken ct) => _answer = (await _read(reader, ct), true);
}
