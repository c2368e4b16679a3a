using System.Text;

namespace AccessBroker.Passwords;

/// <summary>
/// The whole decision on a new password, pure: long enough, and not made of what anybody would guess. No rule on kinds of characters: length and
/// surprise are what counts, and the city's words are refused in every disguise. <clause>MIC 5.4(3)③</clause>
/// </summary>
public static class PasswordRule
{
    /// <summary>Longest, in characters.</summary>
    public const int MostLength = 128;
    private static readonly string[] Rows = ["abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm", "一二三四五六七八九十", "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん", "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン", "いろはにほへとちりぬるをわかよたれそつねならむうゐのおくやまけふこえてあさきゆめみしゑひもせす"];

    /// <summary>One form for what looks the same (NFKC): a full-width letter typed with the IME on is the letter. Throws <see cref="ArgumentException"/> for broken UTF-16.</summary>
    public static string Normalise(string password) => password.Normalize(NormalizationForm.FormKC);

    /// <summary>What is wrong with a normalised password, in Japanese; null: nothing.</summary>
    /// <param name="own">What belongs to the person: number, id, name, kana.</param>
    public static string? Problem(string password, PasswordsPolicy policy, IEnumerable<string> own)
    {
        var length = password.EnumerateRunes().Count();
        if (length < policy.MinLength) return TooShort(policy);
        if (length > MostLength) return $"パスワードは{MostLength}文字までです。";
        if (password.Any(char.IsControl)) return "パスワードに制御文字は使えません。";
        var rest = Unguessed(password, [.. policy.DeniedWords, .. own]);
        return rest.Length >= policy.MinRest && rest.Distinct().Count() >= Math.Min(5, policy.MinRest) ? null : "推測されやすいパスワードです。よく使われる語、氏名や職員番号、並び順、繰返しを避けてください。";
    }

    internal static string TooShort(PasswordsPolicy policy) => $"パスワードは{policy.MinLength}文字以上にしてください。";

    /// <summary>Long enough to be taken out: two characters are a name in Japanese, and an accident in Latin letters.</summary>
    internal static bool IsWord(string word) => word.Length >= (Ascii.IsValid(word) ? 3 : 2);

    /// <summary>What is left when words, rows of the keyboard, and repetitions are taken out.</summary>
    internal static string Unguessed(string password, IEnumerable<string> words)
    {
        // Rows first, as they were typed: what looks like a letter may be the digit of one.
        var text = Plain(WithoutRows(password.ToLowerInvariant()));
        foreach (var word in words.Where(IsWord).Select(Plain).OrderByDescending(w => w.Length)) text = text.Replace(word, " ", StringComparison.Ordinal);
        text = WithoutRows(text);
        var rest = new StringBuilder();
        for (var i = 0; i < text.Length; i++)
            // The third of a kind in a row says nothing new, nor does a half that was there already.
            if (text[i] != ' ' && !(i >= 2 && text[i] == text[i - 1] && text[i] == text[i - 2])) rest.Append(text[i]);
        var kept = rest.ToString();
        for (var unit = 1; unit <= kept.Length / 2; unit++)
            if (Enumerable.Range(0, kept.Length).All(i => kept[i] == kept[i % unit])) return kept[..unit];
        return kept;
    }

    private static string WithoutRows(string text)
    {
        var kept = new StringBuilder(text);
        for (var i = 0; i + 4 <= text.Length; i++)
            if (Rows.Any(r => r.Contains(text.Substring(i, 4), StringComparison.Ordinal) || Reversed(r).Contains(text.Substring(i, 4), StringComparison.Ordinal)))
                for (var j = i; j < i + 4; j++) kept[j] = ' ';
        return kept.ToString();
    }

    /// <summary>Lower case, with look-alikes as letters; digits among digits stay, so that rows of them are seen.</summary>
    private static string Plain(string text)
    {
        var lower = text.ToLowerInvariant();
        var plain = new StringBuilder(lower.Length);
        for (var i = 0; i < lower.Length; i++)
        {
            var amongDigits = char.IsAsciiDigit(lower[i]) && ((i > 0 && char.IsAsciiDigit(lower[i - 1])) || (i + 1 < lower.Length && char.IsAsciiDigit(lower[i + 1])));
            plain.Append(amongDigits ? lower[i] : lower[i] switch { '0' => 'o', '1' or '!' => 'i', '3' => 'e', '4' or '@' => 'a', '5' or '$' => 's', '7' => 't', var other => other });
        }
        return plain.ToString();
    }

    private static string Reversed(string text) => new([.. text.Reverse()]);
}
