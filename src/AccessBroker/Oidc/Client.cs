using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Oidc;

/// <summary>A relying party.</summary>
internal sealed record Client
{
    /// <summary>Its client_id.</summary>
    public string Id { get; init; } = "";
    /// <summary>What people call it, in Japanese.</summary>
    public required string Name { get; init; }
    /// <summary>The system it belongs to: terminals of other systems get no token for it; null: of every system. <clause>INA 第11(2)</clause></summary>
    public string? System { get; init; }
    /// <summary>Where codes may go: compared as exact strings.</summary>
    public required IReadOnlyList<string> RedirectUris { get; init; }
    /// <summary>Where the browser may go after sign-out: compared as exact strings.</summary>
    public IReadOnlyList<string> PostLogoutRedirectUris { get; init; } = [];
    /// <summary><c>private_key_jwt</c>, or <c>none</c> for a public client.</summary>
    public required string Authentication { get; init; }
    /// <summary>Its public keys (RFC 7517); required with private_key_jwt.</summary>
    public JsonElement? Jwks { get; init; }
    /// <summary>Scopes it may have beside openid.</summary>
    public IReadOnlyList<string> Scopes { get; init; } = [];

    internal static async Task<Client?> FindAsync(Store store, string? id, CancellationToken ct)
    {
        if (!IdForm.Fits(id)) return null;
        var json = await store.FindAsync($"select configuration from oidc.clients where id = {id}", r => r.GetString(0), ct);
        return json is null ? null : JsonSerializer.Deserialize<Client>(json, JsonSerializerOptions.Web)! with { Id = id };
    }

    /// <summary>Why this registration cannot be used; null: it can.</summary>
    internal string? Problem()
    {
        bool Usable(string uri) => Uri.TryCreate(uri, UriKind.Absolute, out var u) && u.Scheme is "https" or "http" && (u.Scheme == "https" || u.IsLoopback) && u.Fragment.Length == 0 && u.UserInfo.Length == 0;
        if (RedirectUris.Count == 0 || RedirectUris.Concat(PostLogoutRedirectUris).FirstOrDefault(u => !Usable(u)) is not null) return "redirect URIs must be https (http on loopback only), without fragment or user";
        return Authentication switch { "none" => null, "private_key_jwt" => Jwks is null ? "private_key_jwt needs jwks" : null, _ => $"unknown authentication {Authentication}" };
    }
}
