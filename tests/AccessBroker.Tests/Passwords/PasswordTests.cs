using System.Text;
using AccessBroker.Passwords;
using AccessBroker.Policies;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Passwords;

/// <summary>What may be a password, and how it is stored.</summary>
public sealed class PasswordTests
{
    private static readonly PasswordsPolicy Policy = PolicyFiles.Load<PasswordsPolicy>(Path.Combine(Place.Root, "policies"), "passwords");
    private static readonly string[] Own = ["p-1001", "10010", "試験", "一子", "試験 一子"];

    [Theory, Trait("Requirement", "PWD-01")]
    [InlineData("short"), InlineData("password1234567"), InlineData("P@ssw0rd!P@ssw0rd!"), InlineData("aaaaaaaaaaaaaaaa"), InlineData("qwertyuiop1234"), InlineData("abcabcabcabcabc"), InlineData("Shiyakusho2026!!"), InlineData("１２３４５６７８９０１２"),
     InlineData("admin-admin-admin"), InlineData("試験一子10010試験一子"), InlineData("xyz9xyz9xyz9xyz9"), InlineData("Password2026Spring"), InlineData("㍿㍿㍿"), InlineData("tab\there-in-the-middle")]
    public void What_anybody_would_guess_is_refused(string password) => Assert.NotNull(PasswordRule.Problem(PasswordRule.Normalise(password), Policy, Own));

    [Theory]
    [InlineData("みどりの自転車 8台 kaze"), InlineData("correct horse battery staple"), InlineData("tK9#vm2$Lq8w"), InlineData("庭に二羽にわとりがいる朝"), InlineData("m-7rp2-wz4h-kk9d")]
    public void What_nobody_would_guess_is_taken(string password) => Assert.Null(PasswordRule.Problem(PasswordRule.Normalise(password), Policy, Own));

    [Fact]
    public void A_password_longer_than_the_limit_is_refused() => Assert.NotNull(PasswordRule.Problem(string.Concat(Enumerable.Range(0, 40).Select(i => $"w{i * 7919}")), Policy, Own));

    /// <summary>The reference implementation's own test (test.c, version 0x13: t=2, m=2^16, p=1; and with another salt).</summary>
    [Theory]
    [InlineData("password", "somesalt", 65536, 2, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7")]
    [InlineData("password", "somesalt", 256, 2, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe")]
    [InlineData("password", "somesalt", 65536, 1, "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98")]
    [InlineData("differentpassword", "somesalt", 65536, 2, "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde")]
    [InlineData("password", "diffsalt", 65536, 2, "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c")]
    public void Argon2id(string password, string salt, int memory, int passes, string hash) =>
        Assert.Equal(hash, Convert.ToHexStringLower(PasswordHash.Argon2id(Encoding.ASCII.GetBytes(password), Encoding.ASCII.GetBytes(salt), memory, passes, 32)));

    [Theory, InlineData(true, "$argon2id$v=19$m=19456,t=2,p=1$"), InlineData(false, "$pbkdf2-sha256$i=600000$")]
    public async Task Both_forms_are_read_and_the_weaker_one_is_dated(bool argon2, string prefix)
    {
        var stored = await PasswordHash.MakeAsync("みどりの自転車", default, argon2);
        Assert.StartsWith(prefix, stored, StringComparison.Ordinal);
        Assert.Equal((true, false, false), (await PasswordHash.IsAsync(stored, "みどりの自転車", default), await PasswordHash.IsAsync(stored, "みどりの自転車 ", default), await PasswordHash.IsAsync(null, "みどりの自転車", default)));
        Assert.NotEqual(stored, await PasswordHash.MakeAsync("みどりの自転車", default, argon2));
        Assert.Equal(!argon2, PasswordHash.IsDated(stored));
    }
}
