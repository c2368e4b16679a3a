using AccessBroker.Database;
using AccessBroker.Policies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Lockout;

/// <summary>What is locked now, and where to unlock it.</summary>
[Authorize("lockout.read")]
internal sealed class LocksModel(Store store, Active<LockoutPolicy> policy) : PageModel
{
    /// <summary>One lock: its terminal (null for an operator everywhere), its person (null for a terminal for everyone), its end.</summary>
    internal sealed record Row(string? Terminal, string? Person, DateTimeOffset Until);

    public IReadOnlyList<Row> Rows { get; private set; } = [];

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        Rows = [.. (await LockoutStore.AllAsync(work, [.. policy.Now.Privileged.Roles], ct)).Select(c => c.Locked is { } until ? RowOf(c.Subject, until) : null).OfType<Row>()];
    }

    private static Row RowOf(string subject, DateTimeOffset until) => subject.Split(':', '@') switch
    {
        ["terminal", var terminal] => new(terminal, null, until),
        ["operator-at-terminal", var person, var terminal] => new(terminal, person, until),
        [_, var person, ..] => new(null, person, until),
        _ => new(null, subject, until),
    };
}
