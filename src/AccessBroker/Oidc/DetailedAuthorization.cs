using System.Text.Json.Nodes;
using AccessBroker.Database;
using AccessBroker.Sessions;

namespace AccessBroker.Oidc;

/// <summary>What a rich authorization request (RFC 9396) was granted: a token for it is worth nothing once it is over.</summary>
/// <param name="Id">What it stands on.</param>
/// <param name="Until">No token of it lives longer.</param>
/// <param name="Details">The member of <c>authorization_details</c> as granted (§7.1): what was asked, and what stands behind it: request, ticket, approvers.</param>
/// <param name="Actor">Who acts (RFC 8693 §4.1).</param>
public sealed record DetailedGrant(string Id, DateTimeOffset Until, JsonObject Details, JsonObject Actor);

/// <summary>Grants the details of type <c>privileged_work</c>. Another slice knows what is allowed.</summary>
public interface IDetailedAuthorization
{
    /// <summary>The type of the details (RFC 9396 §2).</summary>
    const string Type = "privileged_work";
    /// <summary>The scope that comes with them.</summary>
    const string Scope = "privileged";

    /// <summary>Open work of this kind, of this sign-in, at this relying party; null: there is none.</summary>
    Task<DetailedGrant?> FindAsync(UnitOfWork work, LiveSession session, string client, string kindOfWork, CancellationToken ct);

    /// <summary>What a code or token stands on, if it still stands.</summary>
    Task<DetailedGrant?> StandsAsync(UnitOfWork work, string id, CancellationToken ct);
}
