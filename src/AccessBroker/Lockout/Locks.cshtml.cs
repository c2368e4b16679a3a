using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Lockout;

/// <summary>What is locked now, and where to unlock it.</summary>
[Authorize("lockout.read")]
internal sealed class LocksModel(Store store, Active<LockoutPolicy> policy, Active<RolesPolicy> roles, Permissions permissions, TimeProvider time) : PageModel
{
    /// <summary>One lock: its terminal (null for an operator everywhere), its person (null for a terminal for everyone), its end.</summary>
    internal sealed record Row(string? Terminal, string? Person, DateTimeOffset Until);

    public IReadOnlyList<Row> Rows { get; private set; } = [];
    public MayDo May { get; private set; } = null!;
    private IReadOnlyDictionary<string, string> _names = new Dictionary<string, string>();
    public string Name(string person) => _names.GetValueOrDefault(person, person);

    /// <summary>Titles of the roles that may unlock it.</summary>
    public string WhoUnlocks(Row row) => string.Join("、", permissions.RolesWith(row.Terminal is null ? "lockout.unlock-operator" : "terminals.unlock").Select(roles.Now.TitlesOf));

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        Rows = [.. (await LockoutStore.AllAsync(work, [.. policy.Now.Privileged.Roles], ct)).Select(c => c.Locked is { } until ? RowOf(c.Subject, until) : null).OfType<Row>()];
        May = await permissions.OfAsync(work, PersonId.Of(User), ct);
        _names = await work.AskAsync(PeopleRegister.Names(Rows.Select(r => r.Person).OfType<string>(), time.GetUtcNow()), ct);
    }

    private static Row RowOf(string subject, DateTimeOffset until) => subject.Split(':', '@') switch
    {
        ["terminal", var terminal] => new(terminal, null, until),
        ["operator-at-terminal", var person, var terminal] => new(terminal, person, until),
        [_, var person, ..] => new(null, person, until),
        _ => new(null, subject, until),
    };
}
