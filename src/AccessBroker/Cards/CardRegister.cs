using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>A card of the register.</summary>
/// <param name="State">personalised, in-locker, handed-over, lost, revoked, returned, destroyed.</param>
/// <param name="SignInKey">9A, SubjectPublicKeyInfo.</param>
/// <param name="PossessionKey">9E, SubjectPublicKeyInfo.</param>
/// <param name="TriesLeft">PIN tries it was last seen with; null before its first use.</param>
public sealed record Card(CardId Id, PersonId Person, string State, byte[] SignInKey, byte[] PossessionKey, int? TriesLeft)
{
    /// <summary>Only a card that was handed over and nothing since may be used. <clause>INA 第16-4</clause></summary>
    public bool Usable => State == "handed-over";
}

/// <summary>The register of cards: the public queries of this slice.</summary>
public static class CardRegister
{
    /// <summary>The card, or null when it is not ours.</summary>
    public static Question<Card?> Find(CardId card) => Question.First($"select id, person, state, sign_in_key, possession_key, tries_left from cards.cards where id = {card}", Read);

    /// <summary>The same, and nobody changes its state before the unit of work is over.</summary>
    public static Question<Card?> FindForUse(CardId card) => Question.First($"select id, person, state, sign_in_key, possession_key, tries_left from cards.cards where id = {card} for share", Read);

    private static Card Read(Npgsql.NpgsqlDataReader r) => new(CardId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), r.GetString(2), r.GetFieldValue<byte[]>(3), r.GetFieldValue<byte[]>(4), r.IsDBNull(5) ? null : r.GetInt32(5));

    /// <summary>Notes the PIN tries the card was seen with.</summary>
    public static void NoteTries(UnitOfWork work, CardId card, int triesLeft) =>
        work.Write($"update cards.cards set tries_left = {triesLeft} where id = {card} and tries_left is distinct from {triesLeft}");
}
