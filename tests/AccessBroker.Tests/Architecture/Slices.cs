using System.Reflection;
using System.Reflection.Emit;

namespace AccessBroker.Tests.Architecture;

/// <summary>What the IL of an assembly says about its slices: which type uses which.</summary>
internal sealed class Slices(IReadOnlyCollection<Type> types, string root)
{
    internal static readonly string[] Ground = ["Primitives", "Database", "Web"], Services = ["History", "Keys", "People", "Approvals", "Policies", "Authorization", "Registers", "Notices"];

    internal static Slices OfBroker() => new([.. typeof(AccessBroker.Web.Problems).Assembly.GetTypes().Where(t => SliceOf(t, "AccessBroker") is not null || t.FullName!.StartsWith("AspNetCoreGeneratedDocument", StringComparison.Ordinal))], "AccessBroker");

    internal IReadOnlyCollection<Type> Types => types;

    internal string? SliceOf(Type type) => SliceOf(type, root);

    private static string? SliceOf(Type type, string root)
    {
        while (type.DeclaringType is { } outer) type = outer;
        // A Razor page's generated type counts for the folder its file lies in: AspNetCoreGeneratedDocument.SignIn_Home.
        if (type.Namespace == "AspNetCoreGeneratedDocument") return type.Name.Split('_') is [var folder, _, ..] && folder.Length > 0 ? folder : null;
        return type.Namespace is { } ns && ns.StartsWith(root + ".", StringComparison.Ordinal) ? ns[(root.Length + 1)..].Split('.')[0] : null;
    }

    /// <summary>"From -> To" between different slices, sorted.</summary>
    internal List<string> Arrows() => [.. types.SelectMany(t => Uses(t).Select(u => (From: SliceOf(t), To: SliceOf(u)))).Where(p => p.From is not null && p.To is not null && p.From != p.To).Select(p => $"{p.From} -> {p.To}").Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Arrows that break a layer rule: ground uses no slice, services use no capability, History uses ground only.</summary>
    internal List<string> WrongArrows() => [.. Arrows().Where(a =>
    {
        var (from, to) = (a.Split(" -> ")[0], a.Split(" -> ")[1]);
        return Ground.Contains(from) ? !Ground.Contains(to)
            : from == "History" ? !Ground.Contains(to)
            : Services.Contains(from) && !Ground.Contains(to) && !Services.Contains(to);
    })];

    /// <summary>Slices on a cycle; ground and services included.</summary>
    internal List<string> Cycles()
    {
        var left = Arrows().Where(a => !Ground.Contains(a.Split(" -> ")[0])).ToList();
        while (left.RemoveAll(a => left.TrueForAll(b => b.Split(" -> ")[0] != a.Split(" -> ")[1])) > 0) { }
        return left;
    }

    /// <summary>Uses of another slice's internal type. A generic type of another slice may hold a type of one's own.</summary>
    internal List<string> Leaks() => [.. types.SelectMany(t => Uses(t).Where(u => SliceOf(t) is { } from && SliceOf(u) is { } to && from != to && !(u.IsGenericType ? u.GetGenericTypeDefinition() : u).IsVisible).Select(u => $"{t} uses {u}")).Distinct()];

    /// <summary>What *Rule types use beyond plain data.</summary>
    internal List<string> RuleImpurities() => [.. types.Where(t => t.Name.EndsWith("Rule", StringComparison.Ordinal)).SelectMany(t => Uses(t).Where(u => u == typeof(TimeProvider) || (u.Namespace is { } ns
        && (ns.StartsWith("Microsoft.", StringComparison.Ordinal) || ns.StartsWith("Npgsql", StringComparison.Ordinal) || ns is "System.Threading.Tasks" or "System.IO" or "System.Net" || ns.StartsWith("System.Data", StringComparison.Ordinal)))).Select(u => $"{t} uses {u}")).Distinct()];

    private static readonly Dictionary<short, OpCode> OpCodesByValue = typeof(OpCodes).GetFields().Select(f => (OpCode)f.GetValue(null)!).ToDictionary(o => o.Value);
    private const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static IEnumerable<Type> Uses(Type type)
    {
        var members = type.GetMembers(All);
        return new[] { type.BaseType }.Concat(type.GetInterfaces())
            .Concat(members.OfType<FieldInfo>().Select(f => f.FieldType))
            .Concat(members.OfType<MethodBase>().SelectMany(m => m.GetParameters().Select(p => p.ParameterType)))
            .Concat(members.OfType<MethodInfo>().Select(m => m.ReturnType))
            .Concat(members.OfType<MethodBase>().SelectMany(Operands))
            .OfType<Type>().SelectMany(Flatten);
    }

    private static IEnumerable<Type> Flatten(Type type) => type.HasElementType ? Flatten(type.GetElementType()!) : type.GetGenericArguments().SelectMany(Flatten).Append(type);

    private static IEnumerable<Type> Operands(MethodBase method)
    {
        if (method.GetMethodBody()?.GetILAsByteArray() is not { } il) yield break;
        for (var i = 0; i < il.Length;)
        {
            var op = il[i] == 0xFE ? OpCodesByValue[(short)(0xFE00 | il[i + 1])] : OpCodesByValue[il[i]];
            i += op.Size;
            if (op.OperandType is OperandType.InlineMethod or OperandType.InlineField or OperandType.InlineType or OperandType.InlineTok)
            {
                var member = method.Module.ResolveMember(BitConverter.ToInt32(il, i), method.DeclaringType?.GetGenericArguments(), method.IsGenericMethod ? method.GetGenericArguments() : null)!;
                if ((member as Type ?? member.DeclaringType) is { } type) yield return type;
                if (member is MethodInfo { IsGenericMethod: true } generic) foreach (var argument in generic.GetGenericArguments()) yield return argument;
            }
            i += op.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + (4 * BitConverter.ToInt32(il, i)),
                _ => 4,
            };
        }
    }
}
