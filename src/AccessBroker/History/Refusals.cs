using System.Collections.Concurrent;
using System.Security.Claims;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.History;

/// <summary>Names the operation of an endpoint or page in the history. Every endpoint that changes something carries one.</summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class AuditedAttribute(string operation) : Attribute
{
    /// <summary>Operation name, <c>slice.kebab-case</c>; never renamed.</summary>
    public string Operation { get; } = operation;
}

/// <summary>
/// Records refused attempts. It stands between authentication and authorization: there it knows who asked and sees every 401 and 403.
/// Attempts of nobody known are coalesced, so that nobody outside can fill seven years of log.
/// </summary>
internal sealed class RefusalMiddleware(RequestDelegate next, Store store, Coalescer coalescer, TimeProvider time)
{
    /// <summary>Set once authorization let the request through.</summary>
    internal const string Passed = "history.authorization-passed";

    public async Task InvokeAsync(HttpContext context)
    {
        await next(context);
        // An operation that answers 403 by its own rule has recorded so itself.
        if (context.Items.ContainsKey(Passed)) return;
        if (context.Response.StatusCode is not (StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden)) return;
        if (context.GetEndpoint()?.Metadata.GetMetadata<AuditedAttribute>() is not { } audited) return;
        var entry = new HistoryEvent(audited.Operation, HistoryOutcome.Refused, "authorization.not-permitted")
        {
            Person = PersonId.TryParse(context.User.FindFirstValue("sub"), null, out var person) ? person : null,
            Terminal = TerminalId.TryParse(context.User.FindFirstValue("terminal"), null, out var terminal) ? terminal : null,
            Address = context.Connection.RemoteIpAddress?.ToString(),
        };
        if (entry.Person is null) coalescer.Add(entry);
        else await store.RecordAsync(entry, time.GetUtcNow(), CancellationToken.None);
    }
}

/// <summary>
/// Counts equal refusals of unauthenticated callers (same operation, reason, client, address) and writes one event per minute and kind.
/// At most <see cref="Kinds"/> kinds of one operation are kept apart; what is beyond them is counted without its address. A caller must not
/// choose kinds: clients are named only when they are registered.
/// </summary>
public sealed partial class Coalescer(Store store, TimeProvider time, ILogger<Coalescer> log) : BackgroundService
{
    /// <summary>Ours: 100 kinds of an operation a minute.</summary>
    public const int Kinds = 100;

    private ConcurrentDictionary<(string Operation, string Reason, string? Client, string? Address), int> _counts = new();

    /// <summary>Counts one refusal. Never throws, never waits.</summary>
    public void Add(HistoryEvent entry)
    {
        var key = (entry.Operation, entry.Reason, entry.Client, entry.Address);
        if (!_counts.ContainsKey(key) && _counts.Count >= Kinds && _counts.Keys.Count(k => k.Operation == key.Operation) >= Kinds) key = key with { Client = null, Address = null };
        _counts.AddOrUpdate(key, 1, (_, count) => count + 1);
    }

    /// <summary>Writes what was counted so far.</summary>
    public async Task FlushAsync(CancellationToken ct)
    {
        var counts = Interlocked.Exchange(ref _counts, new());
        if (counts.IsEmpty) return;
        try
        {
            await using var work = await store.BeginAsync(ct);
            foreach (var (key, count) in counts)
                work.BeforeCommit(HistoryLog.Insert(new(key.Operation, HistoryOutcome.Refused, key.Reason) { Client = key.Client, Address = key.Address, Count = count }, time.GetUtcNow(), "coalesced"));
            await work.CommitAsync(ct);
        }
        catch (NpgsqlException)
        {
            foreach (var (key, count) in counts) _counts.AddOrUpdate(key, count, (_, more) => more + count);
            throw;
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromMinutes(1));
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await TryFlushAsync(stoppingToken);
        }
        finally { await TryFlushAsync(CancellationToken.None); }
    }

    private async Task TryFlushAsync(CancellationToken ct)
    {
        try { await FlushAsync(ct); }
        catch (NpgsqlException e) { FlushFailed(log, e); }
    }

    [LoggerMessage(LogLevel.Warning, "coalesced refusals wait for the database")]
    private static partial void FlushFailed(ILogger log, Exception e);
}
