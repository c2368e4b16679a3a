using System.Collections.Concurrent;
using System.Text.RegularExpressions;

namespace CardSimulator;

/// <summary>The drawer: a directory with one file per card. A card's name is its file's name.</summary>
internal sealed partial class Drawer(string directory)
{
    /// <summary>A card in the drawer. A damaged one cannot be used; the others can.</summary>
    internal sealed record Item(string Name, bool Damaged);

    private readonly ConcurrentDictionary<string, (DateTime Written, bool Damaged)> _looked = new();

    /// <summary>All cards, sorted by name.</summary>
    internal Item[] Cards() => [.. Directory.GetFiles(directory, "*.json").Order(StringComparer.Ordinal).Select(f => new Item(Path.GetFileNameWithoutExtension(f)!, IsDamaged(f)))];

    /// <summary>A file is read again only when it was written since.</summary>
    private bool IsDamaged(string path)
    {
        var written = File.GetLastWriteTimeUtc(path);
        if (_looked.TryGetValue(path, out var known) && known.Written == written) return known.Damaged;
        var damaged = TryLoad(path) is null;
        _looked[path] = (written, damaged);
        return damaged;
    }

    private static CardState? TryLoad(string path)
    {
        try { return CardState.Load(path); }
        catch (Exception e) when (e is System.Text.Json.JsonException or IOException or UnauthorizedAccessException or NotSupportedException) { return null; }
    }

    /// <summary>Puts a blank card into the drawer. Throws <see cref="DeskException"/> when there is one of that name.</summary>
    internal void AddBlank(string label)
    {
        if (File.Exists(PathOf(label))) throw new DeskException("card-exists", $"カード {label} はすでにあります。");
        CardState.Blank(label).Save(PathOf(label));
    }

    /// <summary>A card's applet over its file. Throws <see cref="DeskException"/> when the card is missing or its file is damaged.</summary>
    internal PivApplet Take(string label)
    {
        var path = PathOf(label);
        if (!File.Exists(path)) throw new DeskException("no-such-card", $"カード {label} は引き出しにありません。");
        var state = TryLoad(path) ?? throw new DeskException("card-damaged", $"カード {label} は壊れていて使えません(ファイルを読めません)。ほかのカードはそのまま使えます。");
        return new PivApplet(state, () => state.Save(path));
    }

    private string PathOf(string? label) => label is not null && LabelForm().IsMatch(label)
        ? Path.Combine(directory, label + ".json") : throw new DeskException("bad-card-name", "カードの名前は 1〜40 文字の a-z 0-9 - です。");

    [GeneratedRegex("^[a-z0-9-]{1,40}$")]
    private static partial Regex LabelForm();
}

/// <summary>A wish the desk cannot fulfil: a stable code, and words for the person at the desk.</summary>
internal sealed class DeskException(string code, string message) : Exception(message)
{
    internal string Code => code;
}
