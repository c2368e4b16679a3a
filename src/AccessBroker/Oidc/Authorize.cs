using System.Text.Json;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Oidc.Checks;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using AccessBroker.SignIn;
using AccessBroker.Terminals;
using AccessBroker.Web;

namespace AccessBroker.Oidc;

/// <summary><c>/connect/authorize</c>: the authorization endpoint (OpenID Connect Core §3.1.2), code flow with PKCE.</summary>
internal sealed class Authorize(Store store, Clients clients, IDetailedAuthorization detailed, BeginSignIn signIn, Active<SessionsPolicy> policy, Active<AssurancePolicy> assurance, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    /// <summary>In this order; the first error goes back to the relying party.</summary>
    private static readonly Func<AuthorizeRequest, OAuthError?>[] Checks =
    [
        CheckNoRequestObject.Run, CheckResponseType.Run, CheckResponseMode.Run, CheckScope.Run, CheckDetails.Run, CheckPkce.Run, CheckPrompt.Run, CheckMaxAge.Run, CheckLengths.Run,
    ];

    internal async Task<IResult> RunAsync(HttpContext context, Parameters parameters, CancellationToken ct)
    {
        // Before client and redirect URI are known to be good, nothing is sent anywhere (RFC 6749 §4.1.2.1).
        if (await ReadAsync(parameters, ct) is not { } request) return NotRedirected(context);
        foreach (var check in Checks)
            if (check(request) is { } error) return Back(context, request, error);
        if (LiveSession.Of(context) is { } session && Suffices(request, session)) return await IssueCodeAsync(context, request, session, null, ct);
        if (request.Prompt.Contains("none")) return Back(context, request, new("login_required", "nobody is signed in as required"));
        return Results.Redirect(await BeginAsync(context, request, null, ct));
    }

    /// <summary>After the sign-in. The request is used up only when a code is given out.</summary>
    internal async Task<IResult> ResumeAsync(HttpContext context, string? id, CancellationToken ct)
    {
        if (!Secret.Fits(id) || await FindAsync(id!, BeginSignIn.BrowserOf(context), ct) is not { } kept || await ReadAsync(kept.Parameters, ct) is not { } request) return NotRedirected(context);
        // The card left in between, or somebody came back without signing in: once more.
        if (LiveSession.Of(context) is not { } session || session.AuthTime < kept.CreatedAt || !IsSure(request, session)) return Results.Redirect(await BeginAsync(context, request, id, ct));
        return await IssueCodeAsync(context, request, session, id, ct);
    }

    private async Task<AuthorizeRequest?> ReadAsync(Parameters parameters, CancellationToken ct)
    {
        if (parameters.Malformed || await clients.FindAsync(parameters["client_id"], ct) is not { } client) return null;
        // RFC 9700 §2.1: exact string comparison, nothing normalised.
        return parameters["redirect_uri"] is { } uri && client.RedirectUris.Contains(uri, StringComparer.Ordinal) ? new(parameters, client, uri) : null;
    }

    private bool Suffices(AuthorizeRequest request, LiveSession session) =>
        !request.Prompt.Contains("login") && !request.Prompt.Contains("select_account") && (request.MaxAge is not { } age || time.GetUtcNow() - session.AuthTime <= TimeSpan.FromSeconds(age)) && IsSure(request, session);

    /// <summary>RFC 9470 §4: what the relying party asks for, and what policy asks of it, was proven, and lately enough.</summary>
    private bool IsSure(AuthorizeRequest request, LiveSession session)
    {
        var need = assurance.Now.Needed(options.Segment, request.Client.Id, request.Acr);
        return AssuranceRule.Judge(new(Factors.OfAmr(session.Amr), session.Attested, time.GetUtcNow() - session.AuthTime), need).Enough && (request.Acr is not { } wanted || AcrNames.Parse(session.Acr) >= wanted);
    }

    private async Task<string> BeginAsync(HttpContext context, AuthorizeRequest request, string? id, CancellationToken ct)
    {
        var requestId = id ?? Secret.New(16);
        await using var work = await store.BeginAsync(ct);
        var page = signIn.Run(work, context, request.Client.Id, request.Client.Name, $"/connect/authorize/resume?request={requestId}", request.Acr);
        if (id is null) work.Write(Keep(context, request, requestId, time.GetUtcNow()));
        await work.CommitAsync(ct, Durability.MayBeLostInACrash);
        return page;
    }

    private sealed record Kept(Parameters Parameters, DateTimeOffset CreatedAt);

    private Task<Kept?> FindAsync(string id, byte[] browser, CancellationToken ct) => store.FindAsync<Kept>(
        $"select parameters, created_at from oidc.requests where id = {id} and browser_hash = {browser} and expires_at > clock_timestamp()",
        r => new(Parameters.Of(JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(0))!.Select(p => KeyValuePair.Create(p.Key, new Microsoft.Extensions.Primitives.StringValues(p.Value)))), r.GetFieldValue<DateTimeOffset>(1)), ct);

    /// <param name="kept">The kept request that this code answers; it is used up with it.</param>
    private async Task<IResult> IssueCodeAsync(HttpContext context, AuthorizeRequest request, LiveSession session, string? kept, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        var entry = new HistoryEvent("oidc.authorize", HistoryOutcome.Done) { Person = session.Person, Terminal = session.Terminal, Card = session.Card, Session = session.Id, Client = request.Client.Id, Address = AddressOf(context) };
        var (terminal, taken, unread) = (TerminalRegister.Find(session.Terminal), Question.Any($"delete from oidc.requests where id = {kept ?? ""} returning id"), Standard.IsUnread(session.Person, time.GetUtcNow()));
        await work.AskAsync(ct, terminal, taken, unread);
        if (kept is not null && !taken.Answer) return NotRedirected(context);
        if (request.Client.System is { } system && terminal.Answer?.System != system)
        {
            work.Record(entry with { Outcome = HistoryOutcome.Refused, Reason = "oidc.terminal-of-another-system" }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Back(context, request, new("access_denied", "this terminal belongs to another system"));
        }
        // Whoever works has read the rules of the card first; the request waits meanwhile. MOJ 第5-4(3)
        if (unread.Answer) return request.Prompt.Contains("none") ? Back(context, request, new("interaction_required", "the operating standard is not acknowledged")) : Results.Redirect(await AcknowledgeFirstAsync(context, request, session, kept, ct));
        var detail = request.Work is { } asked ? await detailed.FindAsync(work, session, request.Client.Id, asked, ct) : null;
        if (request.Work is not null && detail is null)
        {
            work.Record(entry with { Outcome = HistoryOutcome.Refused, Reason = "oidc.no-privileged-work" }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Back(context, request, new("access_denied", "no such privileged work is open here"));
        }
        var code = Secret.New();
        if (request.Client.BackchannelLogoutUri is not null)
            work.Write($"insert into oidc.participants (session, client, at) values ({session.Id}, {request.Client.Id}, {time.GetUtcNow()}) on conflict do nothing");
        work.Write($"""
            insert into oidc.codes (code_hash, session, client, redirect_uri, nonce, challenge, scope, expires_at, detail)
            values ({Secret.Hash(code)}, {session.Id}, {request.Client.Id}, {request.RedirectUri}, {request.Nonce}, {request.Parameters["code_challenge"]}, {request.Scope}, clock_timestamp() + {policy.Now.AuthorizationCode}, {detail?.Id})
            """);
        work.Record(entry, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Redirect(request, ("code", code));
    }

    /// <summary>Keeps the request (the deletion above is not committed), and comes back to it.</summary>
    private async Task<string> AcknowledgeFirstAsync(HttpContext context, AuthorizeRequest request, LiveSession session, string? kept, CancellationToken ct)
    {
        var id = kept ?? Secret.New(16);
        if (kept is null) await store.ExecuteAsync(Keep(context, request, id, session.AuthTime), ct);
        return $"/standard?To={Uri.EscapeDataString($"/connect/authorize/resume?request={id}")}";
    }

    /// <param name="since">A sign-in after this answers the request.</param>
    private static Sql Keep(HttpContext context, AuthorizeRequest request, string id, DateTimeOffset since) => $"""
        insert into oidc.requests (id, browser_hash, parameters, created_at, expires_at)
        values ({id}, {BeginSignIn.BrowserOf(context)}, {JsonSerializer.Serialize(request.Parameters.ToDictionary()):json}, {since}, clock_timestamp() + interval '15 minutes')
        """;

    private IResult Back(HttpContext context, AuthorizeRequest request, OAuthError error)
    {
        coalescer.Add(new("oidc.authorize", HistoryOutcome.Refused, $"oidc.{error.Code.Replace('_', '-')}") { Client = request.Client.Id, Address = AddressOf(context) });
        return Redirect(request, ("error", error.Code), ("error_description", error.Description));
    }

    /// <summary>RFC 9207: the answer names its issuer.</summary>
    private IResult Redirect(AuthorizeRequest request, params (string Name, string? Value)[] answer)
    {
        var parts = answer.Append((Name: "state", Value: request.State)).Append((Name: "iss", Value: options.Issuer)).Where(p => p.Value is not null).Select(p => $"{p.Name}={Uri.EscapeDataString(p.Value!)}");
        return Results.Redirect($"{request.RedirectUri}{(request.RedirectUri.Contains('?', StringComparison.Ordinal) ? '&' : '?')}{string.Join('&', parts)}");
    }

    private IResult NotRedirected(HttpContext context)
    {
        coalescer.Add(new("oidc.authorize", HistoryOutcome.Refused, "oidc.unknown-client-or-redirect-uri") { Address = AddressOf(context) });
        return Results.Redirect("/connect/error");
    }

    private static string AddressOf(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
