using System.ComponentModel.DataAnnotations;
using System.Globalization;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Privileged;

/// <summary>What a session showed, for those who watch over it. Looking is recorded. <clause>MIC 6.1(4), 7.1注2, 9.1解(3)</clause></summary>
[Authorize, Audited("privileged.play")]
internal sealed class RecordingModel(Store store, Permissions permissions, TimeProvider time) : PageModel
{
    /// <summary>Ours: 5,000 lines on a page.</summary>
    private const int Most = 5_000;
    [BindProperty(SupportsGet = true), StringLength(100)] public string? Find { get; set; }
    /// <summary>Which part of the recording, from 1.</summary>
    [BindProperty(SupportsGet = true), Range(1, 1_000_000)] public int Part { get; set; } = 1;
    /// <summary>Lines of the part that were shown before.</summary>
    [BindProperty(SupportsGet = true), Range(0, int.MaxValue)] public int Skip { get; set; }
    public PrivilegedSession Session { get; private set; } = null!;
    public IReadOnlyList<RecordedLine> Lines { get; private set; } = [];
    /// <summary>Every chunk is there and fits the one before.</summary>
    public bool Whole { get; private set; }
    public string Broken { get; private set; } = "";
    /// <summary>Where it goes on; null: nowhere.</summary>
    public (int Part, int Skip)? Next { get; private set; }
    /// <summary>The agent died, or its disk did: the last seconds may be missing.</summary>
    public bool MayBeCut { get; private set; }

    public async Task<IActionResult> OnGetAsync(string id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        if (!ModelState.IsValid || await work.AskAsync(PrivilegedStore.Find(id), ct) is not { } session) return NotFound();
        var permitted = session.Person == PersonId.Of(User) || (await permissions.OfAsync(work, PersonId.Of(User), ct)).Allows("privileged.read-all");
        await store.RecordAsync(new("privileged.play", permitted ? HistoryOutcome.Done : HistoryOutcome.Refused, permitted ? "" : "authorization.not-permitted") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["privileged"] = id } }, time.GetUtcNow(), ct);
        if (!permitted) return Forbid();
        await store.ExecuteAsync($"insert into privileged.looks (session, person, at) values ({id}, {PersonId.Of(User)}, {time.GetUtcNow()}) on conflict (session, person) do update set at = excluded.at", ct);
        Session = session;
        var chunks = await work.AskAsync(Recording.ChunksOf(id, Part), ct);
        var broken = Recording.FirstBroken(chunks, chunks.Count > 0 ? await work.AskAsync(Recording.ChunkBefore(id, chunks[0].Number), ct) : null);
        (Whole, Broken) = (broken is null, broken?.ToString(CultureInfo.InvariantCulture) ?? "");
        MayBeCut = session.EndReason is "privileged.agent-restarted" or "privileged.recording-failed" || session is { Closed: not null, LeftOver: null };
        var all = Recording.Read(chunks).Where(l => string.IsNullOrEmpty(Find) || (l.Text + l.Command).Contains(Find, StringComparison.OrdinalIgnoreCase));
        List<RecordedLine> shown = [.. all.Skip(Skip).Take(Most + 1)];
        Lines = [.. shown.Take(Most)];
        Next = shown.Count > Most ? (Part, Skip + Most) : chunks.Count > 0 && await work.AskAsync(Recording.IsLonger(id, chunks[^1].Number), ct) ? (Part + 1, 0) : null;
        return Page();
    }
}
