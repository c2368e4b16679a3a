using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.Oidc;
using AccessBroker.Policies;
using AccessBroker.Sessions;

namespace AccessBroker.Privileged;

/// <summary>Privileged work inside a relying party: its tokens carry who works, on which request, by whose approval, and are worth nothing from the moment it ends. <clause>MIC 6.2(6)</clause></summary>
internal sealed class OidcWork(Active<PrivilegedPolicy> policy) : IDetailedAuthorization
{
    public async Task<DetailedGrant?> FindAsync(UnitOfWork work, LiveSession session, string client, string kindOfWork, CancellationToken ct) =>
        (await work.AskAsync(PrivilegedStore.OpenOf(session.Id), ct)).Find(s => s.Work == kindOfWork && policy.Now.Targets.GetValueOrDefault(s.Target)?.Client == client) is { } open ? Grant(open) : null;

    public async Task<DetailedGrant?> StandsAsync(UnitOfWork work, string id, CancellationToken ct) => await work.AskAsync(PrivilegedStore.Find(id), ct) is { } session ? Grant(session) : null;

    /// <summary>Null: it is over.</summary>
    private DetailedGrant? Grant(PrivilegedSession session)
    {
        if (session is not { Kind: "oidc", State: "open" } || session.Left <= TimeSpan.Zero || !policy.Now.Work.TryGetValue(session.Work, out var rules)) return null;
        var details = new JsonObject { ["type"] = IDetailedAuthorization.Type, ["work"] = session.Work, ["actions"] = Array(rules.Actions), ["identifier"] = session.Id, ["ends_at"] = session.EndsAt.ToUnixTimeSeconds(), ["request"] = session.Request, ["ticket"] = session.Ticket, ["approved_by"] = Array(session.Approvers) };
        var actor = new JsonObject { ["sub"] = session.Person.Value };
        return new(session.Id, session.EndsAt, details, actor);
    }

    private static JsonArray Array(IEnumerable<string> texts) => [.. texts.Select(t => JsonValue.Create(t))];
}
