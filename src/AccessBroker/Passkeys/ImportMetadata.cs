using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Primitives;
using AccessBroker.Sessions;

namespace AccessBroker.Passkeys;

/// <summary>
/// <c>AccessBroker passkeys import FILE</c>: takes a FIDO metadata file from a carrier into a closed network, and judges the enrolled keys anew: keys of a
/// model that is revoked open nothing from the same commit on. <clause>MIC 3(4)③</clause>
/// </summary>
internal static class ImportMetadata
{
    internal sealed record Result(long Number, int Models, int Revoked, DateOnly NextUpdate);

    /// <summary>As the owner role, all or nothing. Throws <see cref="MetadataException"/>: nothing has changed.</summary>
    internal static async Task<Result> RunAsync(Store owner, CardChange change, LiveSessions sessions, byte[] file, X509Certificate2 root, string signer, TimeProvider time, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await owner.BeginAsync(ct);
        await PasskeyRegister.LockModelsAsync(work, alone: true, ct);
        var last = (await work.QueryAsync($"select coalesce(max(number), 0) from passkeys.metadata", r => r.GetInt64(0), ct))[0];
        var blob = MetadataBlob.Read(file, root, signer, last, now);
        await work.ExecuteAsync($"delete from passkeys.models", ct);
        foreach (var model in blob.Models.DistinctBy(m => m.Aaguid))
            work.Write($"insert into passkeys.models (aaguid, description, anchors, statuses, revoked) values ({model.Aaguid.ToString("D")}::uuid, {model.Description}, {model.Anchors.ToArray()}, {model.Statuses.ToArray()}, {model.Revoked})");
        var sha256 = Convert.ToHexStringLower(SHA256.HashData(file));
        work.Write($"insert into passkeys.metadata (number, next_update, imported_at, models, sha256) values ({blob.Number}, {blob.NextUpdate.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture)}::date, {now}, {blob.Models.Count}, {sha256})");
        var revoked = await JudgeAsync(work, change, sessions, blob, now, ct);
        work.Record(new("passkeys.import-metadata", HistoryOutcome.Done) { Details = new Dictionary<string, string> { ["number"] = $"{blob.Number}", ["models"] = $"{blob.Models.Count}", ["revokedKeys"] = $"{revoked}", ["sha256"] = sha256 } }, now);
        await work.CommitAsync(ct);
        return new(blob.Number, blob.Models.Count, revoked, blob.NextUpdate);
    }

    private static async Task<int> JudgeAsync(UnitOfWork work, CardChange change, LiveSessions sessions, MetadataBlob blob, DateTimeOffset now, CancellationToken ct)
    {
        var models = blob.Models.DistinctBy(m => m.Aaguid).ToDictionary(m => m.Aaguid);
        var bad = models.Values.Where(m => m.Revoked).Select(m => m.Aaguid.ToString("D")).ToArray();
        // Whatever a key said of itself when it was enrolled is judged by what this file says of its model.
        foreach (var key in await work.AskAsync(PasskeyRegister.WithChain(), ct))
        {
            var trusted = models.TryGetValue(key.Aaguid, out var model) && !model.Revoked && Attestation.IsTrusted(key.Chain, model.Anchors, key.CreatedAt);
            if (trusted == key.Trusted) continue;
            await work.ExecuteAsync($"update passkeys.keys set trusted = {trusted} where card = {key.Card}", ct);
            // A session that was believed more than its key deserves now.
            if (!trusted) foreach (var one in await sessions.EndWithinAsync(work, SessionFilter.OfCard(key.Card), "sessions.passkey-not-trusted")) work.Record(one.Event, one.At);
        }
        var count = 0;
        foreach (var (card, person) in await work.QueryAsync($"select card, person from passkeys.keys where aaguid::text = any({bad}) order by card", r => (CardId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1))), ct))
        {
            if (await change.RunAsync(work, card, "revoke", "機種の取消", CardChange.Clock, new Dictionary<string, string> { ["reason"] = "FIDO metadata" }) is not { } events) continue;
            foreach (var one in events) work.Record(one.Event, one.At);
            work.Notify([person], "パスキーが使えなくなりました", "このキーの機種が、安全でないとして取り消されました。カードでサインインし、別のキーを登録してください。", "/passkeys", now);
            count++;
        }
        return count;
    }
}
