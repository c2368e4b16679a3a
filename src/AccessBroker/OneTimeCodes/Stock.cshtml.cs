using System.Security.Cryptography;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.OneTimeCodes;

/// <summary>Hardware tokens that nobody has yet, and the import of the vendor's key container (RFC 6030). All of a file, or nothing. <clause>MIC 5.4解(1)</clause></summary>
[Authorize("one-time-codes.import"), Audited("one-time-codes.import"), RequestSizeLimit(Pskc.MostBytes + 65_536)]
internal sealed class StockModel(Store store, SealedSeeds seeds, TimeProvider time) : PageModel
{
    public IReadOnlyList<TokenRow> Stock { get; private set; } = [];
    public string? Message { get; private set; }
    /// <summary>What is wrong with the file, and of which token.</summary>
    public string Why { get; private set; } = "";
    public int Count { get; private set; }
    public bool Succeeded { get; private set; }

    public async Task OnGetAsync(CancellationToken ct) => Stock = await store.AskAsync(TokenRegister.Stock(), ct);

    public async Task<IActionResult> OnPostAsync(IFormFile? file, string? key, CancellationToken ct)
    {
        try
        {
            var count = await ImportAsync(file, key, ct);
            (Succeeded, Count, Message) = (true, count, "{0} 個を登録しました。");
        }
        catch (PskcException e)
        {
            (Message, Why, Response.StatusCode) = ("取り込めません。何も登録していません。", e.Message, StatusCodes.Status422UnprocessableEntity);
            await store.RecordAsync(new("one-time-codes.import", HistoryOutcome.Refused, "one-time-codes.container-refused") { Person = PersonId.Of(User) }, time.GetUtcNow(), ct);
        }
        await OnGetAsync(ct);
        return Page();
    }

    private async Task<int> ImportAsync(IFormFile? file, string? key, CancellationToken ct)
    {
        if (file is not { Length: > 0 and <= Pskc.MostBytes }) throw new PskcException($"no file, or larger than {Pskc.MostBytes} bytes");
        var bytes = new byte[file.Length];
        await using (var stream = file.OpenReadStream()) await stream.ReadExactlyAsync(bytes, ct);
        byte[]? shared = null;
        try { shared = key?.Trim() is { Length: > 0 } hex ? Convert.FromHexString(hex) : null; }
        catch (FormatException e) { throw new PskcException("the key is not hexadecimal", e); }
        var tokens = Pskc.Read(bytes, shared);
        try
        {
            // The HSM first: no row waits for it.
            var made = new List<(string Id, PskcToken Token, byte[] Sealed)>(tokens.Count);
            foreach (var token in tokens)
            {
                var id = Secret.New(16);
                made.Add((id, token, await seeds.SealAsync(id, token.Seed, ct)));
            }
            await using var work = await store.BeginAsync(ct);
            await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('one_time_codes.stock'))", ct);
            if (await work.AskAsync(TokenRegister.Known(tokens.Select(t => t.Serial)), ct) is [var known, ..]) throw new PskcException($"token {known} is registered already");
            foreach (var (id, token, sealed_) in made) TokenRegister.AddStock(work, id, token, sealed_, time.GetUtcNow());
            work.Record(new("one-time-codes.import", HistoryOutcome.Done) { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["tokens"] = $"{tokens.Count}", ["sha256"] = Convert.ToHexStringLower(SHA256.HashData(bytes)) } }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return tokens.Count;
        }
        finally
        {
            foreach (var token in tokens) CryptographicOperations.ZeroMemory(token.Seed);
            CryptographicOperations.ZeroMemory(bytes);
            CryptographicOperations.ZeroMemory(shared);
        }
    }
}
