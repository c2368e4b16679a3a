using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.Helper;

/// <summary>SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): what a PostgreSQL server stores of a password, from which it cannot be computed back.</summary>
internal static class Scram
{
    private const int Iterations = 4096;

    /// <summary><c>SCRAM-SHA-256$4096:salt$StoredKey:ServerKey</c>. <paramref name="password"/>: ASCII, so that SASLprep changes nothing.</summary>
    internal static string Verifier(string password, byte[]? salt = null)
    {
        salt ??= RandomNumberGenerator.GetBytes(16);
        var salted = Rfc2898DeriveBytes.Pbkdf2(password, salt, Iterations, HashAlgorithmName.SHA256, 32);
        var stored = SHA256.HashData(HMACSHA256.HashData(salted, Encoding.ASCII.GetBytes("Client Key")));
        var server = HMACSHA256.HashData(salted, Encoding.ASCII.GetBytes("Server Key"));
        return $"SCRAM-SHA-256${Iterations}:{Convert.ToBase64String(salt)}${Convert.ToBase64String(stored)}:{Convert.ToBase64String(server)}";
    }
}
