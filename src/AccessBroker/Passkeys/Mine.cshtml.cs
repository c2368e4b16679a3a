using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Sessions;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Passkeys;

/// <summary>One's own passkeys, and the enrolment of another. <clause>MIC 5.4(3)</clause></summary>
[Authorize]
internal sealed class MineModel(Store store, EnrolPasskey enrol, TimeProvider time) : PageModel
{
    public IReadOnlyList<(PasskeyRow Key, Card Card)> Keys { get; private set; } = [];
    /// <summary>Why no key can be enrolled now.</summary>
    public string? Problem { get; private set; }
    public bool MaySignInAgain => Problem?.Contains("サインイン", StringComparison.Ordinal) == true;

    public async Task OnGetAsync(CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var me = PersonId.Of(User);
        var (keys, media, person) = (PasskeyRegister.OfPerson(me), CardRegister.MediaOfPerson(me), PeopleRegister.FindValid(me, time.GetUtcNow()));
        await work.AskAsync(ct, keys, media, person);
        Keys = [.. keys.Answer.Join(media.Answer, k => k.Card, m => m.Id, (k, m) => (k, m))];
        Problem = enrol.Problem(LiveSession.Of(HttpContext)!, person.Answer);
    }
}
