using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Incidents;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Sessions;

namespace AccessBroker.Cards;

/// <summary>
/// Somebody may know a PIN or a password of another: what is known opens nothing from now on, everything of the person ends, and their
/// 情報セキュリティ管理者 and whoever judges incidents are told. <clause>MIC 5.4(3)④</clause>
/// </summary>
public sealed class SuspectedLeak(Store store, HistorySpool history, LiveSessions sessions, Candidates candidates, TimeProvider time)
{
    /// <summary>False: there was nothing to make worthless.</summary>
    /// <param name="what">In Japanese: 暗証番号, パスワード.</param>
    /// <param name="operation">For the history.</param>
    /// <param name="makeWorthless">Makes the secret worthless in this unit of work; false: there is none.</param>
    public async Task<bool> RunAsync(LiveSession by, string what, string operation, Func<UnitOfWork, Task<bool>> makeWorthless)
    {
        var done = await history.NarrowAsync(async work =>
        {
            var now = time.GetUtcNow();
            if (!await makeWorthless(work)) return [];
            var (names, managers) = (PeopleRegister.Names([by.Person.Value], now), PeopleRegister.HoldersInSectionOf(by.Person, ["security-manager"], now));
            await work.AskAsync(CancellationToken.None, names, managers);
            var name = names.Answer.GetValueOrDefault(by.Person.Value, by.Person.Value);
            work.Notify(managers.Answer.Where(m => m != by.Person), $"{what}の漏えいの疑い: {name}", "本人の届出により、直ちに使えなくしました。事情を確かめてください。", $"/people/{by.Person}", now);
            var ended = await sessions.EndWithinAsync(work, SessionFilter.OfPerson(by.Person), "sessions.suspected-leak");
            return [new(new(operation, HistoryOutcome.Ended, "cards.suspected-leak") { Person = by.Person, Terminal = by.Terminal, Session = by.Id, Details = new Dictionary<string, string> { ["what"] = what } }, now), .. ended];
        });
        if (done.Count == 0) return false;
        // The end stands, whatever becomes of the report.
        await using var report = await store.BeginAsync(CancellationToken.None);
        await candidates.RaiseAsync(report, "suspected-leak", 2, by.Person.Value, by.Terminal, by.Person, by.Person, new Dictionary<string, string> { ["対象"] = what }, CancellationToken.None);
        await report.CommitAsync(CancellationToken.None);
        return true;
    }
}
