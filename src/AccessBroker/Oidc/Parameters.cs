using Microsoft.Extensions.Primitives;

namespace AccessBroker.Oidc;

/// <summary>Parameters of a protocol request: each at most once (RFC 6749 §3.1, §3.2), bounded, empty = absent.</summary>
internal sealed class Parameters
{
    /// <summary>Ours: 50 parameters of at most 8,192 characters.</summary>
    private const int MaxCount = 50, MaxLength = 8_192;
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    /// <summary>A parameter came twice, is too long, or there are too many, or the body is no form: the whole request is invalid.</summary>
    internal bool Malformed { get; private init; }
    internal string? this[string name] => _values.GetValueOrDefault(name);

    internal static Parameters Of(IEnumerable<KeyValuePair<string, StringValues>> pairs)
    {
        var list = pairs.ToList();
        var parameters = new Parameters { Malformed = list.Count > MaxCount || list.Any(p => p.Value.Count > 1 || p.Value.ToString().Length > MaxLength || p.Value.ToString().Contains('\0', StringComparison.Ordinal) || p.Key.Contains('\0', StringComparison.Ordinal)) };
        foreach (var (name, value) in list)
            if (value is [{ Length: > 0 } one]) parameters._values[name] = one;
        return parameters;
    }

    /// <summary>Reads the form of a POST. Another content type is malformed.</summary>
    internal static async Task<Parameters> OfFormAsync(HttpRequest request, CancellationToken ct)
    {
        if (request.ContentType?.Split(';')[0].Trim() != "application/x-www-form-urlencoded") return new() { Malformed = true };
        try { return Of(await request.ReadFormAsync(ct)); }
        catch (Exception e) when (e is InvalidDataException or BadHttpRequestException or NotSupportedException or ArgumentException) { return new() { Malformed = true }; }
    }

    internal Dictionary<string, string> ToDictionary() => new(_values);
}

/// <summary>An error of RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core §3.1.2.6, RFC 6750 §3.1: the code, and a sentence for the developer.</summary>
internal sealed record OAuthError(string Code, string Description)
{
    /// <summary>400, but 401 for invalid_client and invalid_token.</summary>
    internal int Status => Code is "invalid_client" or "invalid_token" ? StatusCodes.Status401Unauthorized : StatusCodes.Status400BadRequest;

    internal IResult ToJson() => Results.Json(new { error = Code, error_description = Description }, statusCode: Status);
}
