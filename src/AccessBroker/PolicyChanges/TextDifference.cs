namespace AccessBroker.PolicyChanges;

/// <summary>What differs between two texts, line by line: the longest common subsequence stays. For files of some hundred lines.</summary>
internal static class TextDifference
{
    /// <summary>' ' stays, '-' goes, '+' comes.</summary>
    internal static IReadOnlyList<(char Mark, string Line)> Of(string before, string after)
    {
        var (a, b) = (before.ReplaceLineEndings("\n").Split('\n'), after.ReplaceLineEndings("\n").Split('\n'));
        var length = new int[a.Length + 1, b.Length + 1];
        for (var i = a.Length - 1; i >= 0; i--)
            for (var j = b.Length - 1; j >= 0; j--) length[i, j] = a[i] == b[j] ? length[i + 1, j + 1] + 1 : Math.Max(length[i + 1, j], length[i, j + 1]);
        var lines = new List<(char, string)>();
        for (int i = 0, j = 0; i < a.Length || j < b.Length;)
        {
            if (i < a.Length && j < b.Length && a[i] == b[j]) { lines.Add((' ', a[i++])); j++; }
            else if (j == b.Length || (i < a.Length && length[i + 1, j] >= length[i, j + 1])) lines.Add(('-', a[i++]));
            else lines.Add(('+', b[j++]));
        }
        return lines;
    }
}
