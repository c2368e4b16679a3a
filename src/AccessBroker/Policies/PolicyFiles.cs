using System.ComponentModel;
using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection.Extensions;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace AccessBroker.Policies;

/// <summary>A typed part of the city's policies.</summary>
public interface IPolicy
{
    /// <summary>Every value out of range or contradicting another, in words with the offending value. Empty: valid.</summary>
    IEnumerable<string> Problems();

    /// <summary>What a new version must not contain although stored ones may: they still load. Empty: nothing.</summary>
    IEnumerable<string> Objections() => [];
}

/// <summary>A policy that cannot be used. Names the file and every problem; the broker does not start with it.</summary>
public sealed class PolicyException : Exception
{
    public PolicyException() { }
    public PolicyException(string message) : base(message) { }
    public PolicyException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>Reads <c>policies/*.yaml</c>: unknown, missing, doubled or out-of-range values are refused. Durations: 90s, 15m, 8h, 30d.</summary>
public static partial class PolicyFiles
{
    private static readonly IDeserializer Yaml = new DeserializerBuilder()
        .WithNamingConvention(HyphenatedNamingConvention.Instance)
        .WithEnumNamingConvention(HyphenatedNamingConvention.Instance)
        .WithDuplicateKeyChecking()
        .WithEnforceRequiredMembers()
        .WithEnforceNullability()
        .WithTypeConverter(new Durations())
        .Build();

    /// <summary>Reads and validates one file. Throws <see cref="PolicyException"/>.</summary>
    public static T Load<T>(string directory, string name) where T : IPolicy
    {
        var path = Path.Combine(directory, name + ".yaml");
        try { return Parse<T>(path, File.ReadAllText(path)); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { throw new PolicyException($"{path}: {e.Message}", e); }
    }

    /// <summary>Reads and validates a text. Throws <see cref="PolicyException"/> that begins with <paramref name="name"/>.</summary>
    public static T Parse<T>(string name, string text) where T : IPolicy
    {
        T policy;
        RefuseAnchors(name, text);
        try { policy = Yaml.Deserialize<T>(text) ?? throw new PolicyException($"{name}: empty"); }
        catch (YamlException e) { throw new PolicyException($"{name}: line {e.Start.Line}: {e.Message} {e.InnerException?.Message}".TrimEnd(), e); }
        List<string> problems;
        try { problems = [.. policy.Problems()]; }
        // An element that is empty inside a list or a table: the reader does not see it, the rules stumble over it.
        catch (Exception e) when (e is NullReferenceException or ArgumentException) { throw new PolicyException($"{name}: a value is missing in a list or table", e); }
        return problems.Count == 0 ? policy : throw new PolicyException($"{name}: {string.Join("; ", problems)}");
    }

    /// <summary>What is written must be what is read: nothing stands for something written elsewhere.</summary>
    private static void RefuseAnchors(string name, string text)
    {
        var parser = new Parser(new StringReader(text));
        try
        {
            while (parser.MoveNext())
                if (parser.Current is AnchorAlias or NodeEvent { Anchor.IsEmpty: false }) throw new PolicyException($"{name}: line {parser.Current.Start.Line}: anchors and aliases are not allowed");
        }
        catch (YamlException e) { throw new PolicyException($"{name}: line {e.Start.Line}: {e.Message}", e); }
    }

    /// <summary>A problem text when a value is outside its range, else nothing. The helper of every <see cref="IPolicy.Problems"/>.</summary>
    public static IEnumerable<string> OutOfRange<T>(string name, T value, T least, T most) where T : IComparable<T>
    {
        if (value.CompareTo(least) < 0 || value.CompareTo(most) > 0) yield return $"{name} must be {least} to {most}, but is {value}";
    }

    private sealed partial class Durations : IYamlTypeConverter
    {
        public bool Accepts(Type type) => type == typeof(TimeSpan);

        public object ReadYaml(IParser parser, Type type, ObjectDeserializer rootDeserializer)
        {
            var scalar = parser.Consume<Scalar>();
            if (Form().Match(scalar.Value) is not { Success: true } m) throw new YamlException(scalar.Start, scalar.End, $"'{scalar.Value}' is no duration such as 90s, 15m, 8h, 30d");
            var count = int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
            return m.Groups[2].Value switch { "s" => TimeSpan.FromSeconds(count), "m" => TimeSpan.FromMinutes(count), "h" => TimeSpan.FromHours(count), _ => TimeSpan.FromDays(count) };
        }

        public void WriteYaml(IEmitter emitter, object? value, Type type, ObjectSerializer serializer) => throw new NotSupportedException("policies are read only");

        [GeneratedRegex("^([0-9]{1,6})([smhd])$")]
        private static partial Regex Form();
    }

    /// <summary>Declares a policy file; slices take it as <see cref="Active{T}"/>. A bad file stops the start.</summary>
    public static void AddPolicy<T>(this IServiceCollection services, string directory, [Localizable(false)] string name) where T : class, IPolicy
    {
        services.TryAddSingleton(p => new PolicyDirectory(directory, p.GetRequiredService<Web.BrokerOptions>().Segment));
        services.TryAddSingleton<ActivePolicies>();
        services.AddSingleton(new PolicyFile(name, typeof(T), (file, text) => Parse<T>(file + ".yaml", text)));
        services.AddSingleton<Active<T>>();
    }
}
