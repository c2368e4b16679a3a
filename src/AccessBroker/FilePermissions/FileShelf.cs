using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.FilePermissions;

/// <summary>What is stored, by whom and in which version, under row-level security; and when rights were used. For the file server. <clause>MOJ 第5-4(4), 第5-8(1)イ</clause></summary>
public static class FileShelf
{
    /// <summary>What follows in this unit of work sees and touches only what this person may.</summary>
    public static async Task ActAsAsync(UnitOfWork work, PersonId person, CancellationToken ct) => await work.QueryAsync($"select set_config('accessbroker.operator', {person}, true)", r => r.GetString(0), ct);

    /// <summary>Notes that a file was stored; its version, from 1.</summary>
    public static async Task<int> StoreAsync(UnitOfWork work, string path, long bytes, string sha256, PersonId by, DateTimeOffset at, CancellationToken ct) => (await work.QueryAsync($"""
        insert into file_permissions.files as f (path, bytes, sha256, version, changed_by, changed_at) values ({path}, {bytes}, {sha256}, 1, {by}, {at})
        on conflict (path) do update set bytes = excluded.bytes, sha256 = excluded.sha256, version = f.version + 1, changed_by = excluded.changed_by, changed_at = excluded.changed_at returning version
        """, r => r.GetInt32(0), ct))[0];

    /// <summary>Notes that a file is gone.</summary>
    public static Task<int> RemoveAsync(UnitOfWork work, string path, CancellationToken ct) => work.ExecuteAsync($"delete from file_permissions.files where path = {path}", ct);

    /// <summary>Notes the use of a grant, to the hour.</summary>
    public static void NoteUse(UnitOfWork work, long grant, string person, string action, DateTimeOffset at) => work.Write($"""
        insert into file_permissions.uses as u (grant_id, person, action, used_at) values ({grant}, {person}, {action}, {at})
        on conflict (grant_id, person, action) do update set used_at = excluded.used_at where u.used_at < excluded.used_at - interval '1 hour'
        """);
}
