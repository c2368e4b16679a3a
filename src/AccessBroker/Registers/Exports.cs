using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using AccessBroker.Web;
using Microsoft.AspNetCore.Mvc;

namespace AccessBroker.Registers;

/// <summary>Every list of the console can be taken as CSV; taking it is an event.</summary>
public sealed class Exports(Store store, TimeProvider time)
{
    /// <summary>The file. Throws when the event cannot be written: nothing leaves unrecorded.</summary>
    public async Task<FileContentResult> CsvAsync(HttpContext context, string name, IReadOnlyCollection<string> headings, IReadOnlyCollection<IEnumerable<string>> rows, CancellationToken ct)
    {
        await store.RecordAsync(new("registers.export", HistoryOutcome.Done) { Person = PersonId.Of(context.User), Details = new Dictionary<string, string> { ["register"] = name, ["lines"] = $"{rows.Count}" } }, time.GetUtcNow(), ct);
        return new(Csv.Write(headings, rows), "text/csv; charset=utf-8") { FileDownloadName = $"{name}-{JapaneseTime.ToLocal(time.GetUtcNow()):yyyyMMdd}.csv" };
    }
}
