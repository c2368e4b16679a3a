using System.Net.Mail;
using AccessBroker.Database;
using AccessBroker.Web;
using Npgsql;

namespace AccessBroker.Notices;

/// <summary>
/// Brings notices to the internal mail relay: at least once, with growing pauses, given up after 20 attempts or without an address. A mail says that
/// something waits, not what: mail leaves the segment's rules.
/// </summary>
internal sealed partial class MailRelay(Store store, BrokerOptions options, TimeProvider time, ILogger<MailRelay> log) : BackgroundService
{
    private sealed record Mail(long Notice, string To, string Subject);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(2), time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try { while (await SendSomeAsync(stoppingToken)) { } }
            catch (NpgsqlException e) { Waiting(log, e.Message); }
        }
    }

    /// <summary>True when there may be more.</summary>
    internal async Task<bool> SendSomeAsync(CancellationToken ct)
    {
        await store.ExecuteAsync($"""
            update notices.deliveries d set state = 'given-up', error = case when attempts >= 20 then error when channel = 'terminal' then 'not seen within 12 hours' else 'no mail address, or no relay' end
            where d.state = 'waiting' and (d.attempts >= 20 and d.channel = 'mail' or d.channel = 'terminal' and d.next_at < clock_timestamp() - interval '12 hours'
               or d.channel = 'mail' and ({options.MailRelay.Length == 0} or people.mail_of((select n.person from notices.notices n where n.id = d.notice)) is null))
            """, ct);
        if (options.MailRelay.Length == 0) return false;
        await using var work = await store.BeginAsync(ct);
        var mails = await work.QueryAsync($"""
            update notices.deliveries d set attempts = attempts + 1, next_at = clock_timestamp() + least(interval '1 hour', interval '5 seconds' * power(2, least(attempts, 12)))
            from notices.notices n where n.id = d.notice and (d.notice, d.channel) in
                (select notice, channel from notices.deliveries where channel = 'mail' and state = 'waiting' and next_at <= clock_timestamp() and people.mail_of((select o.person from notices.notices o where o.id = notice)) is not null order by next_at limit 20 for update skip locked)
            returning n.id, people.mail_of(n.person), n.subject
            """, r => new Mail(r.GetInt64(0), r.GetString(1), r.GetString(2)), ct);
        await work.CommitAsync(ct);
        foreach (var mail in mails) await TrySendAsync(mail, ct);
        return mails.Count == 20;
    }

    private async Task TrySendAsync(Mail mail, CancellationToken ct)
    {
        var relay = options.MailRelay.Split(':');
        try
        {
            using var client = new SmtpClient(relay[0], int.Parse(relay[1], System.Globalization.CultureInfo.InvariantCulture)) { Timeout = 10_000 };
            using var message = new MailMessage(options.MailFrom, mail.To, mail.Subject, $"AccessBroker に未読の通知があります。\n{options.Issuer}/\n") { SubjectEncoding = System.Text.Encoding.UTF8, BodyEncoding = System.Text.Encoding.UTF8 };
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
            limit.CancelAfter(TimeSpan.FromSeconds(10));
            await client.SendMailAsync(message, limit.Token);
            await store.ExecuteAsync(NoticeBox.Delivered(mail.Notice, "mail"), ct);
        }
        catch (Exception e) when (e is SmtpException or FormatException or ArgumentException or InvalidOperationException or IOException || (e is OperationCanceledException && !ct.IsCancellationRequested))
        {
            NotSent(log, mail.Notice, e.Message);
            await store.ExecuteAsync($"update notices.deliveries set error = {e.GetType().Name} where notice = {mail.Notice} and channel = 'mail'", ct);
        }
    }

    [LoggerMessage(LogLevel.Warning, "notice {Notice} could not be given to the mail relay: {Why}; tried again later")]
    private static partial void NotSent(ILogger log, long notice, string why);
    [LoggerMessage(LogLevel.Warning, "mail waits for the database: {Why}")]
    private static partial void Waiting(ILogger log, string why);
}

internal static class NoticesSlice
{
    internal static void AddNotices(this IServiceCollection services) => services
        .AddSingleton(new Sweep("delete from notices.deliveries where ctid in (select d.ctid from notices.deliveries d join notices.notices n on n.id = d.notice where n.created_at < clock_timestamp() - interval '1 year' limit 500)"))
        .AddSingleton(new Sweep("delete from notices.notices where ctid in (select n.ctid from notices.notices n where n.created_at < clock_timestamp() - interval '1 year' and not exists (select from notices.deliveries d where d.notice = n.id) limit 500)"))
        .AddSingleton<MailRelay>().AddHostedService(p => p.GetRequiredService<MailRelay>());
}
