using System.Globalization;
using System.Text.Json;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>A step that the second person has confirmed.</summary>
internal sealed record StepCheck(string Person, DateTimeOffset At, string Note);

/// <summary>
/// Two-person work: it goes on only while a second, different person has the page open that shows what is shown to the worker, signed in at another
/// terminal. Whoever leaves, by closing the page or taking the card out, makes it stand still; it ends when nobody comes back.
/// <clause>MIC 6.1(4)③, OUT-03</clause>
/// </summary>
internal sealed class TwoPersonWork(Store store, Permissions permissions, LiveSessions sessions, IConfirmation confirmation, Wakeups wakeups, IHostApplicationLifetime lifetime, TimeProvider time)
{
    /// <summary>Ours: news every 250 ms; presence is noted each second, and good for 3 s (<see cref="PrivilegedStore"/>).</summary>
    private static readonly TimeSpan News = TimeSpan.FromMilliseconds(250), Beat = TimeSpan.FromSeconds(1);

    internal static Question<List<StepCheck>> Checks(string session) => Question.All($"select person, at, note from privileged.checks where session = {session} order by id", r => new StepCheck(r.GetString(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2)));

    /// <summary>Never the worker, never a contractor. <clause>MIC 6.1(4)③, 6.2(1)③(エ)</clause></summary>
    internal static bool MayWatch(PrivilegedSession session, MayDo may) => session is { Second: not null, IsRunning: true } && may.Person is { IsContractor: false } person && may.Allows("privileged.witness") && person.Id != session.Person;

    /// <summary>A step is confirmed by whoever watches at this moment. Null: done; else why not, in Japanese.</summary>
    internal async Task<string?> CheckAsync(string id, PersonId by, string? text, CancellationToken ct)
    {
        if (text?.Trim() is not { Length: >= 2 and <= 400 } note || !FreeText.Fits(note, lines: false)) return "確認したことを2〜400文字で書いてください。";
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { } session || session.Second?.Present != by) return "確認を書けるのは、いま立ち会っている人だけです。";
        work.Write($"insert into privileged.checks (session, person, at, note) values ({id}, {by}, {time.GetUtcNow()}, {note})");
        work.Record(TargetReports.Event(session, "privileged.check", HistoryOutcome.Done) with { Person = by, Details = TargetReports.Details(session, ("note", note)) }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return null;
    }

    /// <summary>What somebody confirms with card and PIN to watch: exactly this work, at this moment.</summary>
    internal static ConfirmedOperation Operation(PrivilegedSession session) => ConfirmedOperation.Of("witness", "privileged.session", "特権作業への立会い", session.Request ?? 0, session.Person, session.Reason, new Dictionary<string, string> { ["session"] = session.Id, ["work"] = session.Work }, $"特権作業への立会い {session.Id}");

    /// <summary>A seat, once proven: its token opens the stream, in this sign-in, as often as the page is closed and opened. Null: the proof does not fit.</summary>
    internal async Task<string?> SitAsync(HttpContext context, PrivilegedSession session, string? confirmed, CancellationToken ct)
    {
        var (by, signIn) = (PersonId.Of(context.User), LiveSession.Of(context)!);
        await using var work = await store.BeginAsync(ct);
        if (await confirmation.TakeAsync(work, context, confirmed, Operation(session), by, ct) is null) return null;
        var token = Secret.New(16);
        work.Write($"insert into privileged.seats (token_hash, session, person, sign_in, at) values ({Secret.Hash(token)}, {session.Id}, {by}, {signIn.Id}, {time.GetUtcNow()})");
        await work.CommitAsync(ct);
        return token;
    }

