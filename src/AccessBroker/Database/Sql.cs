using System.Runtime.CompilerServices;
using System.Text;
using AccessBroker.Primitives;
using Npgsql;
using NpgsqlTypes;

namespace AccessBroker.Database;

/// <summary>An interpolated SQL text: every hole becomes a parameter, so a value can never become SQL.</summary>
[InterpolatedStringHandler]
public sealed partial class Sql(int literalLength, int formattedCount)
{
    private readonly StringBuilder _text = new(literalLength + (4 * formattedCount));
    private readonly List<NpgsqlParameter> _parameters = new(formattedCount);

    /// <summary>For the compiler.</summary>
    public void AppendLiteral(string value) => _text.Append(value);

    /// <summary>For the compiler: ids become text, null becomes a typed null.</summary>
    public void AppendFormatted<T>(T value)
    {
        _parameters.Add(value switch
        {
            IId id => new NpgsqlParameter { Value = id.Value, NpgsqlDbType = NpgsqlDbType.Text },
            null when typeof(T) == typeof(byte[]) => new NpgsqlParameter { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bytea },
            null when typeof(T) == typeof(DateTimeOffset?) => new NpgsqlParameter { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.TimestampTz },
            null => new NpgsqlParameter { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text },
            DateTimeOffset instant => new NpgsqlParameter { Value = instant.ToUniversalTime(), NpgsqlDbType = NpgsqlDbType.TimestampTz },
            _ => new NpgsqlParameter { Value = value },
        });
        _text.Append('$').Append(_parameters.Count);
    }

    /// <summary>For the compiler: <c>{json:json}</c> sends text as jsonb.</summary>
    public void AppendFormatted(string? value, string format)
    {
        if (format != "json") throw new ArgumentException($"unknown format {format}", nameof(format));
        _parameters.Add(new NpgsqlParameter { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Jsonb });
        _text.Append('$').Append(_parameters.Count);
    }

    /// <summary>For the compiler: a part of a statement, with its own holes.</summary>
    public void AppendFormatted(Sql part)
    {
        var before = _parameters.Count;
        _text.Append(Hole().Replace(part._text.ToString(), hole => $"${before + int.Parse(hole.ValueSpan[1..], System.Globalization.CultureInfo.InvariantCulture)}"));
        // Clone: a parameter belongs to one command.
        _parameters.AddRange(part._parameters.Select(p => p.Clone()));
    }

    [System.Text.RegularExpressions.GeneratedRegex(@"\$[0-9]+")]
    private static partial System.Text.RegularExpressions.Regex Hole();

    internal NpgsqlBatchCommand ToBatchCommand()
    {
        var command = new NpgsqlBatchCommand(_text.ToString());
        foreach (var parameter in _parameters) command.Parameters.Add(parameter);
        return command;
    }

    internal NpgsqlCommand ToCommand(NpgsqlConnection connection, NpgsqlTransaction? transaction)
    {
        var command = new NpgsqlCommand(_text.ToString(), connection, transaction);
        foreach (var parameter in _parameters) command.Parameters.Add(parameter);
        return command;
    }
}
