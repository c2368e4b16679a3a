using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.FilePermissions;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.AuthZen;

/// <summary>The endpoints of AuthZEN Authorization API 1.0. <clause>MOJ 第5-4(4)</clause></summary>
internal sealed class AuthZenApi(Store store, FileDecisions decisions, EnforcerKeys enforcers, GrantUses uses, Coalescer coalescer, BrokerOptions options, TimeProvider time)
{
    /// <summary>Ours: items of a batch, results of a page.</summary>
    private const int MostItems = 1_000, MostResults = 1_000, UsualResults = 100;
    /// <summary>Ours: searches at a time; they ask the database about many.</summary>
    private static readonly SemaphoreSlim Searching = new(4);

    internal delegate Task<IResult> Operation(JsonElement body, string enforcer, CancellationToken ct);

    /// <summary>§6, §7: who asks is known, the body is an object; then the operation.</summary>
    internal async Task<IResult> RunAsync(HttpContext context, Operation operation)
    {
        var ct = context.RequestAborted;
        if (context.Request.Headers["X-Request-ID"] is [{ Length: > 0 and <= 200 } id] && id.All(c => c is >= ' ' and <= '~')) context.Response.Headers["X-Request-ID"] = id;
        if (await enforcers.NameOfAsync(context) is not { } enforcer)
        {
            coalescer.Add(new("files.ask", HistoryOutcome.Refused, "files.unknown-enforcer") { Address = context.Connection.RemoteIpAddress?.ToString() });
            return EnforcerKeys.Unknown(context);
        }
        if (!context.Request.HasJsonContentType()) return Problems.Json(StatusCodes.Status415UnsupportedMediaType, "authzen.content-type", "application/json が必要です。");
        using var buffer = new MemoryStream();
        await context.Request.Body.CopyToAsync(buffer, ct);
        if (StrictJson.ParseObject(buffer.ToArray()) is not { } body) return Bad(new("body", "must be one JSON object without doubled members"));
        var search = context.Request.Path.StartsWithSegments("/access/v1/search");
        if (search && !await Searching.WaitAsync(TimeSpan.FromSeconds(1), ct)) return Problems.Json(StatusCodes.Status503ServiceUnavailable, "authzen.busy", "検索が混み合っています。しばらくしてから、もう一度お試しください。");
        try { return await operation(body, enforcer, ct); }
        catch (AuthZenException e) { return Bad(e); }
        finally { if (search) Searching.Release(); }
    }

    internal async Task<IResult> EvaluateAsync(JsonElement body, string enforcer, CancellationToken ct) => Results.Json(Answer(await DecideAsync(AuthZenQuestion.Read(body), enforcer, ct)));

    /// <summary>§7: an item that cannot be answered is a decision of false beside the others.</summary>
    internal async Task<IResult> EvaluateAllAsync(JsonElement body, string enforcer, CancellationToken ct)
    {
        var semantic = body.TryGetProperty("options", out var wanted) && wanted.ValueKind == JsonValueKind.Object && wanted.TryGetProperty("evaluations_semantic", out var named) ? named.ValueKind == JsonValueKind.String ? named.GetString() : "" : "execute_all";
        if (semantic is not ("execute_all" or "deny_on_first_deny" or "permit_on_first_permit")) throw new AuthZenException("options.evaluations_semantic", "must be execute_all, deny_on_first_deny or permit_on_first_permit");
        if (!body.TryGetProperty("evaluations", out var items) || (items.ValueKind == JsonValueKind.Array && items.GetArrayLength() == 0)) return await EvaluateAsync(body, enforcer, ct);
        if (items.ValueKind != JsonValueKind.Array || items.GetArrayLength() > MostItems) throw new AuthZenException("evaluations", $"must be an array of at most {MostItems}");
        var answers = new List<object>();
        foreach (var item in items.EnumerateArray())
        {
            var allowed = false;
            try
            {
                var decision = await DecideAsync(AuthZenQuestion.Read(AuthZenQuestion.Merge(body, item.ValueKind == JsonValueKind.Object ? item : throw new AuthZenException("evaluations", "each must be an object"))), enforcer, ct);
                allowed = decision.Allowed;
                answers.Add(Answer(decision));
            }
            catch (AuthZenException e) { answers.Add(new { decision = false, context = new { error = new { status = 400, message = $"{e.Member} {e.Message}" } } }); }
            if (semantic == (allowed ? "permit_on_first_permit" : "deny_on_first_deny")) break;
        }
        return Results.Json(new { evaluations = answers });
    }

    internal async Task<IResult> SearchSubjectsAsync(JsonElement body, string enforcer, CancellationToken ct)
    {
        var question = AuthZenQuestion.Read(body, "subject.id");
        var (after, count) = Page(body);
        var found = question.Key is { } key && IsPerson(question.SubjectType) ? await store.AskAsync(FileSearch.WhoMay(key, question.Action, time.GetUtcNow(), question.Properties.GetRawText(), after, count + 1), ct) : [];
        return Results.Json(Found(found, count, id => new { type = question.SubjectType, id }));
    }

