using System.Globalization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.SignIn;

/// <summary>What the sign-in page's script asks of the broker. Everything is bound to the browser's cookie and address.</summary>
internal sealed class SignInEndpoints(Store store, Wakeups wakeups, Active<SignInPolicy> policy, CompleteSignIn complete, Coalescer coalescer, IHostApplicationLifetime lifetime)
{
    /// <summary>How long a question for news waits: below the time-outs of usual proxies.</summary>
    private static readonly TimeSpan LongPoll = TimeSpan.FromSeconds(20), Poll = TimeSpan.FromSeconds(1);

    internal sealed record Handle(string Value);

    /// <summary>What the page shows: state, and beside it the receipt, the cause, or the local time a lock ends.</summary>
    internal sealed record State(string Value, string? Receipt, string? Cause, string? Until)
    {
        internal static State Of(Transaction transaction) => transaction.State switch
        {
            "locked" => transaction.Told?.Split(' ') is [var whose, var end] && DateTimeOffset.TryParse(end, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out var until)
                ? new("locked", null, whose, JapaneseTime.TimeOfDay(until)) : new("locked", null, null, null),
            "refused" => new("refused", transaction.Told, null, null),
            "cancelled" => new("cancelled", null, transaction.Told, null),
            var other => new(other, null, null, null),
        };
    }

    /// <summary>The transaction of this browser, or null: unknown, over, or somebody else's.</summary>
    internal Task<Transaction?> FindAsync(HttpContext context, string id, CancellationToken ct) =>
        Secret.Fits(id) ? store.AskAsync(TransactionStore.Find(id, BeginSignIn.BrowserOf(context), BeginSignIn.AddressOf(context)), ct) : Task.FromResult<Transaction?>(null);

    /// <summary>
    /// A one-time handle for the agent; an earlier one is void. Refused while a prompt is open; one that has not moved for 90 s (ours) is taken
    /// for dead: its agent is gone. What was typed there meanwhile is counted by the card's own tries.
    /// </summary>
    internal async Task<IResult> MakeHandleAsync(HttpContext context, string id, CancellationToken ct)
    {
        var handle = Secret.New(16);
        var made = Secret.Fits(id) && await store.ExecuteAsync($"""
            update sign_in.transactions set state = 'handed', handle_hash = {Secret.Hash(handle)}, handle_expires_at = clock_timestamp() + {policy.Now.HandleLifetime},
                told = null, terminal = null, code_hash = null, changed_at = clock_timestamp()
            where id = {id} and browser_hash = {BeginSignIn.BrowserOf(context)} and address = {BeginSignIn.AddressOf(context)} and expires_at > clock_timestamp() and (state in ('open', 'handed', 'refused', 'locked', 'cancelled', 'proven', 'new-password') or (state in ('claimed', 'pin') and changed_at < clock_timestamp() - interval '90 seconds'))
            """, ct) == 1;
        if (!made && await FindAsync(context, id, ct) is { State: "claimed" or "pin" }) return Problems.Json(StatusCodes.Status409Conflict, "sign-in.under-way", "この端末では暗証番号の入力を待っています。それを終えるか取り消してください。");
        if (!made) return Unknown(context, "sign-in.make-handle");
        wakeups.Wake(SignInSteps.Topic(id));
        return Results.Json(new { handle });
    }

    /// <summary>The state as soon as it differs from <paramref name="seen"/>, or after the long poll.</summary>
    internal async Task<IResult> StateAsync(HttpContext context, string id, string? seen, CancellationToken ct)
    {
        for (var waited = TimeSpan.Zero; ; waited += Poll)
        {
            if (await FindAsync(context, id, ct) is not { } transaction) return Unknown(context, "sign-in.state");
            if (transaction.State != seen || waited >= LongPoll || lifetime.ApplicationStopping.IsCancellationRequested) return Results.Json(State.Of(transaction));
            // A wake-up over Redis when it works, one second when it does not.
            await wakeups.WaitAsync(SignInSteps.Topic(id), Poll, ct);
        }
    }

    internal async Task<IResult> CompleteAsync(HttpContext context, string id, CompleteSignIn.Posted posted, CancellationToken ct)
    {
        switch (await complete.RunAsync(id, posted.Code, BeginSignIn.BrowserOf(context), BeginSignIn.AddressOf(context), ct))
        {
            case CompleteSignIn.Outcome.SignedIn signedIn:
                SessionCookie.Set(context.Response, signedIn.Cookie);
                return Results.Json(new { next = signedIn.Next });
            case CompleteSignIn.Outcome.Refused { Code: "sign-in.code-unknown" }: return Unknown(context, "sign-in.complete");
            // The reason stays in the history: the caller learns that it did not work.
            default: return Problems.Json(StatusCodes.Status403Forbidden, "sign-in.refused", "サインインできませんでした。もう一度始めてください。");
        }
    }

    private IResult Unknown(HttpContext context, string operation)
    {
        coalescer.Add(new(operation, HistoryOutcome.Refused, "sign-in.no-such-transaction") { Address = BeginSignIn.AddressOf(context) });
        return Problems.Json(StatusCodes.Status404NotFound, "sign-in.no-such-transaction", "このサインインは終了したか、別のブラウザーで始められたものです。業務システムから開き直してください。");
    }
}
