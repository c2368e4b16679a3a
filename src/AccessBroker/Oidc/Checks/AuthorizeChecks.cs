using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.Primitives;

namespace AccessBroker.Oidc.Checks;

/// <summary>An authorization request whose client and redirect URI are known to be good: errors may go back there.</summary>
internal sealed record AuthorizeRequest(Parameters Parameters, Client Client, string RedirectUri)
{
    internal string? State => Parameters["state"];
    internal string? Nonce => Parameters["nonce"];
    internal string[] Prompt => Parameters["prompt"]?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
    internal int? MaxAge => int.TryParse(Parameters["max_age"], System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var age) ? age : null;

    /// <summary>The first of <c>acr_values</c> that is ours, in the order of the relying party's wish; null: none (OpenID Connect Core §3.1.2.1, RFC 9470 §4).</summary>
    internal Acr? Acr => (Parameters["acr_values"] ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(AcrNames.Parse).FirstOrDefault(a => a is not null);

    /// <summary>The privileged work that one object of <c>authorization_details</c> asks for (RFC 9396 §2): {"type": "privileged_work", "work": "…"}; null: absent or malformed.</summary>
    internal string? Work
    {
        get
        {
            try
            {
                return JsonElement.Parse(Parameters["authorization_details"] ?? "null") is { ValueKind: JsonValueKind.Array } details && details.GetArrayLength() == 1 && details[0].ValueKind == JsonValueKind.Object
                    && details[0].EnumerateObject().Count() == 2 && details[0].TryGetProperty("type", out var type) && type.ValueKind == JsonValueKind.String && type.GetString() == IDetailedAuthorization.Type
                    && details[0].TryGetProperty("work", out var work) && work.ValueKind == JsonValueKind.String && IdForm.Fits(work.GetString()) ? work.GetString() : null;
            }
            catch (JsonException) { return null; }
        }
    }

    /// <summary>Asked for and allowed, openid first.</summary>
    internal string Scope => string.Join(' ', (Parameters["scope"] ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries).Distinct(StringComparer.Ordinal).Where(s => s == "openid" || Client.Scopes.Contains(s)));
}

/// <summary>OpenID Connect Core §3.1.2.2: response_type is required; only the code flow exists.</summary>
internal static class CheckResponseType
{
    internal static OAuthError? Run(AuthorizeRequest r) => r.Parameters["response_type"] switch
    {
        "code" => null,
        null => new("invalid_request", "response_type is missing"),
        _ => new("unsupported_response_type", "only response_type=code is supported"),
    };
}

/// <summary>OAuth 2.0 Multiple Response Types §2.1: the code comes back in the query.</summary>
internal static class CheckResponseMode
{
    internal static OAuthError? Run(AuthorizeRequest r) => r.Parameters["response_mode"] is null or "query" ? null : new("invalid_request", "only response_mode=query is supported");
}

/// <summary>OpenID Connect Core §3.1.2.1: scope must contain openid.</summary>
internal static class CheckScope
{
    internal static OAuthError? Run(AuthorizeRequest r) => r.Scope.Split(' ').Contains("openid") ? null : new("invalid_scope", "scope must contain openid");
}

/// <summary>RFC 9396 §5: details of another type or form are refused; ours come with their scope, and it with them.</summary>
internal static class CheckDetails
{
    internal static OAuthError? Run(AuthorizeRequest r) => (r.Parameters["authorization_details"] is not null, r.Scope.Split(' ').Contains(IDetailedAuthorization.Scope)) switch
    {
        (false, false) => null,
        (false, true) => new("invalid_scope", "scope privileged needs authorization_details"),
        (true, _) when r.Work is null => new("invalid_authorization_details", "authorization_details must be one object with type privileged_work and work"),
        (true, false) => new("invalid_scope", "authorization_details need the scope privileged, and a client that may have it"),
        _ => null,
    };
}

/// <summary>RFC 7636 §4.3, with RFC 9700 §2.1.1: every client uses PKCE, and S256 only. "plain" and its absence are refused.</summary>
internal static class CheckPkce
{
    internal static OAuthError? Run(AuthorizeRequest r)
    {
        if (r.Parameters["code_challenge"] is not { } challenge) return new("invalid_request", "code_challenge is required (PKCE)");
        if (r.Parameters["code_challenge_method"] != "S256") return new("invalid_request", "code_challenge_method must be S256");
        // §4.2: BASE64URL(SHA256(…)) is always 43 characters.
        return challenge.Length == 43 && challenge.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_') ? null : new("invalid_request", "code_challenge is no base64url of 32 bytes");
    }
}

/// <summary>OpenID Connect Core §3.1.2.1: "none" must stand alone.</summary>
internal static class CheckPrompt
{
    private static readonly string[] Known = ["none", "login", "consent", "select_account"];

    internal static OAuthError? Run(AuthorizeRequest r) =>
        r.Prompt.Any(p => !Known.Contains(p)) ? new("invalid_request", "unknown prompt")
        : r.Prompt.Contains("none") && r.Prompt.Length > 1 ? new("invalid_request", "prompt=none must stand alone") : null;
}

/// <summary>OpenID Connect Core §3.1.2.1: max_age is a number of seconds.</summary>
internal static class CheckMaxAge
{
    internal static OAuthError? Run(AuthorizeRequest r) => r.Parameters["max_age"] is null || r.MaxAge is not null ? null : new("invalid_request", "max_age must be a number of seconds");
}

/// <summary>OpenID Connect Core §6.1, §6.2, §7.2.1: request objects are not accepted in this way; nothing is fetched from anywhere.</summary>
internal static class CheckNoRequestObject
{
    internal static OAuthError? Run(AuthorizeRequest r) =>
        r.Parameters["request"] is not null ? new("request_not_supported", "request objects are not supported")
        : r.Parameters["request_uri"] is not null ? new("request_uri_not_supported", "request_uri is not supported")
        : r.Parameters["registration"] is not null ? new("registration_not_supported", "registration is not supported") : null;
}

/// <summary>Ours: state and nonce are echoed and stored, so they are bounded.</summary>
internal static class CheckLengths
{
    internal static OAuthError? Run(AuthorizeRequest r) => r.State?.Length > 1_024 || r.Nonce?.Length > 512 ? new("invalid_request", "state or nonce is too long") : null;
}
