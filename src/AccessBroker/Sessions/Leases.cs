using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using Npgsql;

namespace AccessBroker.Sessions;

/// <summary>
/// What this node knows of the terminals attached to it: their presence epochs and last signs of life. Written to the database in one batch
/// a second; the database's clock judges.
/// </summary>
public sealed class Leases(VitalStore vital, Active<SessionsPolicy> policy, NodeName node, TimeProvider time) : IDisposable
{
    /// <param name="Written">The database has this epoch. Until then it is kept whatever happens: nobody else may know of it.</param>
    private sealed record Known(string Epoch, string System, long LastBeat, bool Written);
    private readonly ConcurrentDictionary<TerminalId, Known> _known = new();
    private readonly SemaphoreSlim _writing = new(1);
    private volatile bool _noPulse = true;

    /// <summary>This node has heard of a card event that the session does not survive, whatever the database still says.</summary>
    internal bool Denies(LiveSession session) => _known.TryGetValue(session.Terminal, out var known) && known.Epoch != session.Epoch
        // Older knowledge, once written, proves nothing: the terminal may have gone to another node; and by then its old lease is over anyway.
        && (!known.Written || IsRecent(known));

    /// <summary>While this node's pulse does not succeed (database away until just now, or read-only), what the database says of terminals elsewhere is no news: only terminals of this node are believed.</summary>
    internal bool IsUnsureOf(LiveSession session) => _noPulse && !(_known.TryGetValue(session.Terminal, out var known) && known.Epoch == session.Epoch && IsRecent(known));

    private bool IsRecent(Known known) => time.GetElapsedTime(known.LastBeat) < policy.Now.Lease;

    /// <summary>A sign of life. Remembered at once; a new epoch stays "not yet written".</summary>
    internal void Beat(AttachedTerminal terminal) => _known.AddOrUpdate(terminal.Terminal.Id,
        _ => new(terminal.Epoch, terminal.Terminal.System, time.GetTimestamp(), false),
        (_, known) => new(terminal.Epoch, terminal.Terminal.System, time.GetTimestamp(), known.Written && known.Epoch == terminal.Epoch));

    /// <summary>This node no longer speaks for the terminal.</summary>
    internal void Forget(TerminalId terminal, string epoch) { if (_known.TryGetValue(terminal, out var known) && known.Epoch == epoch && known.Written) _known.TryRemove(new(terminal, known)); }

    /// <summary>A new epoch is written at once.</summary>
    internal Task ChangeAsync(AttachedTerminal terminal, CancellationToken ct) => InTurnAsync(() => WriteAsync([terminal.Terminal.Id], ct), ct);

    /// <summary>Once a second: the pulse that says "leases are being prolonged", then all terminals heard of within a lease, each to a lease after its last beat, in one statement.</summary>
    internal async Task RefreshAsync(CancellationToken ct)
    {
        try
        {
            await PulseAsync(ct);
            _noPulse = false;
        }
        catch (NpgsqlException) { _noPulse = true; throw; }
        await InTurnAsync(() => WriteAsync([.. _known.Where(k => !k.Value.Written || IsRecent(k.Value)).Select(k => k.Key)], ct), ct);
    }

    /// <inheritdoc/>
    public void Dispose() => _writing.Dispose();

    /// <summary>
    /// Whichever node comes first after a pause of 2 to 30 s notes it (<c>sessions.lease_clock</c>). A statement of its own: a node that freezes
    /// must not keep the others' pulse.
    /// </summary>
    private Task<int> PulseAsync(CancellationToken ct) => vital.Store.ExecuteAsync($"""
        update sessions.pulse set at = greatest(at, clock_timestamp()),
            paused_at  = case when clock_timestamp() - at between {Pause} and interval '30 seconds' then at else paused_at end,
            resumed_at = case when clock_timestamp() - at between {Pause} and interval '30 seconds' then clock_timestamp() else resumed_at end
        """, ct);

    /// <summary>A node that knows its pulse failed calls 1.5 s without one a pause; one that is merely late, on a busy machine, 4 s.</summary>
    private TimeSpan Pause => TimeSpan.FromSeconds(_noPulse ? 1.5 : 4);

    private async Task InTurnAsync(Func<Task> write, CancellationToken ct)
    {
        // In turn: a batch that began before a card event must not write the old epoch after it.
        await _writing.WaitAsync(ct);
        try { await write(); }
        finally { _writing.Release(); }
    }

    private async Task WriteAsync(TerminalId[] terminals, CancellationToken ct)
    {
        var rows = terminals.Select(t => (Terminal: t.Value, Known: _known.GetValueOrDefault(t))).Where(r => r.Known is not null).ToArray();
        if (rows.Length == 0) return;
        await vital.Store.ExecuteAsync($"""
            insert into sessions.leases (terminal, epoch, system, node, until)
            select terminal, epoch, system, {node.Value}, clock_timestamp() + left_over
            from unnest({rows.Select(r => r.Terminal).ToArray()}, {rows.Select(r => r.Known!.Epoch).ToArray()}, {rows.Select(r => r.Known!.System).ToArray()}, {rows.Select(r => policy.Now.Lease - time.GetElapsedTime(r.Known!.LastBeat)).ToArray()}) as given (terminal, epoch, system, left_over)
            order by terminal
            on conflict (terminal) do update set epoch = excluded.epoch, system = excluded.system, node = excluded.node, until = excluded.until, heard_at = clock_timestamp(),
                -- A lease that ran out, even for a moment, is a new one: what lived on the old one stays dead.
                since = case when leases.epoch = excluded.epoch and exists (select from sessions.lease_clock c where leases.until > c.now or leases.until > c.held_at and leases.heard_at < c.fresh_after) then leases.since else clock_timestamp() end
            -- The later beat wins: a node that the terminal has left must not shorten or turn back the lease.
            where excluded.until >= leases.until or leases.node = excluded.node
            """, ct);
        foreach (var (terminal, known) in rows) if (!known!.Written) _known.TryUpdate(TerminalId.Parse(terminal), known with { Written = true }, known);
    }
}

/// <summary>The name of this node among its peers.</summary>
public sealed record NodeName(string Value);
