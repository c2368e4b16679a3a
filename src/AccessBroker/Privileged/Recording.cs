using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.Database;

namespace AccessBroker.Privileged;

/// <summary>A part of a recording as stored.</summary>
internal sealed record Chunk(int Number, byte[] Data, byte[] Chain);

/// <summary>One line as a person reads it.</summary>
/// <param name="Command">Not null: a connection begins, running this; empty: a shell.</param>
internal sealed record RecordedLine(double Seconds, string Text, string? Command)
{
    /// <summary>1:02:03.4 since the recording began.</summary>
    internal string Clock => TimeSpan.FromSeconds(Seconds).ToString(@"h\:mm\:ss\.f", CultureInfo.InvariantCulture);
}

/// <summary>Reads asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/) as text that can attack nobody: no control character survives.</summary>
internal static class Recording
{
    /// <summary>Ours: a recording is read in parts of about 32 MB.</summary>
    internal const long MostBytes = 32_000_000;

    /// <summary>One part, from 1; empty: there is no such part.</summary>
    internal static Question<List<Chunk>> ChunksOf(string session, int part) => Question.All($"""
        select number, data, chain from (select c.*, floor((sum(length(data)) over (order by number) - length(data)) / {MostBytes}) as part from privileged.chunks c where session = {session}) c where part = {part - 1} order by number
        """, Read);

    /// <summary>The chunk before one, which its chain rests on; null: there is none.</summary>
    internal static Question<Chunk?> ChunkBefore(string session, int number) => Question.First($"select number, ''::bytea, chain from privileged.chunks where session = {session} and number < {number} order by number desc limit 1", Read);

    /// <summary>What has come since: at most 200 chunks.</summary>
    internal static Question<List<Chunk>> ChunksAfter(string session, int number) => Question.All($"select number, data, chain from privileged.chunks where session = {session} and number > {number} order by number limit 200", Read);

    /// <summary>Is there more after a chunk.</summary>
    internal static Question<bool> IsLonger(string session, int number) => Question.Any($"select from privileged.chunks where session = {session} and number > {number}");

    private static Chunk Read(Npgsql.NpgsqlDataReader r) => new(r.GetInt32(0), r.GetFieldValue<byte[]>(1), r.GetFieldValue<byte[]>(2));

    /// <summary>The first chunk that is missing or does not fit; null: all do.</summary>
    /// <param name="before">The chunk before the first of these; null: they begin the recording.</param>
    internal static int? FirstBroken(IReadOnlyList<Chunk> chunks, Chunk? before = null)
    {
        var (former, number) = (before?.Chain ?? new byte[32], before?.Number ?? 0);
        for (var i = 0; i < chunks.Count; i++)
        {
            number++;
            if (chunks[i].Number != number || !SHA256.HashData([.. former, .. chunks[i].Data]).AsSpan().SequenceEqual(chunks[i].Chain)) return number;
            former = chunks[i].Chain;
        }
        return null;
    }

    /// <summary>Never throws: what is no asciicast line is shown as text.</summary>
    internal static IEnumerable<RecordedLine> Read(IReadOnlyList<Chunk> chunks)
    {
        var (seconds, rest) = (0.0, new StringBuilder());
        foreach (var line in Joined(chunks).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (Parse(line) is not { } parsed) continue;
            if (parsed.Command is not null)
            {
                yield return new(seconds, "", Visible(parsed.Command));
                continue;
            }
            seconds = parsed.Seconds;
            // Statements and input are data: no terminal stands between, and nothing of them may hide.
            if (parsed.IsData)
            {
                if (rest.Length > 0) yield return new(seconds, rest.ToString(), null);
                rest.Clear();
                yield return new(seconds, Visible(parsed.Text), null);
                continue;
            }
            var shown = Plain(parsed.Text);
            rest.Append(shown);
            // Whole lines; what is not ended yet waits for its end, up to 10,000 characters.
            if (!shown.Contains('\n', StringComparison.Ordinal) && rest.Length < 10_000) continue;
            var text = rest.ToString();
            var end = text.LastIndexOf('\n') is >= 0 and var last ? last : text.Length - 1;
            foreach (var one in text[..end].Split('\n')) yield return new(seconds, one, null);
            rest.Clear().Append(text[(end + 1)..]);
        }
        if (rest.Length > 0) yield return new(seconds, rest.ToString(), null);
    }

    private static string Joined(IReadOnlyList<Chunk> chunks)
    {
        using var all = new MemoryStream();
        foreach (var chunk in chunks) all.Write(chunk.Data);
        return Encoding.UTF8.GetString(all.GetBuffer().AsSpan(0, (int)all.Length));
    }

    private static (double Seconds, string Text, string? Command, bool IsData)? Parse(string line)
    {
        try
        {
            var json = JsonElement.Parse(line);
            if (json.ValueKind == JsonValueKind.Object) return (0, "", json.TryGetProperty("command", out var command) && command.ValueKind == JsonValueKind.String ? command.GetString()! : "", false);
            return json.ValueKind == JsonValueKind.Array && json.GetArrayLength() == 3 && json[1].GetString() is "o" or "i" or "m" ? (json[0].GetDouble(), (json[1].GetString() is "i" ? "⌨ " : "") + json[2].GetString(), null, json[1].GetString() != "o") : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException) { return (0, line + "\n", null, false); }
    }

    /// <summary>Every character stands for itself; what cannot be seen has a picture (U+2400…) or U+FFFD.</summary>
    internal static string Visible(string text) => string.Concat(text.Select(c => c < ' ' ? (char)('\u2400' + c) : char.IsControl(c) || char.GetUnicodeCategory(c) == UnicodeCategory.Format ? '\ufffd' : c));

    /// <summary>Escape sequences (ECMA-48: CSI, OSC, DCS and the like), carriage returns, backspaces, directional marks: gone. Line feeds stay.</summary>
    internal static string Plain(string text)
    {
        var plain = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '\u001b')
            {
                // Colours and movements go; what could hide words leaves a mark.
                var end = EndOfSequence(text, i);
                if (end - i > 12) plain.Append('⟦').Append(end - i).Append('⟧');
                i = end;
            }
            else if (c == '\u009b') i = EndOfControl(text, i + 1);
            else if (c == '\b') plain.Append('␈');
            else if (c is '\n' or '\t' || (!char.IsControl(c) && char.GetUnicodeCategory(c) != UnicodeCategory.Format)) plain.Append(c);
        }
        return plain.ToString();
    }

    private static int EndOfSequence(string text, int escape)
    {
        if (escape + 1 >= text.Length) return escape;
        return text[escape + 1] switch
        {
            '[' => EndOfControl(text, escape + 2),
            // A string ends with BEL or ESC \; one that never ends is cut at its line.
            ']' or 'P' or 'X' or '^' or '_' => text.AsSpan(escape + 2).IndexOfAny('\a', '\u001b', '\n') is var end && end < 0 ? text.Length : text[escape + 2 + end] == '\u001b' ? escape + 3 + end : text[escape + 2 + end] == '\n' ? escape + 1 + end : escape + 2 + end,
            '(' or ')' or '*' or '+' or '#' or '%' or ' ' => escape + 2,
            _ => escape + 1,
        };
    }

    private static int EndOfControl(string text, int from)
    {
        for (var i = from; i < text.Length; i++)
            if (text[i] is >= '@' and <= '~') return i;
            else if (text[i] is < ' ' or > '~') return i - 1;
        return text.Length;
    }
}
