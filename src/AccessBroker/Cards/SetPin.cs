using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Lockout;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.Cards;

/// <summary>
/// The operator types a PIN of their own at the station: at hand-over, or when it is set anew. The PUK that this needs goes to the card and is rotated
/// at once. A slip with a printed PIN is the variant for whoever is not there. <clause>INA 第7-1, MIC 6.2(5)②</clause>
/// </summary>
internal abstract class SetPin(CardSecrets secrets, TimeProvider time) : CardScript
{
    protected TimeProvider Time => time;

    internal override async Task<CardCommands> NextAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        switch (now.Step)
        {
            case 0: return CardCommands.Of(now, Command("read"));
            case 1:
                if (now.Card is null || ReadCard(results[0]) != now.Card) throw new CardWorkException("wrong-card");
                return await AskAsync(work, now, 0, ct);
            case 2 or 3 when now.Data["asked"] is not null:
                // The last rotation may have reached the card but not us: the next PUK is tried once.
                if (StrictJson.Text(results[0], "puk") == "wrong" && now.Step == 2) return await AskAsync(work, now, 1, ct);
                if (!Ok(results[0])) throw new CardWorkException(StrictJson.Text(results[0], "cause") is { Length: > 0 and <= 20 } cause ? cause : "cancelled");
                return await ReceivedAsync(work, now, results[0], ct);
            default:
                // The rotation: its loss costs nothing, for at the next use the PUK after the recorded one is tried too.
                if (!Ok(results[0])) throw new CardWorkException("card-unreadable");
                await work.ExecuteAsync($"update cards.cards set puk_counter = {now.Data["puk"]!.GetValue<int>() + 1} where id = {now.Card}", ct);
                return CardCommands.Finished(now, now.Data["told"]!.GetValue<string>());
        }
    }

    private async Task<CardCommands> AskAsync(UnitOfWork work, CardWork now, int ahead, CancellationToken ct)
    {
        var card = (await work.AskAsync(CardRegister.Lock(now.Card!.Value), ct))!;
        if (await ProblemAsync(work, now, card, ct) is { } problem) throw new CardWorkException(problem);
        var name = (await work.AskAsync(PeopleRegister.Find(now.Person, time.GetUtcNow()), ct))?.Name ?? "";
        now.Data["puk"] = card.PukCounter + ahead;
        now.Data["asked"] = true;
        now.Data["nonce"] = Secret.New();
        var puk = await secrets.PukAsync(card.Id.Value, card.PukCounter + ahead, ct);
        return CardCommands.Of(now, Command(now.Data["slip"] is null ? "new-pin" : "slip-pin", ("puk", Bytes(puk)), ("nonce", now.Data["nonce"]!.GetValue<string>()), ("name", name), ("card", card.Id.Value)));
    }

    private async Task<CardCommands> ReceivedAsync(UnitOfWork work, CardWork now, JsonElement typed, CancellationToken ct)
    {
        var card = (await work.AskAsync(CardRegister.Lock(now.Card!.Value), ct))!;
        if (!CardProof.Received(typed, card.SignInKey, now.Data["nonce"]!.GetValue<string>(), card.Id)) throw new CardWorkException("card-unreadable");
        now.Data.Remove("asked");
        var puk = now.Data["puk"]!.GetValue<int>();
        // With the receipt the PIN is set: register, request and card say so in this round, whatever becomes of the rotation.
        await work.ExecuteAsync($"update cards.cards set puk_counter = {puk}, tries_left = null, first_pin_until = {FirstPinUntil(now)} where id = {card.Id}", ct);
        now.Data["told"] = await DoneAsync(work, now, card, ct);
        return CardCommands.Of(now with { Step = 3 }, Command("set-puk", ("current", Bytes(await secrets.PukAsync(card.Id.Value, puk, ct))), ("next", Bytes(await secrets.PukAsync(card.Id.Value, puk + 1, ct)))));
    }

    internal override Task<string> BrokenOffAsync(UnitOfWork work, CardWork now, string cause, CancellationToken ct) => Task.FromResult(now.Data["told"]?.GetValue<string>() ?? cause);

    private protected virtual DateTimeOffset? FirstPinUntil(CardWork now) => null;
    private protected abstract Task<string?> ProblemAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct);
    private protected abstract Task<string> DoneAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct);
}

/// <summary>The card goes into its operator's hands, who sets its PIN; with it the request is done. <clause>INA 第16, MIC 5.4(1)③</clause></summary>
internal sealed class HandOver(CardSecrets secrets, RequestDesk desk, CardChange change, Active<CardsPolicy> policy, TimeProvider time) : SetPin(secrets, time)
{
    internal override string Kind => "hand-over";
    internal override string Title => "カードの手渡し";

    private protected override DateTimeOffset? FirstPinUntil(CardWork now) => now.Data["slip"] is null ? null : Time.GetUtcNow() + policy.Now.FirstPinLifetime;