    internal async Task<IResult> SearchResourcesAsync(JsonElement body, string enforcer, CancellationToken ct)
    {
        var question = AuthZenQuestion.Read(body, "resource.id");
        var (after, count) = Page(body);
        var prefix = question.ResourceType == "file" ? "" : question.ResourceType + ":";
        var found = PersonOf(question) is { } person && IdForm.Fits(question.ResourceType)
            ? await store.AskAsync(FileSearch.WhatMay(person.Value, prefix.Length == 0 ? null : question.ResourceType, question.Action, time.GetUtcNow(), question.Properties.GetRawText(), after.Length == 0 ? "" : prefix + after, count + 1), ct) : [];
        return Results.Json(Found([.. found.Select(f => f[prefix.Length..])], count, id => new { type = question.ResourceType, id }));
    }

    internal async Task<IResult> SearchActionsAsync(JsonElement body, string enforcer, CancellationToken ct)
    {
        var question = AuthZenQuestion.Read(body, "action");
        var (after, count) = Page(body);
        var may = new List<string>();
        if (PersonOf(question) is { } person && question.Key is { } key)
            foreach (var action in (await store.AskAsync(FileSearch.ActionsOn(FileRule.Chain(key)), ct)).Where(a => string.CompareOrdinal(a, after) > 0).Order(StringComparer.Ordinal))
                if ((await decisions.DecideAsync(person, key, action, ct, question.Properties)).Allowed) may.Add(action);
        return Results.Json(Found([.. may.Take(count + 1)], count, name => new { name }));
    }

    /// <summary>§9.</summary>
    internal IResult Configuration() => Results.Json(new
    {
        policy_decision_point = options.Issuer,
        access_evaluation_endpoint = $"{options.Issuer}/access/v1/evaluation",
        access_evaluations_endpoint = $"{options.Issuer}/access/v1/evaluations",
        search_subject_endpoint = $"{options.Issuer}/access/v1/search/subject",
        search_resource_endpoint = $"{options.Issuer}/access/v1/search/resource",
        search_action_endpoint = $"{options.Issuer}/access/v1/search/action",
    });

    private async Task<FileDecision> DecideAsync(AuthZenQuestion question, string enforcer, CancellationToken ct)
    {
        // Whoever is unknown is decided like anybody: the same way, the same time, the same answer.
        var (person, key) = (PersonOf(question) ?? PersonId.Parse("unknown"), question.Key ?? "unknown:unknown");
        var decision = await decisions.DecideAsync(person, key, question.Action, ct, question.Properties);
        if (decision.Grant is { } grant) uses.Add(grant, person, question.Action);
        else coalescer.Add(new("files.ask", HistoryOutcome.Refused, $"files.{decision.Reason}") { Client = enforcer });
        return decision;
    }

    private static bool IsPerson(string type) => type is "user" or "operator" or "identity";

    private static PersonId? PersonOf(AuthZenQuestion question) => IsPerson(question.SubjectType) && PersonId.TryParse(question.Subject, null, out var person) ? person : null;

    private static object Answer(FileDecision decision) => decision.Allowed ? new { decision = true, context = new { reason = decision.Reason, grant = decision.Grant } } : new { decision = false, context = new { reason = decision.Reason, grant = (long?)null } };

    private static (string After, int Count) Page(JsonElement body)
    {
        if (!body.TryGetProperty("page", out var page)) return ("", UsualResults);
        if (page.ValueKind != JsonValueKind.Object) throw new AuthZenException("page", "must be an object");
        var count = !page.TryGetProperty("limit", out var limit) ? UsualResults : limit.ValueKind == JsonValueKind.Number && limit.TryGetInt32(out var given) && given is >= 1 and <= MostResults ? given : throw new AuthZenException("page.limit", $"must be 1 to {MostResults}");
        if (StrictJson.Text(page, "token") is not { Length: > 0 } token) return ("", count);
        try { return (Encoding.UTF8.GetString(Base64Url.DecodeFromChars(token)), count); }
        catch (FormatException) { throw new AuthZenException("page.token", "must come from an earlier answer"); }
    }

    private static object Found(List<string> found, int count, Func<string, object> form)
    {
        var shown = found.Take(count).ToList();
        return new { page = new { next_token = found.Count > count ? Base64Url.EncodeToString(Encoding.UTF8.GetBytes(shown[^1])) : "", count = shown.Count }, results = shown.Select(form).ToList() };
    }

    private static IResult Bad(AuthZenException e) => Results.Json(new { code = "authzen.bad-request", status = 400, field = e.Member, detail = $"{e.Member} {e.Message}".Trim() }, contentType: "application/problem+json", statusCode: StatusCodes.Status400BadRequest);
}

internal static class AuthZenSlice
{
    internal static void AddAuthZen(this IServiceCollection services) => services.AddSingleton<AuthZenApi>();

    internal static void MapAuthZen(this IEndpointRouteBuilder app)
    {
        var api = app.ServiceProvider.GetRequiredService<AuthZenApi>();
        foreach (var (path, operation) in ((string, AuthZenApi.Operation)[])[("evaluation", api.EvaluateAsync), ("evaluations", api.EvaluateAllAsync), ("search/subject", api.SearchSubjectsAsync), ("search/resource", api.SearchResourcesAsync), ("search/action", api.SearchActionsAsync)])
            app.MapPost($"/access/v1/{path}", (Delegate)((HttpContext context) => api.RunAsync(context, operation))).WithMetadata(new AuditedAttribute("files.ask"));
        app.MapGet("/.well-known/authzen-configuration", api.Configuration);
    }
}