    /// <summary>The stream of server-sent events that is the presence: <c>shown</c> (lines), <c>state</c>, <c>refused</c> (a sentence), <c>over</c>.</summary>
    internal async Task WatchAsync(HttpContext context, string id)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var ct = ended.Token;
        (context.Response.ContentType, context.Response.Headers.CacheControl) = ("text/event-stream", "no-store");
        // Opened by our own page's script, never by a link somebody was sent.
        if (context.Request.Headers["Sec-Fetch-Dest"] is not ([] or ["empty"]) || context.Request.Headers["Sec-Fetch-Site"] is not ([] or ["same-origin"]))
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }
        var (seat, refusal) = await JoinAsync(context, id, ct);
        if (seat is null)
        {
            await SendAsync(context, "refused", refusal!, 0, ct);
            return;
        }
        try { await ShowAsync(context, id, seat.Value, ct); }
        catch (OperationCanceledException) { /* the page is closed, or this node stops */ }
        finally { await LeaveAsync(id, seat.Value); }
    }

    private async Task<(long? Seat, string? Refusal)> JoinAsync(HttpContext context, string id, CancellationToken ct)
    {
        var (by, signIn) = (PersonId.Of(context.User), LiveSession.Of(context)!);
        await using var work = await store.BeginAsync(ct);
        if (await work.AskAsync(PrivilegedStore.Lock(id), ct) is not { } session) return (null, "この特権作業はありません。");
        if (!MayWatch(session, await permissions.OfAsync(work, by, ct)))
        {
            work.Record(TargetReports.Event(session, "privileged.witness", HistoryOutcome.Refused, session.Person == by ? "approvals.same-person" : "authorization.not-permitted") with { Person = by, Terminal = signIn.Terminal }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return (null, session.Person == by ? "作業する人は、自分の作業に立ち会えません。" : "この作業には立ち会えません。");
        }
        if (context.Request.Query["seat"] is not [{ } token] || !Secret.Fits(token) || !await work.AskAsync(Question.Any($"select from privileged.seats where token_hash = {Secret.Hash(token)} and session = {id} and person = {by} and sign_in = {signIn.Id}"), ct)) return (null, "「立ち会う」を押して、カードと暗証番号で本人を確かめてください。");
        // One's own page of a moment ago gives way; somebody else who is there does not.
        await work.ExecuteAsync($"update privileged.witnesses set left_at = least(seen_at + interval '3 seconds', clock_timestamp()) where session = {id} and left_at is null and (person = {by} or seen_at < clock_timestamp() - interval '3 seconds')", ct);
        if (session.Second!.Present is { } other && other != by) return (null, "ほかの人が立ち会っています。");
        var seat = (await work.QueryAsync($"insert into privileged.witnesses (session, person, terminal, sign_in, joined_at, seen_at) values ({id}, {by}, {signIn.Terminal}, {signIn.Id}, clock_timestamp(), clock_timestamp()) returning id", r => r.GetInt64(0), ct))[0];
        work.Record(TargetReports.Event(session, "privileged.witness", HistoryOutcome.Done) with { Person = by, Terminal = signIn.Terminal, Session = signIn.Id }, time.GetUtcNow());
        work.AfterCommit(() => wakeups.Wake(SessionDirector.Topic));
        await work.CommitAsync(ct);
        return (seat, null);
    }

    /// <summary>What the worker sees, as text, and how it stands; until the page, the sign-in or the work is over.</summary>
    private async Task ShowAsync(HttpContext context, string id, long seat, CancellationToken ct)
    {
        var signIn = LiveSession.Of(context)!.Id;
        var shown = int.TryParse(context.Request.Query["after"], NumberStyles.None, CultureInfo.InvariantCulture, out var last) ? last : 0;
        var (state, beaten) = ("", 0L);
        while (await store.AskAsync(PrivilegedStore.Find(id), ct) is { } session)
        {
            if (beaten == 0 || time.GetElapsedTime(beaten) >= Beat)
            {
                if (await sessions.FindAsync(signIn, ct) is null || await store.ExecuteAsync($"update privileged.witnesses set seen_at = clock_timestamp() where id = {seat} and left_at is null", ct) == 0) return;
                if (session.IsRunning && !MayWatch(session, await permissions.OfAsync(context.User, ct))) return;
                beaten = time.GetTimestamp();
                // A page that is gone without a word is noticed by writing to it.
                await context.Response.WriteAsync(": \n\n", ct);
            }
            var fresh = await store.AskAsync(Recording.ChunksAfter(id, shown), ct);
            foreach (var chunk in fresh) await SendAsync(context, "shown", JsonSerializer.Serialize(Recording.Read([chunk]).Select(l => l.Command is { } command ? $"▶ {command}" : l.Text)), shown = chunk.Number, ct);
            var now = session.State == "open" ? session.Second?.HeldAt is null ? "going" : "held" : session.State;
            if (now != state) await SendAsync(context, session.IsRunning ? "state" : "over", state = now, shown, ct);
            if (!session.IsRunning) return;
            await Task.WhenAny(wakeups.WaitAsync(SessionDirector.Topic, News, ct), wakeups.WaitAsync(LiveSessions.EndedTopic, News, ct));
        }
    }

    private static async Task SendAsync(HttpContext context, string name, string data, int number, CancellationToken ct)
    {
        await context.Response.WriteAsync($"id: {number}\nevent: {name}\ndata: {data}\n\n", ct);
        await context.Response.Body.FlushAsync(ct);
    }

    private async Task LeaveAsync(string id, long seat)
    {
        await using var work = await store.BeginAsync(CancellationToken.None);
        if (await work.FindAsync($"update privileged.witnesses set left_at = clock_timestamp() where id = {seat} and left_at is null returning person", r => r.GetString(0), CancellationToken.None) is { } person && await work.AskAsync(PrivilegedStore.Find(id), CancellationToken.None) is { } session)
            work.Record(TargetReports.Event(session, "privileged.leave", HistoryOutcome.Done) with { Person = PersonId.Parse(person) }, time.GetUtcNow());
        work.AfterCommit(() => wakeups.Wake(SessionDirector.Topic));
        await work.CommitAsync(CancellationToken.None);
    }
}
