using System.Text.RegularExpressions;

namespace CardSimulator;

/// <summary>The drawer: a directory with one file per card. A card's name is its file's name.</summary>
internal sealed partial class Drawer(string directory)
{
    /// <summary>Names of all cards, sorted.</summary>
    internal string[] Cards() => [.. Directory.GetFiles(directory, "*.json").Select(f => Path.GetFileNameWithoutExtension(f)!).Order(StringComparer.Ordinal)];

    /// <summary>Puts a blank card into the drawer. Throws <see cref="DeskException"/> when there is one of that name.</summary>
    internal void AddBlank(string label)
    {
        if (File.Exists(PathOf(label))) throw new DeskException($"a card named {label} exists");
        CardState.Blank(label).Save(PathOf(label));
    }

    /// <summary>A card's applet over its file. Throws <see cref="DeskException"/> when the card is missing or its file is damaged.</summary>
    internal PivApplet Take(string label)
    {
        var path = PathOf(label);
        if (!File.Exists(path)) throw new DeskException($"no card named {label}");
        try
        {
            var state = CardState.Load(path);
            return new PivApplet(state, () => state.Save(path));
        }
        catch (System.Text.Json.JsonException e) { throw new DeskException($"the file of card {label} is damaged", e); }
    }

    private string PathOf(string label) => LabelForm().IsMatch(label)
        ? Path.Combine(directory, label + ".json") : throw new DeskException("a card's name is 1 to 40 of a-z 0-9 -");

    [GeneratedRegex("^[a-z0-9-]{1,40}$")]
    private static partial Regex LabelForm();
}

/// <summary>A wish the desk cannot fulfil, in words for the person at the desk.</summary>
internal sealed class DeskException : Exception
{
    public DeskException() { }
    public DeskException(string message) : base(message) { }
    public DeskException(string message, Exception inner) : base(message, inner) { }
}
