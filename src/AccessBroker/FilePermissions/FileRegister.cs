using System.Text.Json;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.FilePermissions;

/// <summary>A grant as people see it, with who asked and who said yes.</summary>
internal sealed record GrantLine(FileGrant Grant, string Reason, string RequestedBy, string ApprovedBy, long? Request, DateTimeOffset? EndedAt, DateTimeOffset? UsedAt, DateTimeOffset? ReviewedAt, string? ReviewedBy);

/// <summary>A set as people see it.</summary>
internal sealed record SetLine(FileSet Set, string Title, int? Integrity, int? Availability, DateTimeOffset? BatchSince);

/// <summary>SQL of sets, grants and the decision.</summary>
internal static class FileRegister
{
    /// <summary>Numbers that change: with sets, grants, posts or suspensions; with sets only.</summary>
    internal static Question<(long Files, long People, long Sets)> Epoch() => Question.All($"select e.value, people.epoch_now(), e.sets from file_permissions.epoch e", r => (r.GetInt64(0), r.GetInt64(1), r.GetInt64(2))).Select(r => r[0]);

    internal static Question<List<FileSet>> Sets() => Question.All($"select resource, section, named_only, confidentiality, batch_since is not null from file_permissions.sets", ReadSet);

    internal static Question<List<SetLine>> SetLines() => Question.All($"select resource, section, named_only, confidentiality, batch_since is not null, title, integrity, availability, batch_since from file_permissions.sets order by resource",
        ReadSetLine);

    /// <summary>Below which place a program may run bulk updates; null: nowhere, or it is revoked.</summary>
    internal static Question<string?> BatchesOf(string enforcer) => Question.First($"select batches from file_permissions.enforcers where name = {enforcer} and batches is not null and revoked_at is null", r => r.GetString(0));

    internal static Question<SetLine?> FindLine(string resource) => Question.First($"select resource, section, named_only, confidentiality, batch_since is not null, title, integrity, availability, batch_since from file_permissions.sets where resource = {resource}", ReadSetLine);

    internal static Question<FileSet?> FindSet(string resource) => Question.First($"select resource, section, named_only, confidentiality, batch_since is not null from file_permissions.sets where resource = {resource}", ReadSet);

    /// <summary>The place itself, or one above it, is registered.</summary>
    internal static Question<bool> IsBelowSet(string path) => Question.Any($"select from file_permissions.sets where resource = any({FileRule.Chain(path).ToArray()})");

    /// <summary>A place below a registered one gets a line of its own, inheriting everything; one that has a line keeps it.</summary>
    internal static Task<int> EnsureSetAsync(UnitOfWork work, string path, string by, DateTimeOffset at, CancellationToken ct)
    {
        var title = path[(path.LastIndexOf('/') + 1)..] is { Length: > 0 } last ? last.Length > 200 ? last[..200] : last : path;
        return work.ExecuteAsync($"insert into file_permissions.sets (resource, title, created_at, created_by) values ({path}, {title}, {at}, {by}) on conflict (resource) do nothing", ct);
    }

    /// <summary>How many people act as this subject.</summary>
    internal static Question<long> Has(string subject, DateTimeOffset at) => Question.All($"select cardinality(people.acting_as({(string[])[subject]}, {at}))::bigint", r => r.GetInt64(0)).Select(r => r[0]);

    /// <summary>Who acts as this subject, and as whom else.</summary>
    internal static Question<List<(string Person, HashSet<string> Subjects)>> ActingAs(string subject, DateTimeOffset at, int count) => Question.All(
        $"select p, people.subjects_at(p, {at}) from unnest(people.acting_as({(string[])[subject]}, {at})) p order by p limit {count}", r => (r.GetString(0), r.GetFieldValue<string[]>(1).ToHashSet(StringComparer.Ordinal)));

    /// <summary>Grants to any of these subjects that are valid at <paramref name="at"/> or will be.</summary>
    internal static Question<List<FileGrant>> GrantsToAny(string[] subjects, DateTimeOffset at) => Question.All($"{Grants()} where g.subject = any({subjects}) and g.ended_at is null and g.valid_until > {at}", ReadHeld);

    /// <summary>Ours: lines of a look-up.</summary>
    internal const int MostLines = 2000;

