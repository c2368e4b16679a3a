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
    public Task<FileContentResult> CsvAsync(HttpContext context, string name, IReadOnlyCollection<string> headings, IReadOnlyCollection<IEnumerable<string>> rows, CancellationToken ct) =>
        FileAsync(context, name, rows.Count, Csv.Write(headings, rows), "text/csv; charset=utf-8", "csv", ct);

    /// <summary>Any other file, as <see cref="CsvAsync"/>.</summary>
    public async Task<FileContentResult> FileAsync(HttpContext context, string name, int lines, byte[] content, string type, string extension, CancellationToken ct)
    {
        await store.RecordAsync(new("registers.export", HistoryOutcome.Done) { Person = PersonId.Of(context.User), Details = new Dictionary<string, string> { ["register"] = name, ["lines"] = $"{lines}" } }, time.GetUtcNow(), ct);
        return new(content, type) { FileDownloadName = $"{name}-{JapaneseTime.ToLocal(time.GetUtcNow()):yyyyMMdd}.{extension}" };
    }
}
