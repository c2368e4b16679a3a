using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.Passkeys;

/// <summary>A key as registered.</summary>
/// <param name="Trusted">Its model is in the metadata, not revoked, and vouched for.</param>
internal sealed record PasskeyRow(CardId Card, PersonId Person, byte[] CredentialId, byte[] PublicKey, long SignCount, Guid Aaguid, string Attestation, bool Trusted, bool BackupEligible, bool BackedUp, string Transports, string Name, DateTimeOffset CreatedAt, DateTimeOffset? UsedAt)
{
    /// <summary>Of its attestation; empty: it showed none.</summary>
    internal IReadOnlyList<byte[]> Chain { get; init; } = [];
}

/// <summary>SQL of keys, ceremonies and models.</summary>
internal static class PasskeyRegister
{
    private static Sql Columns() => $"select card, person, credential_id, public_key, sign_count, aaguid, attestation, trusted, backup_eligible, backed_up, transports, name, created_at, used_at, chain from passkeys.keys";

    internal static Question<PasskeyRow?> FindByCredential(byte[] credentialId) => Question.First($"{Columns()} where credential_id = {credentialId} for update", Read);
    internal static Question<List<PasskeyRow>> OfPerson(PersonId person) => Question.All($"{Columns()} where person = {person} order by created_at", Read);

    /// <summary>The person's handle, made at the first need.</summary>
    internal static async Task<string> HandleAsync(UnitOfWork work, PersonId person, CancellationToken ct)
    {
        await work.ExecuteAsync($"insert into passkeys.users (person, handle) values ({person}, {Secret.New()}) on conflict do nothing", ct);
        return (await work.QueryAsync($"select handle from passkeys.users where person = {person}", r => r.GetString(0), ct))[0];
    }

    internal static void Keep(UnitOfWork work, string id, string kind, string owner, string state, TimeSpan lifetime) =>
        work.Write($"insert into passkeys.ceremonies (id, kind, owner, state, expires_at) values ({id}, {kind}, {owner}, {state}, clock_timestamp() + {lifetime})");

    /// <summary>Single use: the statement that finds it takes it. Null: unknown, used, over, or somebody else's.</summary>
    internal static async Task<string?> TakeAsync(UnitOfWork work, string? id, string kind, string owner, CancellationToken ct) =>
        Secret.Fits(id) ? (await work.QueryAsync($"delete from passkeys.ceremonies where id = {id} and kind = {kind} and owner = {owner} returning case when expires_at > clock_timestamp() then state end", r => r.IsDBNull(0) ? null : r.GetString(0), ct)).FirstOrDefault() : null;

    internal static void Add(UnitOfWork work, PasskeyRow key) => work.Write($"""
        insert into passkeys.keys (card, person, credential_id, public_key, sign_count, aaguid, attestation, trusted, backup_eligible, backed_up, transports, name, created_at, chain)
        values ({key.Card}, {key.Person}, {key.CredentialId}, {key.PublicKey}, {key.SignCount}, {key.Aaguid.ToString("D")}::uuid, {key.Attestation}, {key.Trusted}, {key.BackupEligible}, {key.BackedUp}, {key.Transports}, {key.Name}, {key.CreatedAt}, {key.Chain.ToArray()})
        """);

    internal static void Used(UnitOfWork work, CardId card, long signCount, DateTimeOffset at) => work.Write($"update passkeys.keys set sign_count = {signCount}, used_at = {at} where card = {card}");

    /// <summary>Every key that showed a chain.</summary>
    internal static Question<List<PasskeyRow>> WithChain() => Question.All($"{Columns()} where cardinality(chain) > 0 order by card", Read);

    /// <summary>Enrolment and import do not pass each other: many may enrol, one imports.</summary>
    internal static Task<int> LockModelsAsync(UnitOfWork work, bool alone, CancellationToken ct) => alone ? work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('passkeys.models'))", ct) : work.ExecuteAsync($"select pg_advisory_xact_lock_shared(hashtext('passkeys.models'))", ct);

    /// <summary>A model of the metadata; null: it is not there.</summary>
    internal static Question<MetadataModel?> FindModel(Guid aaguid) => Question.First($"select description, anchors, statuses from passkeys.models where aaguid = {aaguid.ToString("D")}::uuid",
        r => new MetadataModel(aaguid, r.GetString(0), r.GetFieldValue<byte[][]>(1), r.GetFieldValue<string[]>(2)));

    private static PasskeyRow Read(NpgsqlDataReader r) => new(CardId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), r.GetFieldValue<byte[]>(2), r.GetFieldValue<byte[]>(3), r.GetInt64(4), r.GetGuid(5), r.GetString(6), r.GetBoolean(7), r.GetBoolean(8), r.GetBoolean(9),
        r.GetString(10), r.GetString(11), r.GetFieldValue<DateTimeOffset>(12), r.IsDBNull(13) ? null : r.GetFieldValue<DateTimeOffset>(13))
    { Chain = r.GetFieldValue<byte[][]>(14) };
}