    /// <summary>What each person may do with a resource at <paramref name="at"/>, and why not where somebody granted it. Asked of those only to whom something on the way was granted.</summary>
    internal static Question<List<(string Person, string Action, bool Allowed, string Reason, long? Grant)>> Everybody(string resource, DateTimeOffset at) => Question.All($"""
        select p, a, (d).allowed, (d).reason, (d).grant_id from (select p, a, file_permissions.decide(p, {resource}, a, {at}) d from unnest(people.acting_as({Subjects(resource, at)}, {at})) p, unnest({FileRule.Actions.ToArray()}) a) all_of_them
        where (d).allowed or (d).reason <> 'no-grant' order by p, a limit {MostLines}
        """, r => (r.GetString(0), r.GetString(1), r.GetBoolean(2), r.GetString(3), r.IsDBNull(4) ? (long?)null : r.GetInt64(4)));

    /// <summary>To whom anything on the way to a resource is granted or refused at <paramref name="at"/>.</summary>
    internal static Sql Subjects(string resource, DateTimeOffset at) =>
        $"array(select distinct g.subject from file_permissions.grants g where g.resource = any(file_permissions.chain({resource})) and g.valid_from <= {at} and g.valid_until > {at} and (g.ended_at is null or g.ended_at > {at}))";

    /// <summary>What one person may do at each registered place at <paramref name="at"/>, where something on the way is granted to them.</summary>
    internal static Question<List<(string Resource, string Action, bool Allowed, string Reason, long? Grant)>> Everywhere(PersonId person, DateTimeOffset at) => Question.All($"""
        select r, a, (d).allowed, (d).reason, (d).grant_id from (select s.resource r, a, file_permissions.decide({person}, s.resource, a, {at}) d
            from (select s.resource from file_permissions.sets s where left(s.resource, 1) = '/' and exists (select from (select distinct g.resource from file_permissions.grants g where g.subject = any(people.subjects_at({person}, {at}))
                and g.valid_from <= {at} and g.valid_until > {at} and (g.ended_at is null or g.ended_at > {at})) mine where mine.resource = any(file_permissions.chain(s.resource)))) s, unnest({FileRule.Actions.ToArray()}) a) all_of_them
        where (d).allowed or (d).reason <> 'no-grant' order by r, a limit {MostLines}
        """, r => (r.GetString(0), r.GetString(1), r.GetBoolean(2), r.GetString(3), r.IsDBNull(4) ? (long?)null : r.GetInt64(4)));

    /// <summary>As whom a person acts now, and until when that is so.</summary>
    internal static Question<(string[] Subjects, DateTimeOffset? Until)> Subjects(PersonId person, DateTimeOffset at) => Question.All(
        $"select people.subjects_at({person}, {at}), people.next_change({person}, {at})", r => (r.GetFieldValue<string[]>(0), Time(r, 1))).Select(r => r[0]);

    /// <summary>Grants to any of these subjects that are valid at <paramref name="at"/> or will be.</summary>
    internal static Question<List<FileGrant>> GrantsTo(PersonId person, DateTimeOffset at) => Question.All(
        $"{Grants()} where g.subject = any(people.subjects_at({person}, {at})) and g.ended_at is null and g.valid_until > {at}", ReadHeld);

    /// <summary>Grants on any of these resources at <paramref name="at"/>, ended ones too.</summary>
    internal static Question<List<GrantLine>> LinesOn(IEnumerable<string> resources, DateTimeOffset at) => Question.All(
        $"{Lines()} where g.resource = any({resources.ToArray()}) and g.valid_from <= {at} and g.valid_until > {at} and (g.ended_at is null or g.ended_at > {at}) order by g.resource, g.id", ReadLine);

    /// <summary>Grants of a person as of <paramref name="at"/>, by any subject they have then.</summary>
    internal static Question<List<GrantLine>> LinesOf(PersonId person, DateTimeOffset at) => Question.All(
        $"{Lines()} where g.subject = any(people.subjects_at({person}, {at})) and g.valid_from <= {at} and g.valid_until > {at} and (g.ended_at is null or g.ended_at > {at}) order by g.resource, g.id", ReadLine);

    /// <summary>Grants in force that <paramref name="which"/> (of g) picks, at most 2,000.</summary>
    internal static Question<List<GrantLine>> LinesWhere(Sql which, DateTimeOffset at) => Question.All(
        $"{Lines()} where g.ended_at is null and g.valid_from <= {at} and g.valid_until > {at} and {which} order by g.resource, g.subject, g.id limit 2000", ReadLine);

    internal static Question<GrantLine?> Line(long id) => Question.First($"{Lines()} where g.id = {id}", ReadLine);