    private protected override async Task<string?> ProblemAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct)
    {
        if (card.State != "personalised") return "wrong-card";
        var (refusal, request) = await desk.BeginExecutionAsync(work, now.StartedBy, now.Request!.Value, null, ct);
        return refusal is not null || await CardRequest.HandOverProblemAsync(work, request!, now.Person, Time.GetUtcNow(), ct) is not null ? "hand-over-blocked" : null;
    }

    private protected override async Task<string> DoneAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct)
    {
        var (refusal, request) = await desk.BeginExecutionAsync(work, now.StartedBy, now.Request!.Value, null, ct);
        if (refusal is not null || await CardRequest.HandOverProblemAsync(work, request!, now.Person, Time.GetUtcNow(), ct) is not null) throw new CardWorkException("hand-over-blocked");
        if (card.TemporaryUntil is not null)
            foreach (var own in (await work.AskAsync(CardRegister.OfPerson(now.Person), ct)).Where(c => c.TemporaryUntil is null && c.State is "handed-over" or "in-locker"))
                foreach (var one in await change.RunAsync(work, own.Id, "leave-at-home", "忘れたため一時停止", now.StartedBy, new Dictionary<string, string>()) ?? []) work.Record(one.Event, one.At);
        var more = new Dictionary<string, string> { ["identity"] = now.Data["identity"]!.GetValue<string>(), ["receipt"] = now.Data["slip"] is null ? "本人が暗証番号を設定し署名" : "封緘用紙", ["request"] = $"{now.Request}" };
        foreach (var one in await change.RunAsync(work, card.Id, "hand-over", "手渡し", now.StartedBy, more) ?? throw new CardWorkException("wrong-card")) work.Record(one.Event, one.At);
        if (await desk.CompleteAsync(work, request!, now.StartedBy, "", ct) is not null) throw new CardWorkException("hand-over-blocked");
        return "handed-over";
    }
}

/// <summary>A forgotten or blocked PIN: its holder sets a new one, a second person has confirmed. </summary>
internal sealed class UnblockPin(CardSecrets secrets, RequestDesk desk, TimeProvider time) : SetPin(secrets, time)
{
    internal override string Kind => "unblock";
    internal override string Title => "暗証番号の再設定";

    private protected override async Task<string?> ProblemAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct) =>
        card.State != "handed-over" || card.Person != now.Person || (await desk.BeginExecutionAsync(work, now.StartedBy, now.Request!.Value, null, ct)).Refusal is not null ? "hand-over-blocked" : null;

    private protected override async Task<string> DoneAsync(UnitOfWork work, CardWork now, Card card, CancellationToken ct)
    {
        var (refusal, request) = await desk.BeginExecutionAsync(work, now.StartedBy, now.Request!.Value, null, ct);
        if (refusal is not null || await desk.CompleteAsync(work, request!, now.StartedBy, "", ct) is not null) throw new CardWorkException("hand-over-blocked");
        var entry = card.Entry();
        (entry["form"], entry["identity"], entry["witness"]) = (request!["form"], request["identity"], string.Join(' ', request.Approvers));
        work.Enter("cards", card.Id.Value, "暗証番号の再設定", now.StartedBy.Value, entry, Time.GetUtcNow());
        work.Record(new("cards.unblock", HistoryOutcome.Done) { Person = now.StartedBy, Card = card.Id, Terminal = now.Terminal, Details = new Dictionary<string, string> { ["subject"] = card.Person.Value, ["form"] = request["form"] } }, Time.GetUtcNow());
        return "pin-set";
    }
}

/// <summary>An operator changes the PIN of their own card at their own terminal. The broker sees neither. <clause>INA 第16-4</clause></summary>
internal sealed class ChangePin(AccessFailures failures, TimeProvider time) : CardScript
{
    internal override string Kind => "change-pin";
    internal override bool OnIssuingReader => false;
    internal override string Title => "暗証番号の変更";

    internal override async Task<CardCommands> NextAsync(UnitOfWork work, CardWork now, IReadOnlyList<JsonElement> results, CancellationToken ct)
    {
        var card = (await work.AskAsync(CardRegister.Find(now.Card!.Value), ct))!;
        switch (now.Step)
        {
            case 0:
                now.Data["nonce"] = Secret.New();
                return CardCommands.Of(now, Command("read"), Command("prove", ("nonce", now.Data["nonce"]!.GetValue<string>())));
            case 1:
                if (results.Count != 2 || ReadCard(results[0]) != now.Card || !card.Usable || !CardProof.Holds(results[1], card.PossessionKey, now.Data["nonce"]!.GetValue<string>(), now.Terminal)) throw new CardWorkException("wrong-card");
                var (here, everywhere) = (failures.LockOf(now.Person, now.Terminal), failures.LockOf(now.Person));
                await work.AskAsync(ct, here, everywhere);
                if (here.Answer is not null || everywhere.Answer is not null) throw new CardWorkException("locked");
                return CardCommands.Of(now, Command("change-pin"));
            default:
                if (Ok(results[0]))
                {
                    work.Record(new("cards.change-pin", HistoryOutcome.Done) { Person = now.Person, Card = now.Card, Terminal = now.Terminal }, time.GetUtcNow());
                    return CardCommands.Finished(now, "pin-changed");
                }
                if (StrictJson.Text(results[0], "cause") != "wrong-pin") throw new CardWorkException(StrictJson.Text(results[0], "cause") is "card-blocked" ? "card-blocked" : "cancelled");
                // Counted here; the next sign-in must not take the card's lost try for one that nobody has seen.
                await failures.CountAsync(work, now.Terminal, now.Person, ct);
                await work.ExecuteAsync($"update cards.cards set tries_left = greatest(tries_left - 1, 0) where id = {now.Card}", ct);
                work.Record(new("cards.change-pin", HistoryOutcome.Refused, "cards.wrong-pin") { Person = now.Person, Card = now.Card, Terminal = now.Terminal }, time.GetUtcNow());
                return CardCommands.Finished(now, "wrong-pin");
        }
    }
}
