using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Sessions;

/// <summary>
/// What this node knows of the terminals attached to it: their presence epochs and last signs of life. Written to the database in one batch
/// a second; the database's clock judges.
/// </summary>
public sealed class Leases(Store store, SessionsPolicy policy, NodeName node, TimeProvider time) : IDisposable
{
    private sealed record Known(string Epoch, long LastBeat);
    private readonly ConcurrentDictionary<TerminalId, Known> _known = new();
    private readonly SemaphoreSlim _writing = new(1);

    /// <summary>This node has heard of a card event that the session does not survive, whatever the database still says.</summary>
    internal bool Contradicts(LiveSession session) =>
        // Older knowledge proves nothing: the terminal may have gone to another node; and by then its old lease is over anyway.
        _known.TryGetValue(session.Terminal, out var known) && known.Epoch != session.Epoch && time.GetElapsedTime(known.LastBeat) < policy.Lease;

    internal void Beat(TerminalId terminal, string epoch) => _known[terminal] = new(epoch, time.GetTimestamp());

    /// <summary>This node no longer speaks for the terminal.</summary>
    internal void Forget(TerminalId terminal, string epoch) { if (_known.TryGetValue(terminal, out var known) && known.Epoch == epoch) _known.TryRemove(new(terminal, known)); }

    /// <summary>A new epoch: remembered at once, written at once.</summary>
    internal async Task ChangeAsync(TerminalId terminal, string epoch, CancellationToken ct)
    {
        Beat(terminal, epoch);
        await WriteAsync([terminal], ct);
    }

    /// <summary>Prolongs the leases of all terminals heard of within a lease, each to a lease after its last beat, in one statement.</summary>
    internal Task RefreshAsync(CancellationToken ct) =>
        WriteAsync([.. _known.Where(k => time.GetElapsedTime(k.Value.LastBeat) < policy.Lease).Select(k => k.Key)], ct);

    /// <inheritdoc/>
    public void Dispose() => _writing.Dispose();

    private async Task WriteAsync(TerminalId[] terminals, CancellationToken ct)
    {
        if (terminals.Length == 0) return;
        // In turn: a batch that began before a card event must not write the old epoch after it.
        await _writing.WaitAsync(ct);
        try
        {
            var rows = terminals.Select(t => (Terminal: t.Value, Known: _known.GetValueOrDefault(t))).Where(r => r.Known is not null).ToArray();
            await using var work = await store.BeginAsync(ct);
            await work.ExecuteAsync($"""
                insert into sessions.leases (terminal, epoch, node, until)
                select terminal, epoch, {node.Value}, clock_timestamp() + left_over from unnest({rows.Select(r => r.Terminal).ToArray()}, {rows.Select(r => r.Known!.Epoch).ToArray()}, {rows.Select(r => policy.Lease - time.GetElapsedTime(r.Known!.LastBeat)).ToArray()}) as given (terminal, epoch, left_over)
                order by terminal
                on conflict (terminal) do update set epoch = excluded.epoch, node = excluded.node, until = excluded.until
                -- The later beat wins: a node that the terminal has left must not shorten or turn back the lease.
                where excluded.until >= leases.until or leases.node = excluded.node
                """, ct);
            await work.CommitAsync(ct);
        }
        finally { _writing.Release(); }
    }
}

/// <summary>The name of this node among its peers.</summary>
public sealed record NodeName(string Value);
