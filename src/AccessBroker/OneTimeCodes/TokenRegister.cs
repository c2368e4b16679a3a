using System.Security.Cryptography;
using AccessBroker.Database;
using AccessBroker.Primitives;
using Npgsql;

namespace AccessBroker.OneTimeCodes;

/// <summary>A token as registered.</summary>
/// <param name="Card">On the register of cards; null: in stock, or not confirmed yet.</param>
internal sealed record TokenRow(string Id, CardId? Card, string Serial, string Manufacturer, string Name, byte[] Sealed, OneTimeToken Token, DateTimeOffset AddedAt, DateTimeOffset? UsedAt);

/// <summary>SQL of tokens.</summary>
internal static class TokenRegister
{
    private static Sql Columns() => $"select id, card, serial, manufacturer, name, sealed, digits, algorithm, period, last_step, drift, added_at, used_at from one_time_codes.tokens";

    /// <summary>The tokens of a person that a code could come from: those in use first, then the newest of the others, at most <paramref name="count"/>.</summary>
    internal static Question<List<TokenRow>> Candidates(PersonId person, int count, DateTimeOffset at) => Question.All($"{Columns()} where person = {person} and card is not null order by cards.usable(card, {at}) desc, added_at desc limit {count}", Read);

    /// <summary>The tokens of a person, oldest first.</summary>
    internal static Question<List<TokenRow>> OfPerson(PersonId person) => Question.All($"{Columns()} where person = {person} and card is not null order by added_at", Read);

    /// <summary>What this person was shown and has not confirmed; null: nothing, or too late.</summary>
    internal static Question<TokenRow?> Pending(PersonId person) => Question.First($"{Columns()} where person = {person} and card is null and pending_until > clock_timestamp()", Read);

    /// <summary>A hardware token in stock, locked for the rest of the unit of work.</summary>
    internal static Question<TokenRow?> InStock(string serial) => Question.First($"{Columns()} where serial = {serial} and serial <> '' and card is null for update", Read);

    /// <summary>Hardware tokens that nobody has, at most 500.</summary>
    internal static Question<List<TokenRow>> Stock() => Question.All($"{Columns()} where serial <> '' and card is null order by serial limit 500", Read);

    /// <summary>Which of these serial numbers are registered already.</summary>
    internal static Question<List<string>> Known(IEnumerable<string> serials) => Question.All($"select serial from one_time_codes.tokens where serial = any({serials.ToArray()}) order by serial", r => r.GetString(0));

    /// <summary>A seed that is shown to its person; an earlier one that waits is void.</summary>
    internal static void Show(UnitOfWork work, string id, PersonId person, byte[] sealed_, OneTimeToken token, TimeSpan lasts, DateTimeOffset at)
    {
        work.Write($"delete from one_time_codes.tokens where person = {person} and card is null");
        work.Write($"""
            insert into one_time_codes.tokens (id, person, sealed, digits, algorithm, period, added_at, pending_until)
            values ({id}, {person}, {sealed_}, {token.Digits}, {token.Algorithm.Name}, {(int)token.Period.TotalSeconds}, {at}, clock_timestamp() + {lasts})
            """);
    }

    internal static void AddStock(UnitOfWork work, string id, PskcToken token, byte[] sealed_, DateTimeOffset at) => work.Write($"""
        insert into one_time_codes.tokens (id, serial, manufacturer, sealed, digits, algorithm, period, added_at)
        values ({id}, {token.Serial}, {token.Manufacturer}, {sealed_}, {token.Digits}, {token.Algorithm.Name}, {(int)token.Period.TotalSeconds}, {at})
        """);

    /// <summary>It is somebody's now. False: somebody was faster.</summary>
    internal static async Task<bool> AssignAsync(UnitOfWork work, string id, CardId card, PersonId person, string name, long lastStep, int drift, CancellationToken ct) =>
        await work.ExecuteAsync($"update one_time_codes.tokens set card = {card}, person = {person}, name = {name}, last_step = {lastStep}, drift = {drift}, pending_until = null where id = {id} and card is null", ct) == 1;

    /// <summary>Takes a step: whoever comes second with it, or with an earlier one, finds nothing (RFC 6238 §5.2). <clause>MIC 4.4注2</clause></summary>
    internal static async Task<bool> TakeAsync(UnitOfWork work, string id, long step, int drift, DateTimeOffset at, CancellationToken ct) =>
        await work.ExecuteAsync($"update one_time_codes.tokens set last_step = {step}, drift = {drift}, used_at = {at} where id = {id} and last_step < {step}", ct) == 1;

    private static TokenRow Read(NpgsqlDataReader r) => new(r.GetString(0), r.IsDBNull(1) ? null : CardId.Parse(r.GetString(1)), r.GetString(2), r.GetString(3), r.GetString(4), r.GetFieldValue<byte[]>(5),
        new(r.GetInt32(6), new HashAlgorithmName(r.GetString(7)), TimeSpan.FromSeconds(r.GetInt32(8)), r.GetInt64(9), r.GetInt32(10)), r.GetFieldValue<DateTimeOffset>(11), r.IsDBNull(12) ? null : r.GetFieldValue<DateTimeOffset>(12));
}
