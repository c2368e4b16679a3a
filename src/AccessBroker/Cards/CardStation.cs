using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Terminals;
using Npgsql;

namespace AccessBroker.Cards;

/// <summary>Runs the scripts: the agent claims a work with its handle and asks, round by round, what the card must do.</summary>
internal sealed class CardStation(Store store, IEnumerable<CardScript> scripts, Wakeups wakeups, TimeProvider time)
{
    private readonly Dictionary<string, CardScript> _scripts = scripts.ToDictionary(s => s.Kind, StringComparer.Ordinal);

    internal async Task<JsonObject> ClaimAsync(AttachedTerminal terminal, string handle, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (!Secret.Fits(handle) || await work.AskAsync(CardWork.Take(handle, terminal.Terminal.Id), ct) is not { } taken) throw new TerminalRequestException("cards.handle-unknown");
        if (!await work.AskAsync(TerminalRegister.IsInGoodStanding(terminal, time.GetUtcNow()), ct)) throw new TerminalRequestException("cards.terminal-not-in-use");
        var script = _scripts[taken.Kind];
        var next = await script.NextAsync(work, taken, [], ct);
        CardWork.Move(work, next.Work, "running", null);
        await CommitAsync(work, taken.Id, ct);
        return new() { ["work"] = taken.Id, ["issuing"] = script.OnIssuingReader, ["title"] = script.Title, ["commands"] = next.Commands };
    }

    internal async Task<JsonObject> NextAsync(AttachedTerminal terminal, string id, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(CardWork.Lock(id, terminal.Terminal.Id), ct) is not { } now) throw new TerminalRequestException("cards.no-such-work");
        CardCommands next;
        try { next = results.Count > 0 ? await _scripts[now.Kind].NextAsync(work, now, results, ct) : throw new CardWorkException("card-unreadable"); }
        catch (CardWorkException e)
        {
            // What the round had begun is rolled back; what earlier rounds did is put right.
            await work.DisposeAsync();
            await FailAsync(terminal, id, e.Message, ct);
            return new() { ["done"] = false };
        }
        CardWork.Move(work, next.Work, next.Told is null ? "running" : "done", next.Told);
        await CommitAsync(work, id, ct);
        return next.Told is null ? new() { ["commands"] = next.Commands } : new() { ["done"] = true };
    }

    internal async Task FailAsync(AttachedTerminal? terminal, string id, string cause, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var found = await work.AskAsync(CardWork.Running(id), ct);
        if (found is not [var now] || (terminal is not null && now.Terminal != terminal.Terminal.Id)) return;
        // What was done before it broke off is done.
        CardWork.Move(work, now, now.Data["told"] is null ? "failed" : "done", await _scripts[now.Kind].BrokenOffAsync(work, now, cause, ct));
        work.Record(new("cards.work-failed", HistoryOutcome.Refused, "cards.work-failed") { Person = now.StartedBy, Card = now.Card, Terminal = now.Terminal, Details = new Dictionary<string, string> { ["kind"] = now.Kind, ["cause"] = cause } }, time.GetUtcNow());
        await CommitAsync(work, id, ct);
    }

    /// <summary>A work whose agent has not been heard for long is broken off.</summary>
    internal async Task SweepAsync(CancellationToken ct)
    {
        List<string> silent;
        await using (var work = await store.ReadAsync(ct))
            silent = await work.QueryAsync($"select id from cards.works where state = 'running' and (touched_at < clock_timestamp() - {CardWork.Silence} or expires_at < clock_timestamp())", r => r.GetString(0), ct);
        foreach (var id in silent) await FailAsync(null, id, "timed-out", ct);
        await store.ExecuteAsync($"delete from cards.works where ctid in (select ctid from cards.works where state <> 'running' and expires_at < clock_timestamp() - interval '1 day' limit 500)", ct);
    }

    private async Task CommitAsync(UnitOfWork work, string id, CancellationToken ct)
    {
        work.AfterCommit(() => wakeups.Wake(CardWork.Topic(id)));
        await work.CommitAsync(ct);
    }
}

/// <summary>The agent's three messages about work on cards.</summary>
internal sealed class ClaimCardWork(CardStation station) : ITerminalRequest
{
    public string Type => "card-claim";
    public Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct) => station.ClaimAsync(terminal, StrictJson.Text(request, "handle") ?? "", ct);
}

internal sealed class NextCardWork(CardStation station) : ITerminalRequest
{
    public string Type => "card-next";
    public Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        var results = request.TryGetProperty("results", out var list) && list.ValueKind == JsonValueKind.Array && list.GetArrayLength() <= 16 ? list.EnumerateArray().ToList() : throw new TerminalRequestException("terminals.malformed");
        return results.TrueForAll(r => r.ValueKind == JsonValueKind.Object) ? station.NextAsync(terminal, StrictJson.Text(request, "work") ?? "", results, ct) : throw new TerminalRequestException("terminals.malformed");
    }
}

internal sealed class FailCardWork(CardStation station) : ITerminalRequest
{
    private static readonly string[] Causes = ["no-card", "no-reader", "card-removed", "card-unreadable", "cancelled"];
    public string Type => "card-failed";
    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        await station.FailAsync(terminal, StrictJson.Text(request, "work") ?? "", StrictJson.Text(request, "cause") is { } cause && Causes.Contains(cause) ? cause : "card-unreadable", ct);
        return [];
    }
}

/// <summary>Breaks off works nobody goes on with, ends temporary cards, tells of inspections that are due.</summary>
internal sealed partial class CardClock(CardStation station, CardDates dates, ILogger<CardClock> log, TimeProvider time) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await station.SweepAsync(stoppingToken);
                await dates.TurnAsync(stoppingToken);
            }
            catch (Exception e) when (e is NpgsqlException or IUnavailable) { Waiting(log, e.Message); }
        }
    }

    [LoggerMessage(LogLevel.Warning, "cards wait for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}
