using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Cards;

/// <summary>A card is reported lost: from then on it opens nothing, and what lives on it ends. <clause>MIC 5.4(1)②</clause></summary>
internal sealed class ReportLostCard(HistorySpool history, LiveSessions sessions, TimeProvider time)
{
    /// <summary>False when there is no such card.</summary>
    internal async Task<bool> RunAsync(CardId card, CancellationToken ct)
    {
        // Never waits for the history: a lost card is lost.
        var reported = await history.NarrowAsync(async work => await work.ExecuteAsync($"update cards.cards set state = 'lost', changed_at = {time.GetUtcNow()} where id = {card} and state <> 'destroyed'", ct) == 0
            ? [] : [new(new("cards.report-lost", HistoryOutcome.Ended, "cards.lost") { Card = card }, time.GetUtcNow())]);
        if (reported.Count == 0) return false;
        await sessions.EndByCardAsync(card, "sessions.card-lost");
        return true;
    }
}
