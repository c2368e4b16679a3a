using System.Globalization;
using System.Text;

namespace AccessBroker.FilePermissions;

/// <summary>
/// The one form a path has: what two people could read as the same is the same, or is refused. Absolute, NFC, without empty, <c>.</c> and <c>..</c> parts,
/// without anything invisible. <clause>MIC 6.3(5)</clause>
/// </summary>
public static class FilePath
{
    /// <summary>Longest path and longest part, in bytes of UTF-8.</summary>
    public const int MostBytes = 4096, MostPartBytes = 255;

    /// <summary>The canonical form of a path that is not percent-encoded; null: refused. Never throws.</summary>
    public static string? Parse(string? path)
    {
        if (path is null || path.Length is 0 or > MostBytes || path[0] != '/') return null;
        if (path == "/") return path;
        string form;
        // Broken surrogates have no form at all.
        try { form = path.Normalize(NormalizationForm.FormC); }
        catch (ArgumentException) { return null; }
        if (Encoding.UTF8.GetByteCount(form) > MostBytes) return null;
        return Array.TrueForAll(form[1..].Split('/'), IsPart) ? form : null;
    }

    /// <summary>The canonical form of a request's raw target: decoded once, strictly; a query is cut off. Null: refused. Never throws.</summary>
    public static string? ParseTarget(string target)
    {
        var raw = target.Split('?', 2)[0];
        if (raw.Length > 3 * MostBytes) return null;
        var bytes = new List<byte>(raw.Length);
        for (var i = 0; i < raw.Length; i++)
        {
            if (raw[i] > 0x7E || raw[i] < 0x21) return null;
            if (raw[i] != '%') { bytes.Add((byte)raw[i]); continue; }
            if (i + 2 >= raw.Length || !byte.TryParse(raw.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)) return null;
            // An encoded slash is no part's end, and no name either.
            if (value == (byte)'/') return null;
            bytes.Add(value);
            i += 2;
        }
        try { return Parse(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes])); }
        catch (ArgumentException) { return null; }
    }

    /// <summary>A part: 1 to 255 bytes, nothing invisible, none of \ : * ? " &lt; &gt; | %, no dot or space at the end.</summary>
    private static bool IsPart(string part)
    {
        if (part is "" or "." or ".." || Encoding.UTF8.GetByteCount(part) > MostPartBytes || part[^1] is '.' or ' ' || part[0] == ' ') return false;
        foreach (var rune in part.EnumerateRunes())
            if (rune.Value is '\\' or ':' or '*' or '?' or '"' or '<' or '>' or '|' or '%' or 0xFFFD || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.PrivateUse or UnicodeCategory.Surrogate or UnicodeCategory.OtherNotAssigned) return false;
        return true;
    }
}
