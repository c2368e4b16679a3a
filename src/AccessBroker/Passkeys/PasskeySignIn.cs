using System.Text.Json;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.Notices;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Web;

namespace AccessBroker.Passkeys;

/// <summary>What a key has proven: whose it is; and its answer, for whoever keeps it.</summary>
/// <param name="Attested">Its model is known and trusted.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
/// <param name="Authenticator">authenticatorData.</param>
/// <param name="Client">clientDataJSON.</param>
public sealed record ProvenPasskey(CardId Card, PersonId Person, bool Attested, byte[] PublicKey, byte[] Authenticator, byte[] Client, byte[] Signature);

/// <summary>The ceremony of a sign-in, for <c>SignIn</c>: options for the page, and whose key answered.</summary>
public sealed class PasskeySignIn(Active<PasskeysPolicy> policy, Candidates candidates, CardChange change, BrokerOptions options, TimeProvider time)
{
    /// <summary>Options for the page; what the answer is judged by stays here. Any key of ours that carries its user will do. The caller commits.</summary>
    /// <param name="transaction">The sign-in it belongs to: an answer is good for it and for no other.</param>
    /// <param name="challenge">What the key is to sign, 32 bytes; null: random.</param>
    public async Task<(string Id, string Options)> BeginAsync(UnitOfWork work, HttpContext context, string transaction, byte[]? challenge = null)
    {
        var (made, state) = await PasskeyCeremony.Of(options).BeginAssertionAsync(null, context, challenge);
        var id = Secret.New(16);
        PasskeyRegister.Keep(work, id, "sign-in", transaction, state, policy.Now.Ceremony);
        return (id, made);
    }

    /// <summary>
    /// Whose key signed, in the caller's unit of work; null and a reason code otherwise. A counter that went back means two keys of one secret: the key is
    /// suspended and somebody looks at it. <clause>MIC 3(1)②(ア)</clause>
    /// </summary>
    public async Task<(ProvenPasskey? Proven, string Reason)> AssertAsync(UnitOfWork work, HttpContext context, string transaction, string? id, JsonElement credential, CancellationToken ct)
    {
        if (await PasskeyRegister.TakeAsync(work, id, "sign-in", transaction, ct) is not { } state) return (null, "sign-in.passkey-ceremony-over");
        if (PasskeyCeremony.CredentialIdOf(credential) is not { } credentialId || await work.AskAsync(PasskeyRegister.FindByCredential(credentialId), ct) is not { } key) return (null, "sign-in.passkey-unknown");
        // The city may have decided otherwise since it was enrolled.
        if (!policy.Now.Allows(key.Aaguid) || await work.AskAsync(PasskeyRegister.FindModel(key.Aaguid), ct) is { Revoked: true }) return (null, "sign-in.passkey-model-refused");
        var user = new PasskeyUser(await PasskeyRegister.HandleAsync(work, key.Person, ct), key.Name, [EnrolPasskey.Info(key)]);
        if (await PasskeyCeremony.Of(options).AssertAsync(user, credential.GetRawText(), state, context) is not { } counter) return (null, "sign-in.passkey-not-proven");
        var response = credential.GetProperty("response");
        // Larger than anything a key sends: it would not be kept.
        if (PasskeyCeremony.Bytes(response, "authenticatorData") is not { } authenticator || PasskeyCeremony.Bytes(response, "clientDataJSON") is not { } client || PasskeyCeremony.Bytes(response, "signature") is not { } signature) return (null, "sign-in.passkey-not-proven");
        var now = time.GetUtcNow();
        // §7.2 step 22; a key without a counter stays at 0.
        if ((counter > 0 || key.SignCount > 0) && counter <= key.SignCount)
        {
            await SuspendAsync(work, key, counter, now, ct);
            return (null, "sign-in.passkey-cloned");
        }
        PasskeyRegister.Used(work, key.Card, counter, now);
        return (new(key.Card, key.Person, key.Trusted, CoseKey.Read(key.PublicKey)!.SubjectPublicKeyInfo(), authenticator, client, signature), "");
    }

    /// <summary>The public key (SubjectPublicKeyInfo, DER) that is registered under this number; null: none.</summary>
    public static Question<byte[]?> PublicKeyOf(CardId card) => Question.First($"select public_key from passkeys.keys where card = {card}", r => CoseKey.Read(r.GetFieldValue<byte[]>(0))!.SubjectPublicKeyInfo());

    private async Task SuspendAsync(UnitOfWork work, PasskeyRow key, uint counter, DateTimeOffset now, CancellationToken ct)
    {
        foreach (var one in await change.RunAsync(work, key.Card, "suspend", "カウンターの逆行により一時停止", CardChange.Clock, new Dictionary<string, string> { ["reason"] = "複製の疑い" }) ?? []) work.Record(one.Event, one.At);
        work.Record(new("passkeys.counter-went-back", HistoryOutcome.Refused, "passkeys.cloned") { Person = key.Person, Card = key.Card, Details = new Dictionary<string, string> { ["known"] = $"{key.SignCount}", ["found"] = $"{counter}" } }, now);
        work.Notify([key.Person], "パスキーを一時停止しました", "複製された疑いがあります。心当たりを確かめ、情報セキュリティ管理者へ連絡してください。", "/passkeys", now);
        await candidates.RaiseAsync(work, "cloned-key", 2, key.Card.Value, null, key.Person, null, new Dictionary<string, string> { ["記録の値"] = $"{key.SignCount}", ["示された値"] = $"{counter}" }, ct);
    }
}
