using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;

namespace AccessBroker.FilePermissions;

/// <summary>Enforcement points that may ask over AuthZEN, made and revoked at the server. <clause>MOJ 第5-4(4)</clause></summary>
internal static class Enforcers
{
    /// <summary>A new secret, to be shown once; an earlier one of that name is void. Throws <see cref="FormatException"/> for a name that is no identifier, or a place that is none.</summary>
    /// <param name="batches">Below here the program may run bulk updates; null: nowhere. <clause>MOJ 第5-8(2)ア</clause></param>
    internal static async Task<string> MakeAsync(Store owner, string name, string? batches, TimeProvider time, CancellationToken ct)
    {
        if (batches is not null && FilePath.Parse(batches) is null) throw new FormatException($"'{batches}' is no canonical path");
        var secret = Secret.New();
        await using var work = await owner.BeginAsync(ct);
        await work.ExecuteAsync($"""
            insert into file_permissions.enforcers (name, secret_hash, batches, created_at) values ({IdForm.Require(name)}, {Secret.Hash(secret)}, {(batches is null ? null : FilePath.Parse(batches))}, {time.GetUtcNow()})
            on conflict (name) do update set secret_hash = excluded.secret_hash, batches = excluded.batches, created_at = excluded.created_at, revoked_at = null
            """, ct);
        work.Record(new("files.make-enforcer", HistoryOutcome.Done) { Client = name, Details = new Dictionary<string, string> { ["batches"] = batches ?? "" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return secret;
    }

    /// <summary>Throws <see cref="InvalidOperationException"/> when there is none of that name.</summary>
    internal static async Task<string> RevokeAsync(Store owner, string name, TimeProvider time, CancellationToken ct)
    {
        await using var work = await owner.BeginAsync(ct);
        if (await work.ExecuteAsync($"update file_permissions.enforcers set revoked_at = {time.GetUtcNow()} where name = {name} and revoked_at is null", ct) == 0) throw new InvalidOperationException($"no enforcement point '{name}'");
        work.Record(new("files.revoke-enforcer", HistoryOutcome.Ended, "files.revoked") { Client = name }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return $"{name} is revoked";
    }
}
