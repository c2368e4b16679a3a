using AccessBroker.Policies;

namespace AccessBroker.Assurance;

/// <summary>What a segment lets count.</summary>
public sealed record SegmentAssurance
{
    /// <summary>Methods that count: card, passkey, one-time-code, password.</summary>
    public required List<Method> Methods { get; init; }
    /// <summary>The least <c>acr</c> of everybody: multi or card.</summary>
    public required Acr Acr { get; init; }
    /// <summary>Passkeys count only when their model is attested and allowed.</summary>
    public required bool Attested { get; init; }
}

/// <summary>What privileged people and operations need.</summary>
public sealed record PrivilegedAssurance
{
    /// <summary>Methods that count: card, or card and passkey.</summary>
    public required List<Method> Methods { get; init; }
    /// <summary>How old the proof may be, 1 min..30 min. Default 5 min.</summary>
    public required TimeSpan MaxAge { get; init; }
}

/// <summary>Signs that may raise the bar; they never lower it. <clause>MIC 図表17-18</clause></summary>
public sealed record RiskAssurance
{
    /// <summary>Failures of the person within the window of the lockout after which card or attested passkey is wanted, 1..20.</summary>
    public required int Failures { get; init; }
    /// <summary>Hours that are odd, local time, HH:mm-HH:mm; empty: none.</summary>
    public required string OddHours { get; init; }
    /// <summary>The first sign-in of a person at a terminal counts as a sign.</summary>
    public required bool NewTerminal { get; init; }

    /// <summary>True when <paramref name="local"/> is odd. Ranges may pass midnight. Never throws on a validated policy.</summary>
    public bool IsOdd(TimeOnly local) => Range() is var (from, until) && (from <= until ? local >= from && local < until : local >= from || local < until);

    internal (TimeOnly From, TimeOnly Until)? Range() => OddHours.Split('-') is [var from, var until]
        && TimeOnly.TryParseExact(from, "HH:mm", out var a) && TimeOnly.TryParseExact(until, "HH:mm", out var b) ? (a, b) : null;
}

/// <summary>What counts as enough: the city's decision, in one place. <clause>MIC 3(1)②(ア)</clause> <clause>INA 第7-1, 第16</clause></summary>
public sealed record AssurancePolicy : IPolicy
{
    /// <summary>By segment: my-number, juki-net, lgwan, internet.</summary>
    public required Dictionary<string, SegmentAssurance> Segments { get; init; }
    /// <summary>Least <c>acr</c> by relying party, for those that need more than their segment.</summary>
    public required Dictionary<string, Acr> Clients { get; init; }
    /// <summary>Privileged people and operations.</summary>
    public required PrivilegedAssurance Privileged { get; init; }
    /// <summary>What raises the bar.</summary>
    public required RiskAssurance Risk { get; init; }

    /// <summary>What segment, client and request ask for, and, with <paramref name="privileged"/>, the person or operation. Throws <see cref="KeyNotFoundException"/> for an unknown segment.</summary>
    /// <param name="client">The relying party; null: the console.</param>
    /// <param name="wanted">What the request names (<c>acr_values</c>, RFC 9470); null: nothing.</param>
    /// <param name="risky">A sign of risk was seen.</param>
    public Need Needed(string segment, string? client, Acr? wanted = null, bool privileged = false, bool risky = false)
    {
        var own = Segments[segment];
        var need = new Need(own.Methods, own.Acr, own.Attested);
        if (client is not null && Clients.TryGetValue(client, out var more)) need = need.And(need with { Acr = more });
        if (wanted is { } named) need = need.And(need with { Acr = named });
        if (risky) need = need.And(need with { Methods = [.. own.Methods.Intersect(Privileged.Methods)], Attested = true });
        return privileged || need.Acr == Acr.Privileged ? need.And(new(Privileged.Methods, Acr.Privileged, true, Privileged.MaxAge)) : need;
    }

    /// <inheritdoc/>
    public IEnumerable<string> Problems()
    {
        foreach (var segment in (string[])["my-number", "juki-net", "lgwan", "internet"])
            if (!Segments.ContainsKey(segment)) yield return $"segments.{segment} is missing";
        foreach (var (name, segment) in Segments)
        {
            if (segment.Methods.Count == 0) yield return $"segments.{name}.methods is empty";
            if (segment.Acr is not (Acr.Multi or Acr.Card)) yield return $"segments.{name}.acr must be multi or card, but is {segment.Acr}: two categories everywhere (IDN-01)";
            if (name == "juki-net" && (segment.Acr != Acr.Card || segment.Methods is not [Method.Card])) yield return "segments.juki-net must be card only: 操作識別カード and 暗証番号 (IDN-20)";
            if (name is "my-number" && segment.Methods.Contains(Method.Passkey) && !segment.Attested) yield return "segments.my-number.attested must be true: self-made keys prove no model (IDN-03)";
            if (name is "my-number" && segment.Methods.Contains(Method.Password)) yield return "segments.my-number.methods must not hold password (IDN-20, PWD-06)";
            if (!segment.Methods.Contains(Method.Card)) yield return $"segments.{name}.methods must hold card: it is what everybody has";
        }
        if (!Privileged.Methods.Contains(Method.Card)) yield return "privileged.methods must hold card: whoever has no key yet could not get in to enrol one";
        foreach (var (client, acr) in Clients.Where(c => c.Value == Acr.OneFactor)) yield return $"clients.{client} must be multi, card or privileged, but is {acr}: two categories everywhere (IDN-01)";
        if (Privileged.Methods.Count == 0 || Privileged.Methods.Except([Method.Card, Method.Passkey]).Any()) yield return "privileged.methods may hold card and passkey only: stronger on every axis (PWD-08)";
        foreach (var problem in PolicyFiles.OutOfRange("privileged.max-age", Privileged.MaxAge, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(30))) yield return problem;
        foreach (var problem in PolicyFiles.OutOfRange("risk.failures", Risk.Failures, 1, 20)) yield return problem;
        if (Risk.OddHours.Length > 0 && Risk.Range() is null) yield return "risk.odd-hours must be HH:mm-HH:mm or empty";
    }
}
