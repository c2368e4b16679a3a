using System.Buffers.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.Options;

namespace AccessBroker.Passkeys;

/// <summary>Whose passkeys: the user handle that keys carry, random and without meaning.</summary>
internal sealed record PasskeyUser(string Handle, string Name, IReadOnlyList<UserPasskeyInfo> Keys);

/// <summary>A key that was registered: what is stored of it, and what it says of its model.</summary>
internal sealed record RegisteredKey(byte[] CredentialId, byte[] PublicKey, uint SignCount, bool BackupEligible, bool BackedUp, string Transports, Attested Attested);

/// <summary>
/// The two ceremonies of Web Authentication by the shared framework's <see cref="PasskeyHandler{TUser}"/>. What it is given: our origin, user
/// verification, and keys whose counter reads 0, because a counter that went back is for us to judge and to record, not only to refuse.
/// </summary>
/// <param name="verification">required, as everywhere in the product; tests of vectors say otherwise.</param>
internal sealed class PasskeyCeremony(string rpId, string origin, string verification = "required")
{
    internal static PasskeyCeremony Of(BrokerOptions options) => new(new Uri(options.Issuer).Host, options.Issuer);

    /// <summary>Registration: options for the page, and what the answer is judged by (kept here, one use).</summary>
    internal async Task<(string Options, string State)> BeginRegistrationAsync(PasskeyUser user, HttpContext context)
    {
        var made = await Handler(user).MakeCreationOptionsAsync(new PasskeyUserEntity { Id = user.Handle, Name = user.Name, DisplayName = user.Name }, context);
        return (made.CreationOptionsJson, made.AttestationState!);
    }

    /// <summary>Null: the answer does not hold.</summary>
    internal async Task<RegisteredKey?> RegisterAsync(string credential, string state, HttpContext context)
    {
        Attested? attested = null;
        var handler = Handler(null, o => o.VerifyAttestationStatement = statement =>
        {
            attested = Attestation.Verify(statement.AttestationObject, statement.ClientDataHash);
            return ValueTask.FromResult(attested is not null);
        });
        var result = await handler.PerformAttestationAsync(new PasskeyAttestationContext { HttpContext = context, CredentialJson = credential, AttestationState = state });
        return result is { Succeeded: true, Passkey: var key } && attested is not null ? new(key.CredentialId, key.PublicKey, key.SignCount, key.IsBackupEligible, key.IsBackedUp, string.Join(' ', key.Transports ?? []), attested) : null;
    }

    /// <summary>Sign-in: options for the page. Without a user any key of ours that carries its user will do.</summary>
    /// <param name="challenge">What is to be signed, 32 bytes; null: random.</param>
    internal async Task<(string Options, string State)> BeginAssertionAsync(PasskeyUser? user, HttpContext context, byte[]? challenge = null)
    {
        var made = await Handler(user).MakeRequestOptionsAsync(user, context);
        if (challenge is null) return (made.RequestOptionsJson, made.AssertionState!);
        // The handler has no way to be given one: its own is exchanged, in what the page gets and in what the answer is judged by.
        var (options, state) = (JsonNode.Parse(made.RequestOptionsJson)!, JsonNode.Parse(made.AssertionState!)!);
        var own = Base64Url.DecodeFromChars((string)options["challenge"]!);
        if ((string?)state["challenge"] is not { } kept || !Convert.FromBase64String(kept).AsSpan().SequenceEqual(own)) throw new InvalidOperationException("the framework's state has another form than expected");
        (options["challenge"], state["challenge"]) = (Base64Url.EncodeToString(challenge), Convert.ToBase64String(challenge));
        return (options.ToJsonString(), state.ToJsonString());
    }

    /// <summary>The counter that the key signed, or null: the answer does not hold.</summary>
    internal async Task<uint?> AssertAsync(PasskeyUser user, string credential, string state, HttpContext context)
    {
        var result = await Handler(user).PerformAssertionAsync(new PasskeyAssertionContext { HttpContext = context, CredentialJson = credential, AssertionState = state });
        return result is { Succeeded: true, Passkey: var key } ? key.SignCount : null;
    }

    /// <summary>The credential id a page's answer names: base64url, or null.</summary>
    internal static byte[]? CredentialIdOf(JsonElement credential) => Bytes(credential, "id");