    internal static Task<int> AddSetAsync(UnitOfWork work, FileSet set, string title, int? integrity, int? availability, string by, DateTimeOffset at, CancellationToken ct) => work.ExecuteAsync($"""
        insert into file_permissions.sets (resource, title, section, named_only, confidentiality, integrity, availability, created_at, created_by)
        values ({set.Resource}, {title}, {set.Section}, {set.NamedOnly}, {Text(set.Confidentiality)}::smallint, {Text(integrity)}::smallint, {Text(availability)}::smallint, {at}, {by})
        on conflict (resource) do update set title = excluded.title, section = excluded.section, named_only = excluded.named_only, confidentiality = excluded.confidentiality, integrity = excluded.integrity, availability = excluded.availability
        """, ct);

    internal static async Task<long> AddGrantAsync(UnitOfWork work, FileGrant grant, string reason, string requestedBy, string approvedBy, long? request, CancellationToken ct, string? holder = null) => (await work.QueryAsync($"""
        insert into file_permissions.grants (resource, subject, actions, deny, up_to, conditions, valid_from, valid_until, reason, requested_by, approved_by, request, holder)
        values ({grant.Resource}, {grant.Subject}, {grant.Actions.ToArray()}, {grant.Deny}, {grant.UpTo}, {JsonSerializer.Serialize(grant.Conditions):json}, {grant.From}, {grant.Until}, {reason}, {requestedBy}, {approvedBy}, {request?.ToString(System.Globalization.CultureInfo.InvariantCulture)}::bigint, {holder}) returning id
        """, r => r.GetInt64(0), ct))[0];

    /// <summary>Ends a grant, or with <paramref name="denial"/> a refusal: that widens, so it needs an approval. False: it has ended, there is none, or it is of the other kind.</summary>
    internal static async Task<bool> EndAsync(UnitOfWork work, long id, bool denial, string by, DateTimeOffset at, CancellationToken ct) =>
        await work.ExecuteAsync($"update file_permissions.grants set ended_at = {at}, ended_by = {by} where id = {id} and deny = {denial} and ended_at is null and valid_until > {at}", ct) == 1;

    private static Sql Grants() => $"select g.id, g.resource, g.subject, g.actions, g.deny, g.up_to, g.conditions, g.valid_from, g.valid_until, g.holder from file_permissions.grants g";
    private static Sql Lines() => $"select g.id, g.resource, g.subject, g.actions, g.deny, g.up_to, g.conditions, g.valid_from, g.valid_until, g.reason, g.requested_by, g.approved_by, g.request, g.ended_at, (select max(u.used_at) from file_permissions.uses u where u.grant_id = g.id), g.reviewed_at, g.reviewed_by from file_permissions.grants g";

    private static string? Text(int? value) => value?.ToString(System.Globalization.CultureInfo.InvariantCulture);
    private static int? Small(NpgsqlDataReader r, int column) => r.IsDBNull(column) ? null : r.GetInt16(column);
    private static DateTimeOffset? Time(NpgsqlDataReader r, int column) => r.IsDBNull(column) ? null : r.GetFieldValue<DateTimeOffset>(column);
    private static FileSet ReadSet(NpgsqlDataReader r) => new(r.GetString(0), r.IsDBNull(1) ? null : r.GetString(1), r.GetBoolean(2), Small(r, 3), r.GetBoolean(4));
    private static SetLine ReadSetLine(NpgsqlDataReader r) => new(ReadSet(r), r.GetString(5), Small(r, 6), Small(r, 7), Time(r, 8));
    private static readonly Dictionary<string, JsonElement> None = [];
    private static FileGrant ReadGrant(NpgsqlDataReader r) => new(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetFieldValue<string[]>(3), r.GetBoolean(4), r.GetInt16(5), r.GetString(6) is var json && json == "{}" ? None : JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(json)!, r.GetFieldValue<DateTimeOffset>(7), r.GetFieldValue<DateTimeOffset>(8));
    private static FileGrant ReadHeld(NpgsqlDataReader r) => r.IsDBNull(9) ? ReadGrant(r) : ReadGrant(r) with { Holder = r.GetString(9) };
    private static GrantLine ReadLine(NpgsqlDataReader r) => new(ReadGrant(r), r.GetString(9), r.GetString(10), r.GetString(11), r.IsDBNull(12) ? null : r.GetInt64(12), Time(r, 13), Time(r, 14), Time(r, 15), r.IsDBNull(16) ? null : r.GetString(16));
}
