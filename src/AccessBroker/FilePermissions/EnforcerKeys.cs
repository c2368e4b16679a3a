using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.FilePermissions;

/// <summary>Which program asks: the bearer secret of an enforcement point, believed for a second (ours).</summary>
public sealed class EnforcerKeys(Store store, TimeProvider time)
{
    private static readonly TimeSpan Believed = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<string, (string Name, long Read)> _known = new();

    /// <summary>The enforcement point of this request; null: no secret, an unknown one, or revoked.</summary>
    public async ValueTask<string?> NameOfAsync(HttpContext context)
    {
        if (context.Request.Headers.Authorization is not [{ } given] || !given.StartsWith("Bearer ", StringComparison.Ordinal) || !Secret.Fits(given[7..])) return null;
        var hash = Secret.Hash(given[7..]);
        var key = Convert.ToHexString(hash);
        if (_known.TryGetValue(key, out var known) && time.GetElapsedTime(known.Read) < Believed) return known.Name;
        var asked = time.GetTimestamp();
        if (await store.AskAsync(FileSearch.Enforcer(hash), context.RequestAborted) is { } name) { _known[key] = (name, asked); return name; }
        _known.TryRemove(key, out _);
        return null;
    }

    /// <summary>The answer to a program that nobody knows.</summary>
    public static IResult Unknown(HttpContext context)
    {
        context.Response.Headers.WWWAuthenticate = "Bearer";
        return Web.Problems.Json(StatusCodes.Status401Unauthorized, "files.unknown-enforcer", "執行点の秘密が必要です。");
    }
}
