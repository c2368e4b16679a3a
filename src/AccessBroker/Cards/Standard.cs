using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Cards;

/// <summary>The PIN manager's operating standard (運用基準): versions with the day they take effect, and who has acknowledged which. <clause>INA 第7-2</clause></summary>
/// <param name="Version">1, 2, 3, …</param>
public sealed record Standard(int Version, string Title, string Text, DateTimeOffset EffectiveFrom, string PublishedBy)
{
    /// <summary>The version in force at <paramref name="at"/>; null: none was published yet.</summary>
    public static Question<Standard?> InForce(DateTimeOffset at) => Question.First($"select version, title, text, effective_from, published_by from cards.standards where effective_from <= {at} order by version desc limit 1", Read);

    /// <summary>All versions, newest first.</summary>
    public static Question<List<Standard>> All() => Question.All($"select version, title, text, effective_from, published_by from cards.standards order by version desc", Read);

    /// <summary>True while a version is in force that the person has not acknowledged. <clause>MOJ 第5-4(3)</clause></summary>
    public static Question<bool> IsUnread(PersonId person, DateTimeOffset at) => Question.Any($"""
        select 1 from (select version from cards.standards where effective_from <= {at} order by version desc limit 1) as s where not exists (select from cards.acknowledgements a where a.person = {person} and a.version = s.version)
        """);

    /// <summary>The person has read it and will follow it.</summary>
    public static void Acknowledge(UnitOfWork work, PersonId person, int version, DateTimeOffset at) =>
        work.Write($"insert into cards.acknowledgements (person, version, at) values ({person}, {version}, {at}) on conflict do nothing");

    /// <summary>How many people have acknowledged each version.</summary>
    internal static Question<Dictionary<int, long>> Counts() => Question.All($"select version, count(*) from cards.acknowledgements group by version", r => (r.GetInt32(0), r.GetInt64(1))).Select(rows => rows.ToDictionary());

    private static Standard Read(Npgsql.NpgsqlDataReader r) => new(r.GetInt32(0), r.GetString(1), r.GetString(2), r.GetFieldValue<DateTimeOffset>(3), r.GetString(4));
}
