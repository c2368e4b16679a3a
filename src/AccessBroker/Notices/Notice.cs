using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.Primitives;

namespace AccessBroker.Notices;

/// <summary>Something that waits for one person.</summary>
/// <param name="Title">What kind of thing: Japanese text.</param>
/// <param name="Detail">Whose, which.</param>
/// <param name="Url">Where it is done.</param>
/// <param name="Due">When it should be done; null: whenever.</param>
public sealed record WaitingTask(string Title, string Detail, string Url, DateTimeOffset? Due);

/// <summary>What a slice has waiting for a person. Asked at every look at the task list.</summary>
public interface ITaskSource
{
    /// <summary>The tasks of this person now.</summary>
    Task<IEnumerable<WaitingTask>> OfAsync(UnitOfWork work, MayDo may, CancellationToken ct);
}

/// <summary>A notice as its reader sees it.</summary>
public sealed record Notice(long Id, string Subject, string Body, string Url, DateTimeOffset CreatedAt, bool Read, string Deliveries);

/// <summary>A notice that waits to be shown at a terminal.</summary>
public sealed record TerminalNotice(long Id, string Terminal, string Text);

/// <summary>Sends notices and reads them: the public face of this slice.</summary>
public static class NoticeBox
{
    /// <summary>
    /// Sends with the commit. It stands in the person's list at once, is shown at the terminal where the person sits within 12 h (ours), and goes
    /// to the internal mail relay where one is configured and the person has an address.
    /// </summary>
    public static void Notify(this UnitOfWork work, IEnumerable<PersonId> people, string subject, string body, string url, DateTimeOffset at)
    {
        var line = OneLine(subject);
        foreach (var person in people.Distinct())
            work.Write($"""
                with sent as (insert into notices.notices (person, subject, body, url, created_at) values ({person}, {line}, {body}, {url}, {at}) returning id)
                insert into notices.deliveries (notice, channel, next_at) select id, channel, clock_timestamp() from sent, unnest(array['terminal', 'mail']) as channel
                """);
    }

    /// <summary>A subject: one line of at most 200 UTF-16 units, never cut inside a pair.</summary>
    internal static string OneLine(string text)
    {
        var line = string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c));
        return line.Length <= 200 ? line : line[..(char.IsHighSurrogate(line[199]) ? 199 : 200)];
    }

    /// <summary>The person's notices, newest first, at most <paramref name="count"/>.</summary>
    public static Question<List<Notice>> Of(PersonId person, int count = 50) => Question.All($"""
        select n.id, n.subject, n.body, n.url, n.created_at, n.read_at is not null,
            (select coalesce(string_agg(d.channel || ' ' || d.state, ', ' order by d.channel), '') from notices.deliveries d where d.notice = n.id)
        from notices.notices n where n.person = {person} order by n.read_at is not null, n.id desc limit {count}
        """, r => new Notice(r.GetInt64(0), r.GetString(1), r.GetString(2), r.GetString(3), r.GetFieldValue<DateTimeOffset>(4), r.GetBoolean(5), r.GetString(6)));

    /// <summary>The person has read it.</summary>
    public static void MarkRead(UnitOfWork work, PersonId person, long notice, DateTimeOffset at) =>
        work.Write($"update notices.notices set read_at = {at} where id = {notice} and person = {person} and read_at is null");

    /// <summary>The person has seen the page that notices are about.</summary>
    public static Sql Seen(PersonId person, string url, DateTimeOffset at) => $"update notices.notices set read_at = {at} where person = {person} and url = {url} and read_at is null";

    /// <summary>What waits for people who sit at one of these terminals now; taken for 10 s, so that two nodes do not show it twice.</summary>
    public static Question<List<TerminalNotice>> TakeForTerminals(string[] terminals) => Question.All($"""
        update notices.deliveries d set next_at = clock_timestamp() + interval '10 seconds', attempts = attempts + 1
        from notices.notices n, unnest({terminals}) as t
        where n.id = d.notice and d.channel = 'terminal' and d.state = 'waiting' and d.next_at <= clock_timestamp() and n.created_at > clock_timestamp() - interval '12 hours' and sessions.person_at(t) = n.person
        returning n.id, t, n.subject || chr(10) || n.body
        """, r => new TerminalNotice(r.GetInt64(0), r.GetString(1), r.GetString(2)));

    /// <summary>The agent of the terminal where its reader sits has shown it.</summary>
    public static Sql Shown(long notice, TerminalId terminal) => $"""
        update notices.deliveries d set state = 'delivered', delivered_at = clock_timestamp(), error = null from notices.notices n
        where n.id = {notice} and d.notice = n.id and d.channel = 'terminal' and d.state = 'waiting' and sessions.person_at({terminal}) = n.person
        """;

    /// <summary>The relay has taken it.</summary>
    internal static Sql Delivered(long notice, string channel) => $"update notices.deliveries set state = 'delivered', delivered_at = clock_timestamp(), error = null where notice = {notice} and channel = {channel} and state = 'waiting'";
}