    /// <summary>The user handle of a discoverable key, or null.</summary>
    internal static string? UserHandleOf(JsonElement credential) => credential.TryGetProperty("response", out var response) && response.ValueKind == JsonValueKind.Object && Bytes(response, "userHandle") is { } handle ? System.Text.Encoding.UTF8.GetString(handle) : null;

    /// <summary>A base64url member; null: it is none.</summary>
    internal static byte[]? Bytes(JsonElement json, string name)
    {
        if (StrictJson.Text(json, name) is not { Length: > 0 and <= 2048 } text) return null;
        try { return Base64Url.DecodeFromChars(text); }
        catch (FormatException) { return null; }
    }

    private PasskeyHandler<PasskeyUser> Handler(PasskeyUser? user, Action<IdentityPasskeyOptions>? more = null)
    {
        var options = new IdentityPasskeyOptions
        {
            ServerDomain = rpId,
            UserVerificationRequirement = verification,
            // Sign-in asks nobody for a name: only a key that carries its user is of use.
            ResidentKeyRequirement = "required",
            AttestationConveyancePreference = "direct",
            AuthenticatorTimeout = TimeSpan.FromMinutes(2),
            IsAllowedAlgorithm = algorithm => algorithm is -7 or -35 or -36 or -257,
            ValidateOrigin = context => ValueTask.FromResult(context.Origin == origin && !context.CrossOrigin && context.TopOrigin is null),
        };
        more?.Invoke(options);
#pragma warning disable CA2000 // Its store holds nothing to be disposed.
        return new(new UserManager<PasskeyUser>(new OneUser(user), Options.Create(new IdentityOptions()), null!, null!, null!, null!, new IdentityErrorDescriber(), null!, null!), Options.Create(options));
#pragma warning restore CA2000
    }

    /// <summary>What the handler asks for: one user, known beforehand.</summary>
    private sealed class OneUser(PasskeyUser? user) : IUserPasskeyStore<PasskeyUser>
    {
        public Task<PasskeyUser?> FindByIdAsync(string userId, CancellationToken cancellationToken) => Task.FromResult(user?.Handle == userId ? user : null);
        public Task<PasskeyUser?> FindByPasskeyIdAsync(byte[] credentialId, CancellationToken cancellationToken) => Task.FromResult(user is not null && user.Keys.Any(k => k.CredentialId.AsSpan().SequenceEqual(credentialId)) ? user : null);
        public Task<UserPasskeyInfo?> FindPasskeyAsync(PasskeyUser user, byte[] credentialId, CancellationToken cancellationToken) => Task.FromResult(user.Keys.FirstOrDefault(k => k.CredentialId.AsSpan().SequenceEqual(credentialId)));
        public Task<IList<UserPasskeyInfo>> GetPasskeysAsync(PasskeyUser user, CancellationToken cancellationToken) => Task.FromResult<IList<UserPasskeyInfo>>([.. user.Keys]);
        public Task<string> GetUserIdAsync(PasskeyUser user, CancellationToken cancellationToken) => Task.FromResult(user.Handle);
        public Task<string?> GetUserNameAsync(PasskeyUser user, CancellationToken cancellationToken) => Task.FromResult<string?>(user.Name);
        public void Dispose() { }

        // The handler neither changes users nor finds them by name.
        public Task AddOrUpdatePasskeyAsync(PasskeyUser user, UserPasskeyInfo passkey, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task RemovePasskeyAsync(PasskeyUser user, byte[] credentialId, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task SetUserNameAsync(PasskeyUser user, string? userName, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task<string?> GetNormalizedUserNameAsync(PasskeyUser user, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task SetNormalizedUserNameAsync(PasskeyUser user, string? normalizedName, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task<IdentityResult> CreateAsync(PasskeyUser user, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task<IdentityResult> UpdateAsync(PasskeyUser user, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task<IdentityResult> DeleteAsync(PasskeyUser user, CancellationToken cancellationToken) => throw new NotSupportedException();
        public Task<PasskeyUser?> FindByNameAsync(string normalizedUserName, CancellationToken cancellationToken) => throw new NotSupportedException();
    }

    /// <summary>A stored key as the handler takes it.</summary>
    internal static UserPasskeyInfo InfoOf(byte[] credentialId, byte[] publicKey, string transports, bool backupEligible, bool backedUp, DateTimeOffset at) =>
        new(credentialId, publicKey, at, 0, transports.Length == 0 ? null : transports.Split(' '), isUserVerified: true, isBackupEligible: backupEligible, isBackedUp: backedUp, attestationObject: [], clientDataJson: []);
}
