using System.ComponentModel.DataAnnotations;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Terminals;

/// <summary>One terminal: what the register says, who may sit there, and how to take it out of use.</summary>
[Authorize("terminals.read"), Audited("terminals.act")]
internal sealed class ShowModel(Store store, Permissions permissions, Active<RolesPolicy> roles, IsolateTerminal isolate, Seats seats, EnrolTerminal enrol, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }

    public TerminalLine Terminal { get; private set; } = null!;
    public IReadOnlyList<Seat> Seats { get; private set; } = [];
    public IReadOnlyDictionary<string, string> Names { get; private set; } = new Dictionary<string, string>();
    /// <summary>What this person may do to it now: act and label.</summary>
    public IReadOnlyList<(string Act, string Label, string Effect)> Acts { get; private set; } = [];
    public bool MayEndSeats { get; private set; }
    public bool MayMakeCode { get; private set; }
    public bool MayUnlock { get; private set; }
    public string? Code { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }
    public string Name(string id) => Names.GetValueOrDefault(id, id);

    public async Task<IActionResult> OnGetAsync(TerminalId id, CancellationToken ct) => await LoadAsync(id, ct) ? Page() : NotFound();

    public async Task<IActionResult> OnPostAsync(TerminalId id, string act, string? person, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return NotFound();
        if (act == "make-code") return MayMakeCode ? await MakeCodeAsync(id, ct) : await ForbiddenAsync(id, "terminals.make-enrolment-code", ct);
        var mayEnd = act == "end-seat" && MayEndSeats;
        if (!mayEnd && Acts.All(a => a.Act != act)) return await ForbiddenAsync(id, IsolateTerminal.Acts.GetValueOrDefault(act).Operation ?? "terminals.end-grant", ct);
        if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) (Message, Response.StatusCode) = ("理由を2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            Succeeded = mayEnd ? PersonId.TryParse(person, null, out var whom) && await seats.EndAsync(id, whom, PersonId.Of(User), Reason.Trim()) : await isolate.RunAsync(id, PersonId.Of(User), act, Reason.Trim());
            Message = Succeeded ? "実施しました。ここでの業務は終了しました。" : "変更はありませんでした。";
        }
        await LoadAsync(id, ct);
        return Page();
    }

    private async Task<IActionResult> MakeCodeAsync(TerminalId id, CancellationToken ct)
    {
        Code = await enrol.MakeCodeAsync(id, PersonId.Of(User), ct);
        return Page();
    }

    private async Task<IActionResult> ForbiddenAsync(TerminalId id, string operation, CancellationToken ct)
    {
        await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User), Terminal = id }, time.GetUtcNow(), ct);
        return Forbid();
    }

    private async Task<bool> LoadAsync(TerminalId id, CancellationToken ct)
    {
        await using var work = await store.ReadAsync(ct);
        var (now, line, sits) = (time.GetUtcNow(), TerminalRegister.FindLine(id), TerminalRegister.Seats(id, null, time.GetUtcNow()));
        await work.AskAsync(ct, line, sits);
        if (line.Answer is not { } terminal) return false;
        (Terminal, Seats) = (terminal, sits.Answer);
        var may = await permissions.OfAsync(work, PersonId.Of(User), ct);
        bool May(string operation) => IsolateTerminal.May(may, roles.Now, operation, terminal);
        Acts = [.. new (string Act, string Label, string Effect, bool Fits)[]
        {
            ("disable", "利用を止める", "ここでの業務が直ちに終わり、サインインできなくなります。", terminal.State == "in-use"),
            ("lost", "紛失・盗難を届け出る", "業務が直ちに終わり、端末の証明書が失効します。", terminal.State != "lost"),
            ("isolate", "緊急に切り離す", "承認を待たずに切り離します。統括情報セキュリティ責任者への事後報告が残ります。", terminal.State != "isolated"),
            ("check-out", "持ち出す", "持ち帰りと検査が済むまで使えません。", terminal.State == "in-use"),
            ("check-in", "持ち帰った", "検査待ちになります。利用再開の申請で戻します。", terminal.State == "out"),
            ("revoke", "証明書を失効させる", "端末の接続が直ちに切れます。登録コードで入れ直すまで使えません。", true),
        }.Where(a => a.Fits && May(IsolateTerminal.Acts[a.Act].Operation)).Select(a => (a.Act, a.Label, a.Effect))];
        (MayEndSeats, MayMakeCode, MayUnlock) = (May("terminals.end-grant"), May("terminals.make-enrolment-code"), May("terminals.unlock"));
        Names = await work.AskAsync(PeopleRegister.Names(Seats.SelectMany(s => new[] { s.Person.Value, s.ApprovedBy.Value }).Append(terminal.Responsible.Value), now), ct);
        return true;
    }
}
