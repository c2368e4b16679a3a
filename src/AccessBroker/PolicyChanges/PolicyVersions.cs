using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Policies;

namespace AccessBroker.PolicyChanges;

/// <summary>A version of all policies.</summary>
internal sealed record PolicyVersion(long Id, long? BasedOn, string Hash, IReadOnlyDictionary<string, string> Texts, string ProposedBy, DateTimeOffset ProposedAt, string Reason, string? ApprovedBy, DateTimeOffset? ApprovedAt, DateTimeOffset? EffectiveFrom);

/// <summary>SQL of versions.</summary>
internal static class PolicyVersions
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static Sql Columns() => $"select id, based_on, hash, texts, proposed_by, proposed_at, reason, approved_by, approved_at, effective_from from policy_changes.versions";

    internal static Question<PolicyVersion?> Find(long id) => Question.First($"{Columns()} where id = {id}", Read);

    /// <summary>The newest versions, at most 50.</summary>
    internal static Question<List<PolicyVersion>> Latest() => Question.All($"{Columns()} order by id desc limit 50", Read);

    /// <summary>The one in force by the database's clock; null before the first day.</summary>
    internal static Question<PolicyVersion?> InForce() => Question.First($"{Columns()} where approved_at is not null and effective_from <= clock_timestamp() order by effective_from desc, id desc limit 1", Read);

    /// <summary>Its number only: asked often.</summary>
    internal static Question<List<long>> NumberInForce() => Question.All($"select id from policy_changes.versions where approved_at is not null and effective_from <= clock_timestamp() order by effective_from desc, id desc limit 1", r => r.GetInt64(0));

    /// <summary>The last that was approved, in force already or not: what the next one must be based on.</summary>
    internal static Question<List<long>> LastApproved() => Question.All($"select id from policy_changes.versions where approved_at is not null order by id desc limit 1", r => r.GetInt64(0));

    /// <summary>Was this ever approved.</summary>
    internal static Question<bool> IsApproved(string hash) => Question.Any($"select 1 from policy_changes.versions where hash = {hash} and approved_at is not null");

    internal static async Task<long> AddAsync(UnitOfWork work, IReadOnlyDictionary<string, string> texts, long? basedOn, string by, string reason, DateTimeOffset at, CancellationToken ct) => (await work.QueryAsync($"""
        insert into policy_changes.versions (based_on, hash, texts, proposed_by, proposed_at, reason) values ({basedOn?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {PolicySet.HashOf(texts)}, {JsonSerializer.Serialize(texts, Format):json}, {by}, {at}, {reason}) returning id
        """, r => r.GetInt64(0), ct))[0];

    internal static Task<int> ApproveAsync(UnitOfWork work, long id, string by, DateTimeOffset at, DateTimeOffset from, CancellationToken ct) =>
        work.ExecuteAsync($"update policy_changes.versions set approved_by = {by}, approved_at = {at}, effective_from = {from} where id = {id} and approved_at is null", ct);

    /// <summary>One at a time: proposals, approvals, the first day.</summary>
    internal static Task<int> LockAsync(UnitOfWork work, CancellationToken ct) => work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('policy_changes.versions'))", ct);

    private static PolicyVersion Read(Npgsql.NpgsqlDataReader r)
    {
        DateTimeOffset? Time(int column) => r.IsDBNull(column) ? null : r.GetFieldValue<DateTimeOffset>(column);
        return new(r.GetInt64(0), r.IsDBNull(1) ? null : r.GetInt64(1), r.GetString(2), JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(3))!, r.GetString(4), r.GetFieldValue<DateTimeOffset>(5), r.GetString(6), r.IsDBNull(7) ? null : r.GetString(7), Time(8), Time(9));
    }
}
