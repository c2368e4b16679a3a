using System.Globalization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.Primitives;
using AccessBroker.Registers;

namespace AccessBroker.FilePermissions;

/// <summary>Rights ended at once: what narrows waits for nobody's yes. The end of a refusal widens: it is a request. <clause>MIC 6.2(1)</clause></summary>
internal sealed class EndGrants(HistorySpool history, Wakeups wakeups, TimeProvider time)
{
    /// <summary>How many of them ended now. Running transfers are cut with them.</summary>
    internal async Task<int> RunAsync(IReadOnlyCollection<long> grants, PersonId by, string reason)
    {
        var now = time.GetUtcNow();
        var ended = await history.NarrowAsync(async work =>
        {
            var done = new List<Narrowed>();
            foreach (var grant in grants)
            {
                if (await work.AskAsync(FileRegister.Line(grant), CancellationToken.None) is not { } line || !await FileRegister.EndAsync(work, grant, denial: false, by.Value, now, CancellationToken.None)) continue;
                work.Enter(FileRequest.Register, $"grant-{grant.ToString(CultureInfo.InvariantCulture)}", "終了", by.Value, FileRequest.Entry(line.Grant, reason), now, removed: true);
                if (line.Grant.Subject.StartsWith("person:", StringComparison.Ordinal)) work.Notify([PersonId.Parse(line.Grant.Subject["person:".Length..])], "ファイルの利用の許可が終わりました", line.Grant.Resource, "/", now);
                done.Add(new(new("files.end-grant", HistoryOutcome.Ended, "files.ended") { Person = by, Details = new Dictionary<string, string> { ["grant"] = $"{grant}", ["path"] = line.Grant.Resource, ["to"] = line.Grant.Subject, ["why"] = reason } }, now));
            }
            return done;
        });
        wakeups.Wake(FileDecisions.Topic);
        return ended.Count;
    }
}
