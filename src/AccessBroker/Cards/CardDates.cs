using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>What days do to cards: a temporary card ends, its holder's own card is good again, an inspection falls due. <clause>INA 第16-6</clause></summary>
internal sealed class CardDates(Store store, CardChange change, Permissions permissions, CardsPolicy policy, TimeProvider time)
{
    internal async Task TurnAsync(CancellationToken ct)
    {
        await EndTemporaryAsync(ct);
        await TellInspectionsAsync(ct);
    }

    private async Task EndTemporaryAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var over = await work.QueryAsync($"select id, person from cards.cards where temporary_until <= {now} and state = 'handed-over' for update skip locked", r => (Card: CardId.Parse(r.GetString(0)), Person: PersonId.Parse(r.GetString(1))), ct);
        if (over.Count == 0) return;
        foreach (var (card, person) in over)
        {
            foreach (var one in await change.RunAsync(work, card, "revoke", "当日の終了", CardChange.Clock, new Dictionary<string, string>()) ?? []) work.Record(one.Event, one.At);
            foreach (var own in (await work.AskAsync(CardRegister.OfPerson(person), ct)).Where(c => c.State == "suspended"))
                foreach (var one in await change.RunAsync(work, own.Id, "bring-back", "当日カードの終了により再開", CardChange.Clock, new Dictionary<string, string>()) ?? []) work.Record(one.Event, one.At);
        }
        await work.CommitAsync(ct);
    }

    private async Task TellInspectionsAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var due = await work.QueryAsync($"""
            update cards.cards set inspection_told = {now} where state in ('handed-over', 'in-locker') and temporary_until is null and coalesce(inspected_at, changed_at) < {now - policy.InspectionEvery} and (inspection_told is null or inspection_told < {now - TimeSpan.FromDays(30)})
            returning id
            """, r => r.GetString(0), ct);
        if (due.Count == 0) return;
        var keepers = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("cards.inspect"), now), ct);
        work.Notify(keepers.Select(k => k.Id), "カードの点検の時期です", $"{due.Count} 枚のカードが点検の時期を迎えています。", "/cards?state=inspection", now);
        await work.CommitAsync(ct);
    }
}

/// <summary>Cards that wait for somebody's hands.</summary>
internal sealed class CardTasks(CardsPolicy policy, TimeProvider time) : ITaskSource
{
    public async Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct)
    {
        var tasks = new List<WaitingTask>();
        var wanted = ((string State, string Operation, string Title)[])[("revoked", "cards.collect", "カードの回収"), ("collected", "cards.receive", "返還の受領"), ("spoiled", "cards.destroy", "作成に失敗したカードの廃棄"), ("returned", "cards.destroy", "返還されたカードの廃棄")];
        var mine = wanted.Where(w => may.Allows(w.Operation)).ToList();
        if (mine.Count > 0)
        {
            var cards = await work.AskAsync(CardRegister.Search([.. mine.Select(m => m.State)], [], ""), ct);
            var names = await work.AskAsync(PeopleRegister.Names(cards.Select(c => c.Person.Value), time.GetUtcNow()), ct);
            // A lent card that came back waits for its next day, not for the shredder.
            tasks.AddRange(cards.Where(c => !(c.State == "returned" && c.TemporaryUntil is not null)).Select(c => new WaitingTask(mine.First(m => m.State == c.State).Title, $"{names.GetValueOrDefault(c.Person.Value, "")} — {c.Id.Value[..8]}", $"/cards/{c.Id}", c.ChangedAt.AddDays(7))));
        }
        if (may.Allows("cards.stock") && await StockAsync(work, ct) is var left && left < policy.StockLow) tasks.Add(new("白紙カードの補充", $"残り {left} 枚", "/cards/stock", null));
        return tasks;
    }

    internal static async Task<long> StockAsync(UnitOfWork work, CancellationToken ct) => await work.AskAsync(Question.All($"select coalesce(sum(change), 0) from cards.stock where kind = 'piv-card'", r => r.GetInt64(0)).Select(r => r[0]), ct);
}
