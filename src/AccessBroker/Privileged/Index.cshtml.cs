using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>What runs, what may begin, what has ended; and the buttons that end it. <clause>MIC 6.2(6)</clause></summary>
[Authorize("privileged.read"), Audited("privileged.read")]
internal sealed class IndexModel(Store store, Permissions permissions, SessionDirector director, EmergencyStop stops, StartSession start, Active<PrivilegedPolicy> policy, TimeProvider time) : PageModel
{
    /// <summary>scope/value, from the list.</summary>
    [BindProperty, StringLength(90)] public string? What { get; set; }
    [BindProperty, StringLength(400)] public string? Reason { get; set; }

    public IReadOnlyList<PrivilegedSession> Running { get; private set; } = [];
    public IReadOnlyList<PrivilegedSession> Ended { get; private set; } = [];
    public IReadOnlyList<Request> Ready { get; private set; } = [];
    public IReadOnlyList<Stop> Stops { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    public string Me { get; private set; } = "";
    public bool MayRequest { get; private set; }
    public bool MayEmergency { get; private set; }
    public bool MayStop { get; private set; }
    public bool MayOversee { get; private set; }
    /// <summary>Whom a stop can be about.</summary>
    public IReadOnlyList<(PersonId Id, string Name)> Workers { get; private set; } = [];
    public IEnumerable<(string Id, string Name)> Targets => policy.Now.Targets.Select(t => (t.Key, t.Value.Name));
    public IEnumerable<(string Id, string Name)> Works => policy.Now.Work.Select(w => (w.Key, w.Value.Name));
    private bool _mayEndAny;
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }

    public string Name(string person) => Names.GetValueOrDefault(person, person);
    public string WorkName(string work) => policy.Now.Work.GetValueOrDefault(work)?.Name ?? work;
    public bool MayEnd(PrivilegedSession session) => session.State is "opening" or "open" && (_mayEndAny || session.Person.Value == Me);
    public string Left(PrivilegedSession session) => session.EndsAt - time.GetUtcNow() is { Ticks: > 0 } left ? $"{(int)left.TotalMinutes}:{left.Seconds:00}" : "0:00";
    internal string StopName(Stop stop) => stop.Scope switch { "person" => Name(stop.Value), "target" => policy.Now.Targets.GetValueOrDefault(stop.Value)?.Name ?? stop.Value, "work" => WorkName(stop.Value), _ => "" };
    internal static string ScopeName(string scope) => scope switch { "everyone" => "すべて", "person" => "一人の職員", "target" => "一つの対象", _ => "一つの作業" };

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        Me = PersonId.Of(User).Value;
        (MayRequest, MayEmergency, MayStop, _mayEndAny) = (may.Allows("privileged.request-session"), may.Allows("privileged.begin-emergency"), may.Allows("privileged.stop"), may.Allows("privileged.end-any"));
        // Who oversees sees everybody's; others their own.
        MayOversee = may.Allows("privileged.read-all");
        PersonId? mine = may.Allows("privileged.read-all") ? null : PersonId.Of(User);
        var (running, ended, own, holding) = (PrivilegedStore.Running(), PrivilegedStore.Latest(mine, 50), RequestDesk.By(PersonId.Of(User), "privileged.session", "approved"), EmergencyStop.Holding());
        await work.AskAsync(ct, running, ended, own, holding);
        (Running, Ended, Ready, Stops) = ([.. running.Answer.Where(s => mine is null || s.Person == mine)], ended.Answer, [.. own.Answer.Where(r => start.StartBy(r) > time.GetUtcNow())], holding.Answer);
        if (MayStop) Workers = await work.AskAsync(PeopleRegister.Holders([.. policy.Now.Work.Values.SelectMany(w => w.Requesters).Distinct()], time.GetUtcNow()), ct);
        Names = await work.AskAsync(PeopleRegister.Names(Running.Concat(Ended).SelectMany(s => new[] { s.Person.Value, s.ReviewedBy ?? "" }).Concat(Stops.SelectMany(s => new[] { s.By, s.Value })), time.GetUtcNow()), ct);
    }

    public async Task<IActionResult> OnPostEndAsync(string session, CancellationToken ct)
    {
        var asked = time.GetUtcNow();
        if (await store.AskAsync(PrivilegedStore.Find(session), ct) is not { } found) return NotFound();
        if (found.Person != PersonId.Of(User) && !(await permissions.OfAsync(User, ct)).Allows("privileged.end-any")) return await RefuseAsync("privileged.order-end", ct);
        (Succeeded, Message) = await director.EndAsync([found], "privileged.revoked", LiveSession.Of(HttpContext), decided: asked) > 0 ? (true, "終わらせました。") : (false, "この作業は、すでに終わっています。");
        await OnGetAsync(ct);
        return Page();
    }

    public async Task<IActionResult> OnPostStopAsync(CancellationToken ct)
    {
        if (!(await permissions.OfAsync(User, ct)).Allows("privileged.stop")) return await RefuseAsync("privileged.stop", ct);
        if (What?.Split('/') is not [var scope, var value] || !await IsKnownAsync(scope, value, ct) || Reason?.Trim() is not { Length: >= 2 } reason || !FreeText.Fits(reason, lines: false)) (Message, Response.StatusCode) = ("範囲と番号、理由を確かめてください。その番号の人・対象・作業がないときも、止められません。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            await stops.StopAsync(scope, value, LiveSession.Of(HttpContext)!, reason, ct);
            (Succeeded, Message) = (true, "緊急停止しました。実施中の作業は終わり、解くまで新しく始められません。解くのは、止めた人とも止められた人とも別の人です。");
        }
        await OnGetAsync(ct);
        return Page();
    }

    /// <summary>A stop of something that does not exist would stop nothing.</summary>
    private async Task<bool> IsKnownAsync(string scope, string value, CancellationToken ct) => scope switch
    {
        "person" => PersonId.TryParse(value, null, out var person) && await store.AskAsync(PeopleRegister.Find(person, time.GetUtcNow()), ct) is not null,
        "target" => policy.Now.Targets.ContainsKey(value),
        "work" => policy.Now.Work.ContainsKey(value),
        _ => scope == "everyone" && value.Length == 0,
    };

    public async Task<IActionResult> OnPostLiftAsync(long stop, CancellationToken ct)
    {
        if (!(await permissions.OfAsync(User, ct)).Allows("privileged.stop")) return await RefuseAsync("privileged.lift-stop", ct);
        (Succeeded, Message) = await stops.LiftAsync(stop, PersonId.Of(User), ct) ? (true, "緊急停止を解きました。") : (false, "緊急停止は、止めた人とも、止められた人とも別の人が解きます。");
        await OnGetAsync(ct);
        return Page();
    }

    private async Task<IActionResult> RefuseAsync(string operation, CancellationToken ct)
    {
        await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
        return Forbid();
    }
}
