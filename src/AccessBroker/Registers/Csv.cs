using System.Text;

namespace AccessBroker.Registers;

/// <summary>Comma-separated values (RFC 4180) for Japanese spreadsheet programs: UTF-8 with a mark, CRLF, and no cell that a program would calculate.</summary>
public static class Csv
{
    /// <summary>The file's bytes.</summary>
    public static byte[] Write(IEnumerable<string> headings, IEnumerable<IEnumerable<string>> rows)
    {
        var text = new StringBuilder();
        foreach (var row in rows.Prepend(headings)) text.AppendJoin(',', row.Select(Cell)).Append("\r\n");
        return [.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes(text.ToString())];
    }

    /// <summary>A quoted cell. What begins like a formula (also behind spaces, also in full width) gets an apostrophe before it.</summary>
    public static string Cell(string value)
    {
        var neutral = IsFormula(value) ? "'" + value : value;
        return $"\"{neutral.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    /// <summary>True for a text that a spreadsheet program would take for a formula.</summary>
    public static bool IsFormula(string value) => value.TrimStart(' ', '\u3000') is { Length: > 0 } text && text[0] is '=' or '+' or '-' or '@' or '\t' or '\r' or '\n' or '＝' or '＋' or '－' or '＠' && !(text.Length == 1 && text[0] is '-' or '－');

    /// <summary>Reads rows; a quoted cell may hold commas, quotes and line breaks. Null: a quote is not closed, or stands in the middle of a cell.</summary>
    public static List<string[]>? Read(string text)
    {
        var (rows, row, cell) = (new List<string[]>(), new List<string>(), new StringBuilder());
        var quoted = false;
        var closed = false;
        void EndCell() { row.Add(cell.ToString()); cell.Clear(); closed = false; }
        void EndRow()
        {
            EndCell();
            if (row.Count > 1 || row[0].Length > 0) rows.Add([.. row]);
            row.Clear();
        }
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (quoted)
            {
                if (c != '"') cell.Append(c);
                else if (i + 1 < text.Length && text[i + 1] == '"') { cell.Append('"'); i++; }
                else (quoted, closed) = (false, true);
            }
            else if (c == '"' && cell.Length == 0 && !closed) quoted = true;
            else if (c == ',') EndCell();
            else if (c == '\n') EndRow();
            else if (c == '\r' && i + 1 < text.Length && text[i + 1] == '\n') { /* the line feed ends the row */ }
            else if (c == '"' || closed) return null;
            else cell.Append(c);
        }
        if (quoted) return null;
        if (cell.Length > 0 || row.Count > 0) EndRow();
        return rows;
    }
}
