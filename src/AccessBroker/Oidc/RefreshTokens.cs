using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Oidc;

/// <summary>
/// Refresh tokens: rotated at each use, and a used one that comes again takes back the whole family (RFC 9700 §4.14.2). They die with the session.
/// </summary>
internal sealed class RefreshTokens(Active<SessionsPolicy> policy)
{
    internal sealed record Taken(string Family, SessionId Session, string Scope, bool Reused);

    /// <summary>A new one of a family, written with the commit.</summary>
    internal string Issue(UnitOfWork work, string family, SessionId session, string client, string scope)
    {
        var token = Secret.New();
        work.Write($"insert into oidc.refresh_tokens (token_hash, family, session, client, scope, expires_at) values ({Secret.Hash(token)}, {family}, {session}, {client}, {scope}, clock_timestamp() + {policy.Now.Absolute})");
        return token;
    }

    /// <summary>Marks it used, atomically; Reused: it was before. Null: unknown, another client's, revoked or over.</summary>
    internal static async Task<Taken?> TakeAsync(UnitOfWork work, string token, string client, CancellationToken ct)
    {
        // One at a time per family, by a statement of its own: what follows sees every token of it that was issued meanwhile.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtextextended(family, 4)) from oidc.refresh_tokens where token_hash = {Secret.Hash(token)}", ct);
        return await work.AskAsync(Taking(token, client), ct);
    }

    private static Question<Taken?> Taking(string token, string client) => Question.First($"""
        with found as (select token_hash, used_at from oidc.refresh_tokens where token_hash = {Secret.Hash(token)} and client = {client} and revoked_at is null and expires_at > clock_timestamp() for update)
        update oidc.refresh_tokens t set used_at = coalesce(t.used_at, clock_timestamp()) from found where t.token_hash = found.token_hash
        returning t.family, t.session, t.scope, found.used_at is not null
        """, r => new Taken(r.GetString(0), SessionId.Parse(r.GetString(1)), r.GetString(2), r.GetBoolean(3)));

    /// <summary>Takes back everything of a family.</summary>
    internal static async Task RevokeFamilyAsync(UnitOfWork work, string family, CancellationToken ct)
    {
        await work.ExecuteAsync($"update oidc.refresh_tokens set revoked_at = clock_timestamp() where family = {family} and revoked_at is null", ct);
        await work.ExecuteAsync($"update oidc.access_tokens set revoked_at = clock_timestamp() where family = {family} and revoked_at is null", ct);
    }
}
