using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Sessions;

namespace AccessBroker.Cards;

/// <summary>One change of a card's state, in the caller's unit of work: row, register, and the end of what lives on it.</summary>
public sealed class CardChange(LiveSessions sessions, TimeProvider time)
{
    /// <summary>Who acts when a date does.</summary>
    public static readonly PersonId Clock = PersonId.Parse("system");

    /// <summary>
    /// Does the act. Returns the events to record (the ends of sessions first among them); null: the card is not there or the act does not fit its state.
    /// </summary>
    /// <param name="what">The word for the register, in Japanese.</param>
    /// <param name="more">Further fields of the register's entry: method, witness, reason.</param>
    public async Task<List<Narrowed>?> RunAsync(UnitOfWork work, CardId id, string act, string what, PersonId by, IReadOnlyDictionary<string, string> more, string? locker = null)
    {
        var now = time.GetUtcNow();
        if (await work.AskAsync(CardRegister.Lock(id), CancellationToken.None) is not { } card || CardRule.After(card.State, act) is not { } state) return null;
        // One usable card each: the day card ends when its holder's own comes back, and a second one of one's own never comes to life.
        var others = act == "bring-back" ? (await work.AskAsync(CardRegister.OfPerson(card.Person), CancellationToken.None)).Where(c => card.Kind == "piv-card" && c.Id != id && c.State is "handed-over" or "in-locker").ToList() : [];
        if (others.Exists(c => c.Id != id && c.TemporaryUntil is null)) return null;
        await work.ExecuteAsync($"""
            update cards.cards set state = {state}, changed_at = {now}, locker = coalesce({locker}, locker), collected_by = case when {act} = 'collect' then {by.Value} else collected_by end where id = {id}
            """, CancellationToken.None);
        var entry = (card with { State = state, Locker = locker ?? card.Locker }).Entry();
        foreach (var (name, value) in more) entry[name] = value;
        work.Enter("cards", id.Value, what, by.Value, entry, now, removed: state == "destroyed");
        List<Narrowed> lent = [];
        foreach (var other in others) lent.AddRange(await RunAsync(work, other.Id, "revoke", "当日限りの終了", by, new Dictionary<string, string>()) ?? []);
        var ended = state == "handed-over" ? lent : await sessions.EndWithinAsync(work, SessionFilter.OfCard(id), $"sessions.card-{state}");
        var outcome = act is "hand-over" or "check-out" or "bring-back" or "prepared" ? HistoryOutcome.Done : HistoryOutcome.Ended;
        return [new(new($"cards.{act}", outcome, outcome == HistoryOutcome.Done ? "" : $"cards.{state}") { Person = by == Clock ? null : by, Card = id, Details = more.Append(new("subject", card.Person.Value)).ToDictionary() }, now), .. ended];
    }

    /// <summary>The same for what ends or narrows, as an operation of its own that waits for nothing. False: not there, or it does not fit.</summary>
    public static async Task<bool> NarrowAsync(CardChange change, HistorySpool history, CardId id, string act, string what, PersonId by, IReadOnlyDictionary<string, string> more, string? locker = null) =>
        (await history.NarrowAsync(async work => await change.RunAsync(work, id, act, what, by, more, locker) ?? [])).Count > 0;
}
