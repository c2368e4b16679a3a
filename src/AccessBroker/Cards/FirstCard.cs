using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>
/// The cards of the first day, when there is no PIN manager yet: made and handed over in one go, without a request. Only <c>Setup</c> opens such a work.
/// </summary>
internal sealed class FirstCard(Personalise personalise, CardSecrets secrets, CardChange change, TimeProvider time) : SetPin(secrets, time)
{
    private const int Made = 6;

    internal override string Kind => "first-card";
    internal override string Title => "最初のカード";

    internal override async Task<CardCommands> NextAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        if (now.Step == 1 && await work.AskAsync(CardRegister.Find(ReadCard(results[0])), ct) is { State: "personalised" } made && made.Person == now.Person)
            // Made before, and then cancelled: only the PIN is missing.
            return Shifted(await base.NextAsync(work, now with { Card = made.Id }, results, ct));
        if (now.Step < Made)
        {
            var next = await personalise.NextAsync(work, now, results, ct);
            // The card is made: its owner sets the PIN while it is still inside.
            return next.Told is null ? next : CardCommands.Of(next.Work with { Step = Made - 1 }, Command("read"));
        }
        return Shifted(await base.NextAsync(work, now with { Step = now.Step - Made + 1 }, results, ct));
    }

    private static CardCommands Shifted(CardCommands then) => then with { Work = then.Work with { Step = then.Work.Step + Made - 1 } };

    private protected override Task<string?> ProblemAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct) => Task.FromResult(card.State == "personalised" ? null : "wrong-card");

    private protected override async Task<string> DoneAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct)
    {
        // One at a time: two works for one person end with one usable card.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('cards.first-card'))", ct);
        if ((await work.AskAsync(CardRegister.OfPerson(now.Person), ct)).Exists(c => c.Id != card.Id && c.Usable)) throw new CardWorkException("hand-over-blocked");
        foreach (var one in await change.RunAsync(work, card.Id, "hand-over", "手渡し(最初の日)", now.StartedBy, new Dictionary<string, string> { ["receipt"] = "本人が暗証番号を設定し署名" }) ?? throw new CardWorkException("wrong-card")) work.Record(one.Event, one.At);
        return "handed-over";
    }

    internal override Task<string> BrokenOffAsync(UnitOfWork work, CardWork now, string cause, CancellationToken ct) => now.Data["told"] is null ? personalise.BrokenOffAsync(work, now, cause, ct) : base.BrokenOffAsync(work, now, cause, ct);
}

/// <summary>Work on the first cards, for <c>Setup</c>.</summary>
public static class FirstCards
{
    /// <summary>Opens the work for a person at the station; returns its id.</summary>
    public static string Open(UnitOfWork work, PersonId person, TerminalId terminal) => CardWork.Open(work, "first-card", null, person, null, person, terminal, new JsonObject());

    /// <summary>A one-time handle for the agent; null: the work is over or under way.</summary>
    public static async Task<string?> MakeHandleAsync(Store store, string id, PersonId person, TerminalId terminal, CancellationToken ct)
    {
        var handle = Secret.New(16);
        return Secret.Fits(id) && await store.ExecuteAsync($"update cards.works set state = 'handed', handle_hash = {Secret.Hash(handle)}, touched_at = clock_timestamp() where id = {id} and kind = 'first-card' and person = {person} and terminal = {terminal} and state in ('open', 'handed') and expires_at > clock_timestamp()", ct) == 1 ? handle : null;
    }

    /// <summary>How far it is, and what became of it in Japanese; null: no such work.</summary>
    public static async Task<(string State, string Told)?> FindAsync(Store store, string id, PersonId person, TerminalId terminal, CancellationToken ct) =>
        Secret.Fits(id) && await store.AskAsync(CardWork.Find(id, person, terminal), ct) is { Kind: "first-card" } work ? (work.State, work.State is "done" or "failed" ? CardWork.Sentence(work.Told) : "") : null;
}
