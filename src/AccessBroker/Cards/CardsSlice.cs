using AccessBroker.Approvals;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Sessions;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.Cards;

internal static class CardsSlice
{
    internal static void AddCards(this IServiceCollection services, string policyDirectory)
    {
        services.AddPolicy<CardsPolicy>(policyDirectory, "cards");
        services.AddSingleton<CardChange>().AddSingleton<SuspectedLeak>().AddSingleton<IssueCard>().AddSingleton<CardStation>().AddSingleton<CardDates>().AddHostedService<CardClock>();
        services.AddSingleton<RequestKind, IssueCardKind>().AddSingleton<RequestKind, ReplaceCardKind>().AddSingleton<RequestKind, TemporaryCardKind>().AddSingleton<RequestKind, CancelCardKind>()
            .AddSingleton<RequestKind, UnblockPinKind>().AddSingleton<RequestKind, ConsultKind>().AddSingleton<IFieldOptions, CardOptions>();
        services.AddSingleton<Personalise>().AddSingleton<CardScript>(p => p.GetRequiredService<Personalise>()).AddSingleton<CardScript, FirstCard>().AddSingleton<CardScript, HandOver>().AddSingleton<CardScript, UnblockPin>().AddSingleton<CardScript, ChangePin>();
        services.AddSingleton<ITerminalRequest, ClaimCardWork>().AddSingleton<ITerminalRequest, NextCardWork>().AddSingleton<ITerminalRequest, FailCardWork>();
        services.AddSingleton<ITaskSource, CardTasks>();
        services.AddSingleton(new MenuEntry("カード", "/cards", 30, ["cards.read"])).AddSingleton(new MenuEntry("白紙カードの在庫", "/cards/stock", 35, ["cards.stock"]))
            .AddSingleton(new MenuEntry("自分のカード・暗証番号の変更", "/cards/mine", 10, [])).AddSingleton(new MenuEntry("運用基準", "/standard", 70, []));
        services.AddSingleton(new Register("cards", "操作識別カード管理簿", "INA 第16; MIC 5.4", "registers.read",
            [("person", "使用者"), ("kind", "種類"), ("serial", "製造番号"), ("state", "状態"), ("locker", "保管場所"), ("temporaryUntil", "当日限り"), ("request", "申請"), ("reason", "理由"), ("method", "廃棄方法"), ("witness", "立会人")])
        { PersonColumns = ["person", "witness"], Words = new Dictionary<string, Func<string, string>> { ["kind"] = CardNames.Kind, ["state"] = CardNames.State } });
    }

    internal static void MapCards(this IEndpointRouteBuilder app)
    {
        app.MapPost("/cards/works/{id}/handle", async (HttpContext context, string id, Database.Store store, CancellationToken ct) =>
        {
            if (LiveSession.Of(context) is not { } session || !Secret.Fits(id)) return Results.StatusCode(StatusCodes.Status401Unauthorized);
            var handle = Secret.New(16);
            return await store.ExecuteAsync($"update cards.works set state = 'handed', handle_hash = {Secret.Hash(handle)}, touched_at = clock_timestamp() where id = {id} and started_by = {session.Person} and terminal = {session.Terminal} and state in ('open', 'handed') and expires_at > clock_timestamp()", ct) == 1
                ? Results.Json(new { handle }) : Problems.Json(StatusCodes.Status409Conflict, "cards.work-over", "この作業は終わったか、進行中です。");
        }).WithMetadata(new AuditedAttribute("cards.work-handle"));
        app.MapGet("/cards/works/{id}/state", async (HttpContext context, string id, string? seen, Database.Store store, Database.Wakeups wakeups, CancellationToken ct) =>
        {
            for (var waited = 0; ; waited++)
            {
                if (LiveSession.Of(context) is not { } session || !Secret.Fits(id) || await store.AskAsync(CardWork.Find(id, session.Person, session.Terminal), ct) is not { } work) return Results.StatusCode(StatusCodes.Status404NotFound);
                if (work.State != seen || waited >= 20) return Results.Json(new { value = work.State, told = work.State is "done" or "failed" ? CardWork.Sentence(work.Told) : "" });
                await wakeups.WaitAsync(CardWork.Topic(id), TimeSpan.FromSeconds(1), ct);
            }
        });
    }
}
