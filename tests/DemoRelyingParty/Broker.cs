using System.Buffers.Text;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace DemoRelyingParty;

/// <summary>What a relying party does with its OpenID provider: code with PKCE, tokens, ID token verification, userinfo. Shared framework only.</summary>
internal sealed class Broker(Settings settings) : IDisposable
{
    private readonly ClientKey _key = ClientKey.LoadOrCreate(settings.KeyFile);
    private readonly HttpClient _http = new(new SocketsHttpHandler { SslOptions = { CertificateChainPolicy = Trust(settings.BrokerCa) } }) { Timeout = TimeSpan.FromSeconds(5) };

    /// <summary>What must be kept between the redirect and the callback.</summary>
    internal sealed record Attempt(string State, string Nonce, string Verifier);
    internal sealed record Tokens(string AccessToken, string IdToken, JsonElement Claims, DateTimeOffset AccessUntil);

    public void Dispose() => _http.Dispose();

    private string Callback => settings.Origin + "/callback";

    /// <param name="silently">Only if the session still lives: no page is shown.</param>
    internal (string Url, Attempt Attempt) Authorize(bool silently = false)
    {
        var attempt = new Attempt(Random(), Random(), Random());
        var challenge = Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(attempt.Verifier)));
        var query = new Dictionary<string, string> { ["response_type"] = "code", ["client_id"] = settings.ClientId, ["redirect_uri"] = Callback, ["scope"] = "openid profile", ["state"] = attempt.State, ["nonce"] = attempt.Nonce, ["code_challenge"] = challenge, ["code_challenge_method"] = "S256" };
        if (silently) query["prompt"] = "none";
        return ($"{settings.Issuer}/connect/authorize?{string.Join('&', query.Select(p => $"{p.Key}={Uri.EscapeDataString(p.Value)}"))}", attempt);
    }

    internal string EndSessionUrl(string idToken) => $"{settings.Issuer}/connect/endsession?id_token_hint={idToken}&post_logout_redirect_uri={Uri.EscapeDataString(settings.Origin + "/")}";

    /// <summary>Redeems the code. Null when the broker refuses, or the ID token is not what it must be.</summary>
    internal async Task<Tokens?> RedeemAsync(string code, Attempt attempt)
    {
        using var response = await _http.PostAsync(settings.Issuer + "/connect/token", new FormUrlEncodedContent(new Dictionary<string, string>
        {
            ["grant_type"] = "authorization_code",
            ["code"] = code,
            ["redirect_uri"] = Callback,
            ["code_verifier"] = attempt.Verifier,
            ["client_id"] = settings.ClientId,
            ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ["client_assertion"] = _key.Assertion(settings.ClientId, settings.Issuer),
        }));
        if (!response.IsSuccessStatusCode) return null;
        var body = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        var (access, id) = (body.GetProperty("access_token").GetString()!, body.GetProperty("id_token").GetString()!);
        return await VerifyAsync(id, attempt.Nonce) is { } claims ? new(access, id, claims, DateTimeOffset.UtcNow.AddSeconds(body.GetProperty("expires_in").GetInt32())) : null;
    }

    /// <summary>The claims while the session lives; null as soon as it does not. Throws <see cref="HttpRequestException"/> when the broker cannot tell now.</summary>
    internal async Task<JsonElement?> UserInfoAsync(string accessToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, settings.Issuer + "/connect/userinfo") { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", accessToken) } };
        using var response = await _http.SendAsync(request);
        if (response.StatusCode == System.Net.HttpStatusCode.Unauthorized) return null;
        return JsonElement.Parse(await response.EnsureSuccessStatusCode().Content.ReadAsStringAsync());
    }

    /// <summary>The session that a logout token names (§2.6 of Back-Channel Logout 1.0); null: not a good one.</summary>
    internal async Task<string?> VerifyLogoutAsync(string token)
    {
        if (token.Split('.').Length != 3 || await ReadAsync(token, "logout+jwt") is not { } claims) return null;
        var fits = claims.GetProperty("iss").GetString() == settings.Issuer && claims.GetProperty("aud").GetString() == settings.ClientId && !claims.TryGetProperty("nonce", out _)
            && claims.GetProperty("exp").GetInt64() > DateTimeOffset.UtcNow.ToUnixTimeSeconds() && claims.GetProperty("events").TryGetProperty("http://schemas.openid.net/event/backchannel-logout", out _);
        return fits ? claims.GetProperty("sid").GetString() : null;
    }

    /// <summary>OpenID Connect Core §3.1.3.7: signature by a published key, issuer, audience, expiry, nonce.</summary>
    private async Task<JsonElement?> VerifyAsync(string token, string nonce) =>
        await ReadAsync(token, "JWT") is { } claims && claims.GetProperty("iss").GetString() == settings.Issuer && claims.GetProperty("aud").GetString() == settings.ClientId && claims.GetProperty("nonce").GetString() == nonce
            && claims.GetProperty("exp").GetInt64() > DateTimeOffset.UtcNow.ToUnixTimeSeconds() ? claims : null;

    /// <summary>The claims of a token of that type, signed by a published key.</summary>
    private async Task<JsonElement?> ReadAsync(string token, string type)
    {
        var parts = token.Split('.');
        var jwks = JsonElement.Parse(await _http.GetStringAsync(settings.Issuer + "/.well-known/jwks.json"));
        var header = JsonElement.Parse(Base64Url.DecodeFromChars(parts[0]));
        var jwk = jwks.GetProperty("keys").EnumerateArray().Single(k => k.GetProperty("kid").GetString() == header.GetProperty("kid").GetString());
        using var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new() { X = Base64Url.DecodeFromChars(jwk.GetProperty("x").GetString()), Y = Base64Url.DecodeFromChars(jwk.GetProperty("y").GetString()) } });
        return header.GetProperty("typ").GetString() == type && header.GetProperty("alg").GetString() == "ES256" && key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256)
            ? JsonElement.Parse(Base64Url.DecodeFromChars(parts[1])) : null;
    }

    private static X509ChainPolicy Trust(string file)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(file);
        return policy;
    }

    private static string Random() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32));
}
