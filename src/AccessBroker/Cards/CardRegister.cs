using AccessBroker.Database;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.Cards;

/// <summary>A card of the register.</summary>
/// <param name="State">As in <see cref="CardRule"/>.</param>
/// <param name="SignInKey">9A, SubjectPublicKeyInfo; empty while it has none.</param>
/// <param name="PossessionKey">9E, SubjectPublicKeyInfo; empty while it has none.</param>
/// <param name="TriesLeft">PIN tries it was last seen with; null before its first use.</param>
public sealed record Card(CardId Id, PersonId Person, string State, byte[] SignInKey, byte[] PossessionKey, int? TriesLeft)
{
    /// <summary>A card for one day; null: for as long as nothing else says. </summary>
    public DateTimeOffset? TemporaryUntil { get; init; }
    /// <summary>Its PIN was printed: it must be changed before anything else, and before this. <clause>MIC 6.2(5)②</clause></summary>
    public DateTimeOffset? FirstPinUntil { get; init; }
    /// <summary>piv-card, fido-key or otp-token.</summary>
    public string Kind { get; init; } = "piv-card";
    /// <summary>The manufacturer's number.</summary>
    public string Serial { get; init; } = "";
    /// <summary>Where it is kept; empty: with its operator. <clause>INA 第16-6</clause></summary>
    public string Locker { get; init; } = "";
    /// <summary>Who took it back; null: nobody yet.</summary>
    public string? CollectedBy { get; init; }
    /// <summary>The request it was made for.</summary>
    public long? Request { get; init; }
    /// <summary>The card in whose place it comes.</summary>
    public CardId? Replaces { get; init; }
    /// <summary>When it was last inspected.</summary>
    public DateTimeOffset? InspectedAt { get; init; }
    /// <summary>When its state last changed.</summary>
    public DateTimeOffset ChangedAt { get; init; }
    internal int Generation { get; init; }
    internal int PukCounter { get; init; }

    /// <summary>Only a card that was handed over and nothing since may be used. <clause>INA 第16-4</clause></summary>
    public bool Usable => State == "handed-over";

    /// <summary>As the register of cards enters it.</summary>
    internal Dictionary<string, string> Entry() => new()
    {
        ["person"] = Person.Value,
        ["kind"] = Kind,
        ["serial"] = Serial,
        ["state"] = State,
        ["locker"] = Locker,
        ["request"] = Request?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "",
        ["temporaryUntil"] = TemporaryUntil is { } until ? Web.JapaneseTime.Precise(until) : "",
    };
}

/// <summary>The register of cards: the public queries of this slice.</summary>
public static class CardRegister
{
    /// <summary>Signature keys (SubjectPublicKeyInfo) of the cards that these people may use now.</summary>
    public static Question<List<(PersonId Person, byte[] Key)>> SignatureKeysOf(IReadOnlyCollection<PersonId> people, DateTimeOffset at) => Question.All($"select person, signature_key from cards.cards c where person = any({people.Select(p => p.Value).ToArray()}) and signature_key is not null and cards.usable(c.id, {at}) order by person, id", r => (PersonId.Parse(r.GetString(0)), r.GetFieldValue<byte[]>(1)));

    /// <summary>Whose card has this signature key, usable or not; null: nobody's.</summary>
    public static Question<string?> HolderOfSignatureKey(byte[] key) => Question.First($"select person from cards.cards where signature_key = {key}", r => r.GetString(0));

    /// <summary>The public half of a card's key 9C: SubjectPublicKeyInfo, one row; none: no such card.</summary>
    public static Question<List<byte[]>> SignatureKey(CardId card) => Question.All($"select signature_key from cards.cards where id = {card}", r => r.GetFieldValue<byte[]>(0));

    /// <summary>The card, or null when it is not ours.</summary>
    public static Question<Card?> Find(CardId card) => Question.First($"{Columns()} where id = {card}", Read);

    /// <summary>The same, and nobody changes its state before the unit of work is over.</summary>
    public static Question<Card?> FindForUse(CardId card) => Question.First($"{Columns()} where id = {card} for share", Read);

    /// <summary>The same, to change it.</summary>
    internal static Question<Card?> Lock(CardId card) => Question.First($"{Columns()} where id = {card} for update", Read);

