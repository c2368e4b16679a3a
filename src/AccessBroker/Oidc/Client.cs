using System.Collections.Concurrent;
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
    /// <summary>Where it is told that a session ended (OpenID Connect Back-Channel Logout 1.0); null: it is not told.</summary>
    public string? BackchannelLogoutUri { get; init; }
    /// <summary>Whether it gets refresh tokens. Default: no.</summary>
    public bool RefreshTokens { get; init; }
    /// <summary>Scopes it may have beside openid.</summary>
    public IReadOnlyList<string> Scopes { get; init; } = [];

    /// <summary>Why this registration cannot be used; null: it can.</summary>
    internal string? Problem()
    {
        bool Usable(string uri) => Uri.TryCreate(uri, UriKind.Absolute, out var u) && u.Scheme is "https" or "http" && (u.Scheme == "https" || u.IsLoopback) && u.Fragment.Length == 0 && u.UserInfo.Length == 0;
        if (RedirectUris.Count == 0 || RedirectUris.Concat(PostLogoutRedirectUris).FirstOrDefault(u => !Usable(u)) is not null) return "redirect URIs must be https (http on loopback only), without fragment or user";
        if (BackchannelLogoutUri is { } logout && !Usable(logout)) return "the back-channel logout URI must be https (http on loopback only), without fragment or user";
        return Authentication switch { "none" => null, "private_key_jwt" => Jwks is null ? "private_key_jwt needs jwks" : null, _ => $"unknown authentication {Authentication}" };
    }
}

/// <summary>The register of relying parties: the public query of this slice.</summary>
public static class ClientRegister
{
    /// <summary>Ids and names, by id.</summary>
    public static Question<List<(string Id, string Name)>> All() => Question.All($"select id, coalesce(configuration->>'name', configuration->>'Name', id) from oidc.clients order by id", r => (r.GetString(0), r.GetString(1)));
}

/// <summary>The registered relying parties. What was read is believed for a second: so long a change takes to be in force.</summary>
internal sealed class Clients(Store store, TimeProvider time)
{
    /// <summary>Ours: 1 s.</summary>
    private static readonly TimeSpan Believed = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<string, (Client Client, long Read)> _known = new();

    /// <summary>Null when there is none of that id.</summary>
    internal async Task<Client?> FindAsync(string? id, CancellationToken ct)
    {
        if (!IdForm.Fits(id)) return null;
        if (_known.TryGetValue(id, out var known) && time.GetElapsedTime(known.Read) < Believed) return known.Client;
        var read = time.GetTimestamp();
        if (await store.AskAsync(Question.First($"select configuration from oidc.clients where id = {id}", r => r.GetString(0)), ct) is not { } json)
        {
            _known.TryRemove(id, out _);
            return null;
        }
        var client = JsonSerializer.Deserialize<Client>(json, JsonSerializerOptions.Web)! with { Id = id };
        _known[id] = (client, read);
        return client;
    }
}
