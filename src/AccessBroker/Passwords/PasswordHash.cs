using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using AccessBroker.Primitives;

namespace AccessBroker.Passwords;

/// <summary>This node cannot compute the hash now: its platform lacks the Argon2 that another node used, or too many wait. Nobody is let in by it.</summary>
public sealed class PasswordHashUnavailableException : Exception, IUnavailable
{
    /// <inheritdoc/>
    public string Code => "passwords.hash-unavailable";
    /// <inheritdoc/>
    public string Explanation => "いまはパスワードを確かめられません。しばらくしてから、もう一度お試しください。続くときはシステム管理者へ連絡してください。";
    public PasswordHashUnavailableException() { }
    public PasswordHashUnavailableException(string message) : base(message) { }
    public PasswordHashUnavailableException(string message, Exception inner) : base(message, inner) { }
}

/// <summary>
/// How passwords are stored: Argon2id (RFC 9106) by Debian's libargon2 where it is there, else PBKDF2-HMAC-SHA-256. The strength is ours: 19 MiB and two
/// passes, or 600,000 rounds. The text says how it was made, so that both can be read and the weaker one is replaced at the next use.
/// </summary>
internal static partial class PasswordHash
{
    private const int Rounds = 600_000, MemoryKiB = 19_456, Passes = 2, SaltBytes = 16, HashBytes = 32;
    /// <summary>So many at once take memory and cores; the others wait.</summary>
    private static readonly SemaphoreSlim Turn = new(Math.Max(1, Environment.ProcessorCount));

    /// <summary>Does this platform have Argon2.</summary>
    internal static bool HasArgon2 { get; } = NativeLibrary.TryLoad("libargon2.so.1", out _);

    /// <summary>The stored form of a normalised password.</summary>
    internal static Task<string> MakeAsync(string password, CancellationToken ct, bool? argon2 = null) => InTurnAsync(() =>
    {
        var salt = RandomNumberGenerator.GetBytes(SaltBytes);
        return argon2 ?? HasArgon2
            ? string.Create(CultureInfo.InvariantCulture, $"$argon2id$v=19$m={MemoryKiB},t={Passes},p=1${Text(salt)}${Text(Argon2id(Encoding.UTF8.GetBytes(password), salt, MemoryKiB, Passes, HashBytes))}")
            : string.Create(CultureInfo.InvariantCulture, $"$pbkdf2-sha256$i={Rounds}${Text(salt)}${Text(Rfc2898DeriveBytes.Pbkdf2(password, salt, Rounds, HashAlgorithmName.SHA256, HashBytes))}");
    }, ct);

    /// <summary>Is it the password. Against null it costs the same and says no. Throws <see cref="PasswordHashUnavailableException"/>.</summary>
    internal static Task<bool> IsAsync(string? stored, string password, CancellationToken ct) => InTurnAsync(() =>
    {
        var (kind, parameters, salt, expected) = Parse(stored ?? Nobody);
        var computed = kind == "argon2id" ? Argon2id(Encoding.UTF8.GetBytes(password), salt, parameters["m"], parameters["t"], expected.Length)
            : Rfc2898DeriveBytes.Pbkdf2(password, salt, parameters["i"], HashAlgorithmName.SHA256, expected.Length);
        return Secret.Same(computed, expected) && stored is not null;
    }, ct);

    /// <summary>True when it is weaker than what is made today.</summary>
    internal static bool IsDated(string stored) => HasArgon2 && !stored.StartsWith(string.Create(CultureInfo.InvariantCulture, $"$argon2id$v=19$m={MemoryKiB},t={Passes},p=1$"), StringComparison.Ordinal);

    /// <summary>Argon2id version 0x13 with one lane.</summary>
    internal static byte[] Argon2id(byte[] password, byte[] salt, int memoryKiB, int passes, int length)
    {
        if (!HasArgon2) throw new PasswordHashUnavailableException("libargon2.so.1 is not installed");
        var hash = new byte[length];
        var status = argon2id_hash_raw((uint)passes, (uint)memoryKiB, 1, password, (nuint)password.Length, salt, (nuint)salt.Length, hash, (nuint)hash.Length);
        CryptographicOperations.ZeroMemory(password);
        return status == 0 ? hash : throw new PasswordHashUnavailableException($"argon2id: {status}");
    }

    private static readonly string Nobody = HasArgon2 ? string.Create(CultureInfo.InvariantCulture, $"$argon2id$v=19$m={MemoryKiB},t={Passes},p=1${Text(new byte[SaltBytes])}${Text(new byte[HashBytes])}") : string.Create(CultureInfo.InvariantCulture, $"$pbkdf2-sha256$i={Rounds}${Text(new byte[SaltBytes])}${Text(new byte[HashBytes])}");

    private static (string Kind, Dictionary<string, int> Parameters, byte[] Salt, byte[] Hash) Parse(string stored)
    {
        var parts = stored.Split('$', StringSplitOptions.RemoveEmptyEntries).Where(p => !p.StartsWith("v=", StringComparison.Ordinal)).ToArray();
        return parts is [var kind, var parameters, var salt, var hash]
            ? (kind, parameters.Split(',').Select(p => p.Split('=')).ToDictionary(p => p[0], p => int.Parse(p[1], CultureInfo.InvariantCulture)), Bytes(salt), Bytes(hash))
            : throw new FormatException("a stored password of unknown form");
    }

    private static async Task<T> InTurnAsync<T>(Func<T> work, CancellationToken ct)
    {
        // Whoever waits longer than a page would is told so.
        if (!await Turn.WaitAsync(TimeSpan.FromSeconds(15), ct)) throw new PasswordHashUnavailableException("too many passwords are being checked at once");
        try { return await Task.Run(work, ct); }
        finally { Turn.Release(); }
    }

    private static string Text(byte[] bytes) => Convert.ToBase64String(bytes).TrimEnd('=');
    private static byte[] Bytes(string text) => Convert.FromBase64String(text.PadRight((text.Length + 3) / 4 * 4, '='));

    [LibraryImport("libargon2.so.1"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int argon2id_hash_raw(uint passes, uint memoryKiB, uint lanes, byte[] password, nuint passwordLength, byte[] salt, nuint saltLength, [Out] byte[] hash, nuint hashLength);
}
