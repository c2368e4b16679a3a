using AccessBroker.Authorization;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Registers;

/// <summary>The registers this person may read.</summary>
[Authorize]
internal sealed class ListModel(IEnumerable<Register> registers, Permissions permissions) : PageModel
{
    public IReadOnlyList<Register> Registers { get; private set; } = [];

    public async Task OnGetAsync(CancellationToken ct)
    {
        var may = await permissions.OfAsync(User, ct);
        Registers = [.. registers.Where(r => may.Allows(r.Operation)).OrderBy(r => r.Clause, StringComparer.Ordinal)];
    }
}
