using System.Security.Cryptography;
using AccessBroker.Assurance;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.SignIn;

/// <summary>Opens a sign-in transaction for this browser. <c>Oidc</c> calls it for relying parties, the console for itself.</summary>
public sealed class BeginSignIn(Store store, Active<SignInPolicy> policy)
{
    /// <summary>The cookie that binds transactions to a browser.</summary>
    internal const string BrowserCookie = "__Host-signin";

    /// <summary>Opens the transaction and returns the path of its page.</summary>
    /// <param name="context">The browser's request; it gets the binding cookie when it has none.</param>
    /// <param name="client">The relying party's id; null for the console.</param>
    /// <param name="clientName">What the page and the PIN prompt call it.</param>
    /// <param name="returnPath">A path of ours where the browser goes when it is signed in.</param>
    /// <param name="wanted">The <c>acr</c> that is asked for (RFC 9470); null: what segment and relying party need.</param>
    public async Task<string> RunAsync(HttpContext context, string? client, string clientName, string returnPath, CancellationToken ct, Acr? wanted = null)
    {
        await using var work = await store.BeginAsync(ct);
        var page = Run(work, context, client, clientName, returnPath, wanted);
        await work.CommitAsync(ct);
        return page;
    }

    /// <summary>The same with the caller's commit.</summary>
    public string Run(UnitOfWork work, HttpContext context, string? client, string clientName, string returnPath, Acr? wanted = null)
    {
        if (!Secret.Fits(context.Request.Cookies[BrowserCookie]))
        {
            var fresh = Secret.New();
            context.Response.Cookies.Append(BrowserCookie, fresh, new CookieOptions { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Lax, Path = "/" });
            context.Items[BrowserCookie] = fresh;
        }
        var id = Secret.New(16);
        work.Write($"""
            insert into sign_in.transactions (id, browser_hash, address, number, client, client_name, return_path, expires_at, state, wanted)
            values ({id}, {BrowserOf(context)}, {AddressOf(context)}, {RandomNumberGenerator.GetInt32(10, 100)}, {client}, {clientName}, {returnPath}, clock_timestamp() + {policy.Now.TransactionLifetime}, 'open', {wanted?.Name()})
            """);
        return $"/sign-in/{id}";
    }

    /// <summary>What binds this request to its browser: the hash of the binding cookie.</summary>
    public static byte[] BrowserOf(HttpContext context) => Secret.Hash(context.Items[BrowserCookie] as string ?? context.Request.Cookies[BrowserCookie] ?? "");

    internal static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
