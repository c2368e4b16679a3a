using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Cards;

/// <summary>A card is reported lost: from then on it opens nothing, and what lives on it ends. <clause>MIC 5.4(1)②</clause></summary>
internal sealed class ReportLostCard(Store store, LiveSessions sessions, TimeProvider time)
{
    /// <summary>False when there is no such card.</summary>
    internal async Task<bool> RunAsync(CardId card, CancellationToken ct)
    {
        await using (var work = await store.BeginAsync(ct))
        {
            if (await work.ExecuteAsync($"update cards.cards set state = 'lost', changed_at = {time.GetUtcNow()} where id = {card} and state <> 'destroyed'", ct) == 0) return false;
            work.Record(new("cards.report-lost", HistoryOutcome.Ended, "cards.lost") { Card = card }, time.GetUtcNow());
            await work.CommitAsync(ct);
        }
        await sessions.EndByCardAsync(card, "sessions.card-lost");
        return true;
    }
}
