using AccessBroker.Assurance;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary>OpenID Connect Discovery 1.0 §3. Every URL starts with the configured issuer, never with a Host header.</summary>
internal static class Discovery
{
    internal static object Document(BrokerOptions options) => new
    {
        issuer = options.Issuer,
        authorization_endpoint = options.Issuer + "/connect/authorize",
        token_endpoint = options.Issuer + "/connect/token",
        userinfo_endpoint = options.Issuer + "/connect/userinfo",
        end_session_endpoint = options.Issuer + "/connect/endsession",
        introspection_endpoint = options.Issuer + "/connect/introspect",
        revocation_endpoint = options.Issuer + "/connect/revoke",
        introspection_endpoint_auth_methods_supported = new[] { "private_key_jwt" },
        revocation_endpoint_auth_methods_supported = new[] { "private_key_jwt", "none" },
        backchannel_logout_supported = true,
        backchannel_logout_session_supported = true,
        jwks_uri = options.Issuer + "/.well-known/jwks.json",
        response_types_supported = new[] { "code" },
        response_modes_supported = new[] { "query" },
        grant_types_supported = new[] { "authorization_code", "refresh_token" },
        subject_types_supported = new[] { "public" },
        id_token_signing_alg_values_supported = new[] { "ES256" },
        token_endpoint_auth_methods_supported = new[] { "private_key_jwt", "none" },
        token_endpoint_auth_signing_alg_values_supported = new[] { "ES256", "PS256" },
        code_challenge_methods_supported = new[] { "S256" },
        scopes_supported = new[] { "openid", "profile", IDetailedAuthorization.Scope },
        authorization_details_types_supported = new[] { IDetailedAuthorization.Type },
        claims_supported = new[] { "sub", "name", "posts", "sid", "auth_time", "acr", "amr", "terminal", "segment" },
        acr_values_supported = AcrNames.All.Skip(1),
        prompt_values_supported = new[] { "none", "login", "consent", "select_account" },
        ui_locales_supported = new[] { "ja", "en" },
        authorization_response_iss_parameter_supported = true,
        claims_parameter_supported = false,
        request_parameter_supported = false,
        request_uri_parameter_supported = false,
    };
}
