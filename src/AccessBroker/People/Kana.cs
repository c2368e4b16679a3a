using System.Text;

namespace AccessBroker.People;

/// <summary>Kana for searching: half-width, hiragana and spaces make no difference.</summary>
public static class Kana
{
    /// <summary>Full-width katakana without spaces. Never throws on well-formed text.</summary>
    public static string Normalise(string? text)
    {
        if (string.IsNullOrWhiteSpace(text)) return "";
        var folded = new StringBuilder();
        foreach (var c in text.Normalize(NormalizationForm.FormKC))
            if (!char.IsWhiteSpace(c)) folded.Append(c is >= 'ぁ' and <= 'ゖ' ? (char)(c + 0x60) : c);
        return folded.ToString();
    }
}

/// <summary>Texts that people type: any script, 外字 (private use) and variation sequences included; no control characters, no half of a surrogate pair.</summary>
public static class FreeText
{
    /// <summary>Longest name of a person, section or terminal, UTF-16 units. Ours: 200.</summary>
    public const int LongestName = 200;

    /// <summary>One form for what looks the same (NFKC), full-width digits as digits for example; empty for what is no text. Never throws.</summary>
    public static string CommonForm(string text)
    {
        try { return text.Normalize(System.Text.NormalizationForm.FormKC); }
        catch (ArgumentException) { return ""; }
    }

    /// <summary>True when the text can be stored and shown as it is. Line breaks are allowed when <paramref name="lines"/>.</summary>
    public static bool Fits(string text, bool lines = false)
    {
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (char.IsControl(c) && !(lines && c is '\n' or '\r' or '\t')) return false;
            if (char.IsLowSurrogate(c) || (char.IsHighSurrogate(c) && (++i == text.Length || !char.IsLowSurrogate(text[i])))) return false;
            // Marks that turn the reading direction make a name look like another one.
            if (c is (>= '\u202A' and <= '\u202E') or (>= '\u2066' and <= '\u2069')) return false;
        }
        return true;
    }
}