    /// <summary>The cards of a person that are not destroyed, newest first; FIDO keys and tokens are none.</summary>
    public static Question<List<Card>> OfPerson(PersonId person) => Question.All($"{Columns()} where person = {person} and kind = 'piv-card' and state <> 'destroyed' order by changed_at desc", Read);

    /// <summary>The same with FIDO keys and tokens.</summary>
    public static Question<List<Card>> MediaOfPerson(PersonId person) => Question.All($"{Columns()} where person = {person} and state <> 'destroyed' order by changed_at desc", Read);

    /// <summary>A FIDO key or token that its person has enrolled, or was given by <paramref name="by"/>: in their hands, on the register. The caller records it. <clause>MIC 5.4解(1)</clause></summary>
    public static async Task AddMediumAsync(UnitOfWork work, CardId id, PersonId person, string kind, string serial, string what, PersonId by, DateTimeOffset at, CancellationToken ct)
    {
        await work.ExecuteAsync($"insert into cards.cards (id, person, state, kind, serial, changed_at) values ({id}, {person}, 'handed-over', {kind}, {serial}, {at})", ct);
        work.Enter("cards", id.Value, what, by.Value, (await work.AskAsync(Find(id), ct))!.Entry(), at);
    }

    /// <summary>Cards by state (empty: all), id or person; newest first, at most 500.</summary>
    /// <param name="temporary">Only cards for a day.</param>
    /// <param name="inspectedBefore">Only cards that were not inspected since.</param>
    internal static Question<List<Card>> Search(string[] states, string[] people, string id, bool temporary = false, DateTimeOffset? inspectedBefore = null) => Question.All($"""
        {Columns()} where ({!temporary} or temporary_until is not null) and ({inspectedBefore is null} or (temporary_until is null and coalesce(inspected_at, changed_at) < {inspectedBefore ?? default})) and ({states.Length == 0} or state = any({states})) and ({people.Length == 0 && id.Length == 0} or person = any({people}) or (id like {id + "%"} and {id.Length >= 4})) order by changed_at desc limit 500
        """, Read);

    private static Sql Columns() => $"""
        select id, person, state, sign_in_key, possession_key, tries_left, temporary_until, first_pin_until, kind, serial, locker, collected_by, request, replaces, inspected_at, changed_at, generation, puk_counter from cards.cards
        """;

    private static Card Read(Npgsql.NpgsqlDataReader r)
    {
        DateTimeOffset? Time(int column) => r.IsDBNull(column) ? null : r.GetFieldValue<DateTimeOffset>(column);
        byte[] Key(int column) => r.IsDBNull(column) ? [] : r.GetFieldValue<byte[]>(column);
        return new(CardId.Parse(r.GetString(0)), PersonId.Parse(r.GetString(1)), r.GetString(2), Key(3), Key(4), r.IsDBNull(5) ? null : r.GetInt32(5))
        {
            TemporaryUntil = Time(6),
            FirstPinUntil = Time(7),
            Kind = r.GetString(8),
            Serial = r.GetString(9),
            Locker = r.GetString(10),
            CollectedBy = r.IsDBNull(11) ? null : r.GetString(11),
            Request = r.IsDBNull(12) ? null : r.GetInt64(12),
            Replaces = r.IsDBNull(13) ? null : CardId.Parse(r.GetString(13)),
            InspectedAt = Time(14),
            ChangedAt = r.GetFieldValue<DateTimeOffset>(15),
            Generation = r.GetInt32(16),
            PukCounter = r.GetInt32(17),
        };
    }

    /// <summary>Notes the PIN tries the card was seen with.</summary>
    public static void NoteTries(UnitOfWork work, CardId card, int triesLeft) =>
        work.Write($"update cards.cards set tries_left = {triesLeft} where id = {card} and tries_left is distinct from {triesLeft}");

    /// <summary>A usable card opens nothing until its PIN is another one, and not after <paramref name="until"/>. False: it is not usable.</summary>
    internal static async Task<bool> RequireNewPinAsync(UnitOfWork work, CardId card, DateTimeOffset until) =>
        await work.ExecuteAsync($"update cards.cards set first_pin_until = least(coalesce(first_pin_until, {until}), {until}) where id = {card} and state = 'handed-over'", CancellationToken.None) == 1;

    /// <summary>The operator has set a PIN of their own in place of the printed one. <clause>MIC 6.2(5)②</clause></summary>
    public static void FirstPinSet(UnitOfWork work, CardId card) => work.Write($"update cards.cards set first_pin_until = null where id = {card}");
}
