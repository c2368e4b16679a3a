using System.Collections.Concurrent;
using AccessBroker.Database;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.Sessions;

/// <summary>
/// What this node knows of the terminals attached to it: their presence epochs and last signs of life. Written to the database in one batch
/// a second; the database's clock judges.
/// </summary>
public sealed class Leases(Store store, SessionsPolicy policy, NodeName node, TimeProvider time) : IDisposable
{
    private sealed record Known(string Epoch, string System, long LastBeat);
    private readonly ConcurrentDictionary<TerminalId, Known> _known = new();
    private readonly SemaphoreSlim _writing = new(1);

    /// <summary>This node has heard of a card event that the session does not survive, whatever the database still says.</summary>
    internal bool Contradicts(LiveSession session) =>
        // Older knowledge proves nothing: the terminal may have gone to another node; and by then its old lease is over anyway.
        _known.TryGetValue(session.Terminal, out var known) && known.Epoch != session.Epoch && time.GetElapsedTime(known.LastBeat) < policy.Lease;

    internal void Beat(AttachedTerminal terminal) => _known[terminal.Terminal.Id] = new(terminal.Epoch, terminal.Terminal.System, time.GetTimestamp());

    /// <summary>This node no longer speaks for the terminal.</summary>
    internal void Forget(TerminalId terminal, string epoch) { if (_known.TryGetValue(terminal, out var known) && known.Epoch == epoch) _known.TryRemove(new(terminal, known)); }

    /// <summary>A new epoch: remembered at once, written at once.</summary>
    internal async Task ChangeAsync(AttachedTerminal terminal, CancellationToken ct)
    {
        Beat(terminal);
        await InTurnAsync(work => WriteAsync(work, [terminal.Terminal.Id], ct), ct);
    }

    /// <summary>One transaction a second: the pulse that says "leases are being prolonged", and all terminals heard of within a lease, each to a lease after its last beat.</summary>
    internal Task RefreshAsync(CancellationToken ct) => InTurnAsync(async work =>
    {
        await PulseAsync(work, ct);
        await WriteAsync(work, [.. _known.Where(k => time.GetElapsedTime(k.Value.LastBeat) < policy.Lease).Select(k => k.Key)], ct);
    }, ct);

    /// <inheritdoc/>
    public void Dispose() => _writing.Dispose();

    /// <summary>Whichever node comes first after a pause of 2 to 30 s moves every lease that held at its beginning on by its length (<c>sessions.lease_clock</c>).</summary>
    private static Task<int> PulseAsync(UnitOfWork work, CancellationToken ct) => work.ExecuteAsync($"""
        with before as (select at from sessions.pulse for update),
             pulse as (update sessions.pulse set at = greatest(pulse.at, clock_timestamp()) from before returning before.at as began, clock_timestamp() - before.at as pause)
        update sessions.leases set until = until + pause from pulse
        where pause between interval '2 seconds' and interval '30 seconds' and until > began
        """, ct);

    private async Task InTurnAsync(Func<UnitOfWork, Task> write, CancellationToken ct)
    {
        // In turn: a batch that began before a card event must not write the old epoch after it.
        await _writing.WaitAsync(ct);
        try
        {
            await using var work = await store.BeginAsync(ct);
            await write(work);
            await work.CommitAsync(ct);
        }
        finally { _writing.Release(); }
    }

    private async Task WriteAsync(UnitOfWork work, TerminalId[] terminals, CancellationToken ct)
    {
        var rows = terminals.Select(t => (Terminal: t.Value, Known: _known.GetValueOrDefault(t))).Where(r => r.Known is not null).ToArray();
        if (rows.Length == 0) return;
        await work.ExecuteAsync($"""
            insert into sessions.leases (terminal, epoch, system, node, until)
            select terminal, epoch, system, {node.Value}, clock_timestamp() + left_over
            from unnest({rows.Select(r => r.Terminal).ToArray()}, {rows.Select(r => r.Known!.Epoch).ToArray()}, {rows.Select(r => r.Known!.System).ToArray()}, {rows.Select(r => policy.Lease - time.GetElapsedTime(r.Known!.LastBeat)).ToArray()}) as given (terminal, epoch, system, left_over)
            order by terminal
            on conflict (terminal) do update set epoch = excluded.epoch, system = excluded.system, node = excluded.node, until = excluded.until,
                -- A lease that ran out, even for a moment, is a new one: what lived on the old one stays dead.
                since = case when leases.epoch = excluded.epoch and leases.until > (select now from sessions.lease_clock) then leases.since else clock_timestamp() end
            -- The later beat wins: a node that the terminal has left must not shorten or turn back the lease.
            where excluded.until >= leases.until or leases.node = excluded.node
            """, ct);
    }
}

/// <summary>The name of this node among its peers.</summary>
public sealed record NodeName(string Value);
