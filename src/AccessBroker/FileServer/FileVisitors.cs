using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.FileServer;

/// <summary>
/// Who stands before the file server: a cookie of its own origin, which comes about by a one-time code from the broker's, for the browser that asked and no
/// other, and lives as long as the session. <clause>INA 第16-5</clause>
/// </summary>
internal sealed class FileVisitors(Store store, LiveSessions sessions, TimeProvider time)
{
    internal const string Cookie = "__Host-files", StateCookie = "__Host-files-state";
    /// <summary>Ours: a code lives 30 s, an entry no longer than a working day.</summary>
    private static readonly TimeSpan CodeLifetime = TimeSpan.FromSeconds(30), EntryLifetime = TimeSpan.FromHours(12);

    /// <summary>The live session of a cookie, at its own terminal; null: nobody. Throws <see cref="IUnavailable"/> exceptions when nobody can tell.</summary>
    internal async Task<LiveSession?> FindAsync(string? cookie, string address, CancellationToken ct)
    {
        if (!Secret.Fits(cookie)) return null;
        LiveSession? found;
        await using (var work = await store.ReadAsync(ct))
            found = (await work.QueryAsync($"select session from file_server.entries where cookie_hash = {Secret.Hash(cookie!)} and expires_at > clock_timestamp()", r => r.GetString(0), ct)) is [var id]
                && await sessions.FindAsync(work, SessionId.Parse(id), ct) is { } session && session.Address == address ? session : null;
        // Working with files is work: the idle time-out starts anew.
        if (found is not null) await sessions.SeenAsync(found, ct);
        return found;
    }

    /// <summary>At the broker, signed in: a code for the browser whose state cookie has this hash.</summary>
    internal async Task<string> AdmitAsync(LiveSession session, byte[] state, string target, CancellationToken ct)
    {
        var code = Secret.New();
        await store.ExecuteAsync($"insert into file_server.entries (code_hash, state_hash, session, target, expires_at) values ({Secret.Hash(code)}, {state}, {session.Id}, {target}, clock_timestamp() + {CodeLifetime})", ct);
        return code;
    }

    /// <summary>At the file server: cookie and target for a code; null: unknown, used, late, another browser's, or not the session's terminal.</summary>
    internal async Task<(string Cookie, string Target)?> RedeemAsync(string? code, string? state, string address, CancellationToken ct)
    {
        if (!Secret.Fits(code) || !Secret.Fits(state)) return null;
        var cookie = Secret.New();
        await using var work = await store.BeginAsync(ct);
        var found = await work.QueryAsync($"""
            update file_server.entries set code_hash = null, cookie_hash = {Secret.Hash(cookie)}, expires_at = clock_timestamp() + {EntryLifetime}
            where code_hash = {Secret.Hash(code!)} and state_hash = {Secret.Hash(state!)} and expires_at > clock_timestamp() returning target, session
            """, r => (Target: r.GetString(0), Session: r.GetString(1)), ct);
        if (found is not [var entry] || await sessions.FindAsync(work, SessionId.Parse(entry.Session), ct) is not { } session || session.Address != address) return null;
        work.Record(new("files.enter", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Session = session.Id, Address = address }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return (cookie, entry.Target);
    }
}
