using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>What days do to cards: a temporary card ends, its holder's own card is good again, an inspection falls due. <clause>INA 第16-6</clause></summary>
internal sealed class CardDates(Store store, CardChange change, Permissions permissions, Active<CardsPolicy> policy, TimeProvider time)
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
        var over = await work.QueryAsync($"select id, state from cards.cards where temporary_until <= {now} and state in ('handed-over', 'personalised') for update skip locked", r => (Card: CardId.Parse(r.GetString(0)), State: r.GetString(1)), ct);
        foreach (var (card, state) in over)
            // One that nobody came for goes back to the others.
            foreach (var one in (state == "personalised" ? await change.RunAsync(work, card, "receive", "当日限りのカードが渡されないまま終了", CardChange.Clock, new Dictionary<string, string>()) : await change.RunAsync(work, card, "revoke", "当日の終了", CardChange.Clock, new Dictionary<string, string>())) ?? []) work.Record(one.Event, one.At);
        // However the day card ended (tonight, collected, reported lost), its holder's own card rests no longer.
        var own = await work.QueryAsync($"""
            select c.id from cards.cards c where c.state = 'suspended' and c.temporary_until is null and c.kind = 'piv-card'
              and not exists (select from cards.cards d where d.person = c.person and d.temporary_until is not null and d.state = 'handed-over') for update skip locked
            """, r => CardId.Parse(r.GetString(0)), ct);
        foreach (var card in own)
            foreach (var one in await change.RunAsync(work, card, "bring-back", "当日限りのカードの終了により再開", CardChange.Clock, new Dictionary<string, string>()) ?? []) work.Record(one.Event, one.At);
        if (over.Count + own.Count == 0) return;
        await work.CommitAsync(ct);
    }

    private async Task TellInspectionsAsync(CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.BeginAsync(ct);
        var due = await work.QueryAsync($"""
            update cards.cards set inspection_told = {now} where state in ('handed-over', 'in-locker') and temporary_until is null and coalesce(inspected_at, changed_at) < {now - policy.Now.InspectionEvery} and (inspection_told is null or inspection_told < {now - TimeSpan.FromDays(30)})
            returning id
            """, r => r.GetString(0), ct);
        if (due.Count == 0) return;
        var keepers = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("cards.inspect"), now), ct);
        work.Notify(keepers.Select(k => k.Id), "カードの点検の時期です", $"{due.Count} 枚のカードが点検の時期を迎えています。", "/cards?state=inspection", now);
        await work.CommitAsync(ct);
    }
}

/// <summary>Cards that wait for somebody's hands.</summary>
internal sealed class CardTasks(Active<CardsPolicy> policy, TimeProvider time) : ITaskSource
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
        if (may.Allows("cards.receive")) tasks.AddRange(await LeftOverAsync(work, ct));
        if (may.Allows("cards.stock") && await StockAsync(work, ct) is var left && left < policy.Now.StockLow) tasks.Add(new("白紙カードの補充", $"残り {left} 枚", "/cards/stock", null));
        return tasks;
    }

    /// <summary>Cards that were made for a request that came to nothing.</summary>
    private async Task<IEnumerable<WaitingTask>> LeftOverAsync(UnitOfWork work, CancellationToken ct)
    {
        var left = new List<Card>();
        foreach (var card in await work.AskAsync(CardRegister.Search(["personalised"], [], ""), ct))
            if (card.Request is not { } request || await work.AskAsync(RequestDesk.Find(request), ct) is not { IsPending: true }) left.Add(card);
        var names = await work.AskAsync(PeopleRegister.Names(left.Select(c => c.Person.Value), time.GetUtcNow()), ct);
        return left.Select(c => new WaitingTask("手渡さなかったカードの返還", $"{names.GetValueOrDefault(c.Person.Value, "")} — {c.Id.Value[..8]}", $"/cards/{c.Id}", c.ChangedAt.AddDays(7)));
    }

    internal static async Task<long> StockAsync(UnitOfWork work, CancellationToken ct) => await work.AskAsync(Question.All($"select coalesce(sum(change), 0) from cards.stock where kind = 'piv-card'", r => r.GetInt64(0)).Select(r => r[0]), ct);
}
