using System.ComponentModel.DataAnnotations;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;
using AccessBroker.Web;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Staff;

/// <summary>One person: posts, cards, seats, requests; suspension, leave, and one's own "no longer needed". <clause>MIC 6.2(1)②</clause></summary>
[Authorize, Audited("staff.act")]
internal sealed class PersonModel(Store store, Permissions permissions, SuspendPerson suspend, DormantIds dormant, RequestDesk desk, TimeProvider time) : PageModel
{
    [BindProperty, StringLength(400)] public string? Reason { get; set; }
    [BindProperty] public DateOnly? Last { get; set; }

    public PersonLine Person { get; private set; } = null!;
    public IReadOnlyList<Card> Cards { get; private set; } = [];
    public IReadOnlyList<Seat> Seats { get; private set; } = [];
    public IReadOnlyList<Request> Requests { get; private set; } = [];
    public MayDo May { get; private set; } = null!;
    public string KindTitle(Request request) => desk.Kind(request.Kind)?.Title ?? request.Kind;
    public bool IsMe => Person.Id == PersonId.Of(User);
    public int LentThisYear { get; private set; }
    public string? Message { get; private set; }
    public bool Succeeded { get; private set; }

    public async Task<IActionResult> OnGetAsync(PersonId id, CancellationToken ct) => await LoadAsync(id, ct) ? Page() : May.Person is null || !May.Allows("people.read") ? Forbid() : NotFound();

    public async Task<IActionResult> OnPostAsync(PersonId id, string act, CancellationToken ct)
    {
        if (!await LoadAsync(id, ct)) return Forbid();
        var operation = act switch { "suspend" => "staff.suspend", "leave" => "staff.set-leave", "settle" => "staff.settle-dormant", _ => "staff.no-longer-needed" };
        if (operation != "staff.no-longer-needed" ? !May.Allows(operation) || (IsMe && act != "leave") : !IsMe)
        {
            await store.RecordAsync(new(operation, HistoryOutcome.Refused, "authorization.not-permitted") { Person = PersonId.Of(User), Details = new Dictionary<string, string> { ["subject"] = id.Value } }, time.GetUtcNow(), ct);
            return Forbid();
        }
        if (Reason?.Trim().Length is not >= 2 || !FreeText.Fits(Reason, lines: true)) (Message, Response.StatusCode) = ("理由を2文字以上で書いてください。", StatusCodes.Status422UnprocessableEntity);
        else if (act == "leave" && (Last is null || JapaneseTime.EndOf(Last.Value) <= time.GetUtcNow())) (Message, Response.StatusCode) = ("退職日は今日以後の日を入力してください。", StatusCodes.Status422UnprocessableEntity);
        else
        {
            Succeeded = act == "suspend" ? await suspend.RunAsync(id, PersonId.Of(User), Reason.Trim()) : await WriteAsync(id, act, ct);
            Message = Succeeded ? act switch { "suspend" => "権限を停止しました。業務は終了し、CISO と情報セキュリティ管理者に通知しました。", "leave" => "退職日を登録しました。その日の終わりに、すべての権限が自動的になくなります。", "settle" => "確認を記録しました。", _ => "不要になったことを知らせました。" } : "変更はありませんでした。";
        }
        await LoadAsync(id, ct);
        return Page();
    }

    private async Task<bool> WriteAsync(PersonId id, string act, CancellationToken ct)
    {
        var (by, now) = (PersonId.Of(User), time.GetUtcNow());
        await using var work = await store.BeginAsync(ct);
        var entry = new HistoryEvent(act switch { "leave" => "staff.set-leave", "settle" => "staff.settle-dormant", _ => "staff.no-longer-needed" }, HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["subject"] = id.Value, ["why"] = Reason!.Trim(), ["last"] = $"{Last:yyyy-MM-dd}" } };
        if (act == "leave")
        {
            await Leaving.WriteAsync(work, id, JapaneseTime.EndOf(Last!.Value), by, now, ct);
            // <clause>INA 第16-1</clause>: the 管理者等 ask for the card promptly.
            var asking = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("cards.request-cancel"), now), ct);
            Notices.NoticeBox.Notify(work, asking.Select(m => m.Id), "退職日が登録されました", $"{Person.Name} — {Last:yyyy-MM-dd}。カードの取消を速やかに申請してください。", $"/people/{id}", now);
            work.Enter("user-ids", id.Value, "退職", by.Value, new Dictionary<string, string> { ["name"] = Person.Name, ["staffNumber"] = Person.StaffNumber ?? "", ["post"] = string.Join('、', Person.Posts), ["employment"] = Person.Employment, ["until"] = $"{Last:yyyy-MM-dd}", ["reason"] = Reason.Trim() }, now);
        }
        else if (act == "settle")
        {
            if (!await dormant.SettleAsync(work, id, by, Reason.Trim(), ct)) return false;
        }
        else
        {
            var managers = await work.AskAsync(PeopleRegister.Holders(permissions.RolesWith("staff.set-leave"), now), ct);
            Notices.NoticeBox.Notify(work, managers.Select(m => m.Id), $"ID が不要になったとの届出: {Person.Name}", Reason.Trim(), $"/people/{id}", now);
        }
        work.Record(entry, now);
        await work.CommitAsync(ct);
        return true;
    }

    private async Task<bool> LoadAsync(PersonId id, CancellationToken ct)
    {
        var now = time.GetUtcNow();
        await using var work = await store.ReadAsync(ct);
        May = await permissions.OfAsync(work, PersonId.Of(User), ct);
        if (id != PersonId.Of(User) && !May.Allows("people.read")) return false;
        var (person, cards, seats, requests) = (PeopleRegister.Find(id, now), CardRegister.MediaOfPerson(id), TerminalRegister.Seats(null, id, now), RequestDesk.About(id.Value, null, null));
        await work.AskAsync(ct, person, cards, seats, requests);
        if (person.Answer is not { } found) return false;
        (Person, Cards, Seats, Requests) = (found, cards.Answer, seats.Answer, requests.Answer);
        var april = JapaneseTime.StartOf(new DateOnly(JapaneseTime.DayOf(now).AddMonths(-3).Year, 4, 1));
        LentThisYear = Requests.Count(r => r.Kind == "cards.temporary" && r.State == "done" && r.RequestedAt >= april);
        return true;
    }
}
