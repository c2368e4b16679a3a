using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.Notices;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Terminals;

/// <summary>Shows notices at the terminal where their reader sits; the agent says when it has.</summary>
internal sealed class TerminalNotices(Store store, TerminalStream stream, TimeProvider time) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(2), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            if (stream.AttachedIds() is not { Length: > 0 } attached) continue;
            try
            {
                foreach (var notice in await store.AskAsync(NoticeBox.TakeForTerminals(attached), stoppingToken))
                    await stream.PushAsync(TerminalId.Parse(notice.Terminal), new() { ["type"] = "notice", ["notice"] = notice.Id, ["text"] = notice.Text }, stoppingToken);
            }
            catch (NpgsqlException) { /* the database is away: notices wait there */ }
        }
    }
}

/// <summary>The agent has shown a notice.</summary>
internal sealed class NoticeShown(Store store) : ITerminalRequest
{
    public string Type => "notice-shown";

    public async Task<JsonObject> AnswerAsync(AttachedTerminal terminal, JsonElement request, CancellationToken ct)
    {
        if (!request.TryGetProperty("notice", out var id) || !id.TryGetInt64(out var notice)) throw new TerminalRequestException("terminals.malformed");
        await store.ExecuteAsync(NoticeBox.Shown(notice, terminal.Terminal.Id), ct);
        return [];
    }
}
