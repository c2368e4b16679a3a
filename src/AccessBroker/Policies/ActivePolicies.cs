using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.Policies;

/// <summary>A policy file by name and type: what slices declare.</summary>
public sealed record PolicyFile(string Name, Type Type, Func<string, string, object> Parse);

/// <summary>All policies of one moment: immutable. A request sees one set from its beginning to its end.</summary>
/// <param name="Hash">SHA-256 over names and texts, hex.</param>
/// <param name="Texts">The YAML by name.</param>
public sealed record PolicySet(string Hash, IReadOnlyDictionary<string, string> Texts, IReadOnlyDictionary<Type, object> Values)
{
    /// <summary>Parses and validates every file. Throws <see cref="PolicyException"/> with every file's problems; a missing file is one. Texts that nobody asks for are kept.</summary>
    public static PolicySet Of(IReadOnlyCollection<PolicyFile> files, IReadOnlyDictionary<string, string> texts)
    {
        var (values, problems) = (new Dictionary<Type, object>(), new List<string>());
        foreach (var file in files)
        {
            if (!texts.TryGetValue(file.Name, out var text)) { problems.Add($"{file.Name}.yaml is missing"); continue; }
            try { values[file.Type] = file.Parse(file.Name, text); }
            catch (PolicyException e) { problems.Add(e.Message); }
        }
        return problems.Count == 0 ? new(HashOf(texts), texts, values) : throw new PolicyException(string.Join("\n", problems));
    }

    /// <summary>What this set contains and <paramref name="former"/> did not, though a new version must not (<see cref="IPolicy.Objections"/>). Throws <see cref="PolicyException"/> with all of it.</summary>
    public void ObjectTo(PolicySet former)
    {
        static IEnumerable<string> All(PolicySet set) => set.Values.Values.OfType<IPolicy>().SelectMany(p => p.Objections());
        if (All(this).Except(All(former)).ToList() is { Count: > 0 } objections) throw new PolicyException(string.Join("\n", objections));
    }

    /// <summary>A version from before an update of the software lacks the files that came with it: those of <paramref name="fallback"/> complete it.</summary>
    public static Dictionary<string, string> Complete(IReadOnlyDictionary<string, string> texts, IReadOnlyDictionary<string, string> fallback) =>
        texts.Concat(fallback.Where(f => !texts.ContainsKey(f.Key))).ToDictionary(StringComparer.Ordinal);

    /// <summary>The hash of texts, whatever their validity.</summary>
    public static string HashOf(IReadOnlyDictionary<string, string> texts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(texts.OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => $"{t.Key}.yaml\n{t.Value.ReplaceLineEndings("\n")}\n")))));

    /// <summary>
    /// The files of a directory by name; one in a folder named like the segment takes the place of the one beside it. Throws <see cref="PolicyException"/>
    /// when it cannot be read, or a file of the segment has none to take the place of.
    /// </summary>
    public static Dictionary<string, string> ReadDirectory(string directory, string segment)
    {
        try
        {
            var texts = Directory.GetFiles(directory, "*.yaml").ToDictionary(f => Path.GetFileNameWithoutExtension(f), File.ReadAllText);
            var own = Path.Combine(directory, segment);
            foreach (var file in Directory.Exists(own) ? Directory.GetFiles(own, "*.yaml") : [])
                if (texts.ContainsKey(Path.GetFileNameWithoutExtension(file))) texts[Path.GetFileNameWithoutExtension(file)] = File.ReadAllText(file);
                else throw new PolicyException($"{file}: there is no policy of this name");
            return texts;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { throw new PolicyException($"{directory}: {e.Message}", e); }
    }
}

/// <summary>
/// The policies in force at this node. They change as one: whoever works reads <see cref="Now"/>, and a request or message that has begun keeps the set
/// it began with (<see cref="Pin"/>), so that nothing is judged half by the old and half by the new.
/// </summary>
public sealed class ActivePolicies
{
    private readonly AsyncLocal<PolicySet?> _pinned = new();
    private volatile PolicySet _current;

    /// <summary>Begins with the files of a directory. Throws <see cref="PolicyException"/>.</summary>
    public ActivePolicies(IEnumerable<PolicyFile> files, PolicyDirectory directory)
    {
        Files = [.. files];
        _current = PolicySet.Of(Files, PolicySet.ReadDirectory(directory.Path, directory.Segment));
    }

    /// <summary>Every policy file there is.</summary>
    public IReadOnlyList<PolicyFile> Files { get; }
    /// <summary>The set of this request, or the newest.</summary>
    public PolicySet Now => _pinned.Value ?? _current;
    /// <summary>The newest set, whatever this request began with.</summary>
    public PolicySet Newest => _current;

    /// <summary>From now on, for everything that begins.</summary>
    public void Switch(PolicySet set) => _current = set;

    /// <summary>What follows in this flow sees the set of this moment until it is disposed.</summary>
    public IDisposable Pin()
    {
        var before = _pinned.Value;
        _pinned.Value = _current;
        return new Unpin(this, before);
    }

    private sealed class Unpin(ActivePolicies policies, PolicySet? before) : IDisposable
    {
        public void Dispose() => policies._pinned.Value = before;
    }
}

/// <summary>Where the policy files of the first day are, and of which segment.</summary>
public sealed record PolicyDirectory(string Path, string Segment);

/// <summary>A policy as slices take it: <see cref="Now"/> is the one in force.</summary>
public sealed class Active<T> where T : class, IPolicy
{
    private readonly Func<T> _now;

    /// <summary>The policy of the node.</summary>
    public Active(ActivePolicies policies) => _now = () => (T)policies.Now.Values[typeof(T)];
    /// <summary>A fixed one: for tools and tests.</summary>
    public Active(T value) => _now = () => value;
    /// <summary>The policy in force for this request.</summary>
    public T Now => _now();
}
