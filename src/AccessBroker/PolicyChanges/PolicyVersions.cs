using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Policies;

namespace AccessBroker.PolicyChanges;

/// <summary>A version of all policies.</summary>
internal sealed record PolicyVersion(long Id, long? BasedOn, string Hash, IReadOnlyDictionary<string, string> Texts, string ProposedBy, DateTimeOffset ProposedAt, string Reason, string? ApprovedBy, DateTimeOffset? ApprovedAt, DateTimeOffset? EffectiveFrom, DateTimeOffset? CancelledAt);

/// <summary>SQL of versions.</summary>
internal static class PolicyVersions
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static Sql Columns() => $"select id, based_on, hash, texts, proposed_by, proposed_at, reason, approved_by, approved_at, effective_from, cancelled_at from policy_changes.versions";

    internal static Question<PolicyVersion?> Find(long id) => Question.First($"{Columns()} where id = {id}", Read);

    /// <summary>The newest versions, at most 50.</summary>
    internal static Question<List<PolicyVersion>> Latest() => Question.All($"{Columns()} order by id desc limit 50", Read);

    /// <summary>The number of the one in force by the database's clock; none before the first day.</summary>
    internal static Question<List<long>> NumberInForce() => Question.All($"select id from policy_changes.versions where approved_at is not null and cancelled_at is null and effective_from <= clock_timestamp() order by id desc limit 1", r => r.GetInt64(0));

    /// <summary>The last that was approved, in force already or not: what the next one must be based on.</summary>
    internal static Question<List<long>> LastApproved() => Question.All($"select id from policy_changes.versions where approved_at is not null and cancelled_at is null order by id desc limit 1", r => r.GetInt64(0));

    /// <summary>Approved, and its day has not come: while there is one, no other is approved, so that an older never overrides a newer.</summary>
    internal static Question<List<long>> Waiting() => Question.All($"select id from policy_changes.versions where approved_at is not null and cancelled_at is null and effective_from > clock_timestamp() limit 1", r => r.GetInt64(0));

    /// <summary>Those that were in force, newest first.</summary>
    internal static Question<List<PolicyVersion>> Former(long before) => Question.All($"{Columns()} where approved_at is not null and cancelled_at is null and effective_from <= clock_timestamp() and id < {before} order by id desc limit 20", Read);

    /// <summary>The files are the version in force, or the first or one adopted from the disk: what nobody has to explain.</summary>
    internal static Question<bool> IsOnRecord(string hash, long inForce) => Question.Any($"select 1 from policy_changes.versions where hash = {hash} and (id = {inForce} or (approved_by = 'setup' and id = (select max(v.id) from policy_changes.versions v where v.approved_by = 'setup')))");

    /// <summary>Withdraws an approved version before its day. False: it is in force, or not approved.</summary>
    internal static async Task<bool> CancelAsync(UnitOfWork work, long id, string by, CancellationToken ct) =>
        await work.ExecuteAsync($"update policy_changes.versions set cancelled_by = {by}, cancelled_at = clock_timestamp() where id = {id} and approved_at is not null and cancelled_at is null and effective_from > clock_timestamp()", ct) == 1;

    internal static async Task<long> AddAsync(UnitOfWork work, IReadOnlyDictionary<string, string> texts, long? basedOn, string by, string reason, DateTimeOffset at, CancellationToken ct) => (await work.QueryAsync($"""
        insert into policy_changes.versions (based_on, hash, texts, proposed_by, proposed_at, reason) values ({basedOn?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {PolicySet.HashOf(texts)}, {JsonSerializer.Serialize(texts, Format):json}, {by}, {at}, {reason}) returning id
        """, r => r.GetInt64(0), ct))[0];

    /// <param name="from">Null: at once, by the database's clock.</param>
    internal static Task<int> ApproveAsync(UnitOfWork work, long id, string by, DateTimeOffset? from, CancellationToken ct) =>
        work.ExecuteAsync($"update policy_changes.versions set approved_by = {by}, approved_at = clock_timestamp(), effective_from = greatest(coalesce({from}, clock_timestamp()), clock_timestamp()) where id = {id} and approved_at is null", ct);

    /// <summary>One at a time: proposals, approvals, the first day.</summary>
    internal static Task<int> LockAsync(UnitOfWork work, CancellationToken ct) => work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('policy_changes.versions'))", ct);

    private static PolicyVersion Read(Npgsql.NpgsqlDataReader r)
    {
        DateTimeOffset? Time(int column) => r.IsDBNull(column) ? null : r.GetFieldValue<DateTimeOffset>(column);
        return new(r.GetInt64(0), r.IsDBNull(1) ? null : r.GetInt64(1), r.GetString(2), JsonSerializer.Deserialize<Dictionary<string, string>>(r.GetString(3))!, r.GetString(4), r.GetFieldValue<DateTimeOffset>(5), r.GetString(6), r.IsDBNull(7) ? null : r.GetString(7), Time(8), Time(9), Time(10));
    }
}
