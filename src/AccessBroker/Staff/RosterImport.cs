using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Notices;
using AccessBroker.People;
using AccessBroker.Policies;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Terminals;

namespace AccessBroker.Staff;

/// <summary>
/// Imports a roster: read, compared and shown first; applied by somebody else in one transaction, with effect on its day; nothing half-way. What the
/// register said meanwhile must be what was compared. <clause>MIC 6.2(1)②</clause>
/// </summary>
public sealed partial class RosterImport(Store store, Active<PostsPolicy> posts, Active<Policies.RolesPolicy> roles, Permissions permissions, TimeProvider time)
{
    private static readonly JsonSerializerOptions Format = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>An import as stored.</summary>
    public sealed record Import(long Id, DateTimeOffset Effective, string ImportedBy, DateTimeOffset ImportedAt, IReadOnlyList<RosterPerson> People, IReadOnlyList<RosterChange> Changes, string RegisterHash, string? AppliedBy, DateTimeOffset? AppliedAt, bool Discarded);

    /// <summary>What came of applying.</summary>
    public enum Outcome { Applied, NotFound, OwnImport, AppliedAlready, RegisterChanged, NotConfirmed, ForOneself }

    /// <summary>Reads and compares; nothing changes. The import's number, or the problems.</summary>
    public async Task<(long? Import, IReadOnlyList<RosterProblem> Problems)> StageAsync(byte[] file, DateTimeOffset effective, PersonId by, CancellationToken ct)
    {
        var (people, problems) = Roster.Read(file);
        if (Web.JapaneseTime.DayOf(effective) < Web.JapaneseTime.DayOf(time.GetUtcNow())) problems = [.. problems, new(0, "", "発効日は、今日か今日より後の日にしてください。")];
        await using var work = await store.BeginAsync(ct);
        var (changes, register) = ((IReadOnlyList<RosterChange>)[], "");
        if (problems.Count == 0) (changes, problems, register) = await CompareAsync(work, people, effective, ct);
        var entry = new HistoryEvent("staff.import-roster", problems.Count == 0 ? HistoryOutcome.Done : HistoryOutcome.Refused, problems.Count == 0 ? "" : "staff.roster-refused")
        { Person = by, Details = new Dictionary<string, string> { ["sha256"] = Convert.ToHexStringLower(SHA256.HashData(file)), ["people"] = $"{people.Count}", ["changes"] = $"{changes.Count}", ["problems"] = $"{problems.Count}" } };
        work.Record(entry, time.GetUtcNow());
        long? id = problems.Count > 0 ? null : await work.AskAsync(Question.All($"""
            insert into staff.rosters (effective, imported_by, imported_at, sha256, people, changes, register_hash)
            values ({effective}, {by}, {time.GetUtcNow()}, {entry.Details["sha256"]}, {JsonSerializer.Serialize(people, Format):json}, {JsonSerializer.Serialize(changes, Format):json}, {register}) returning id
            """, r => r.GetInt64(0)).Select(r => r[0]), ct);
        await work.CommitAsync(ct);
        return (id, problems);
    }

    /// <summary>Makes it so, all or nothing. Whoever imported does not apply. Where the preview warns, it has to be confirmed.</summary>
    public async Task<Outcome> ApplyAsync(long id, PersonId by, bool confirmed, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if ((await work.QueryAsync($"{Columns()} where id = {id} for update", Read, ct)) is not [var import] || import.Discarded) return Outcome.NotFound;
        if (import.AppliedAt is not null) return Outcome.AppliedAlready;
        var entry = new HistoryEvent("staff.apply-roster", HistoryOutcome.Refused, "approvals.requester-executes") { Person = by, Details = new Dictionary<string, string> { ["import"] = $"{id}", ["changes"] = $"{import.Changes.Count}" } };
        if (import.ImportedBy == by.Value)
        {
            work.Record(entry, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Outcome.OwnImport;
        }
        // One import at a time; and what is applied is what was shown.
        await work.ExecuteAsync($"select pg_advisory_xact_lock(hashtext('staff.roster'))", ct);
        if ((await CompareAsync(work, import.People, import.Effective, ct)).Register != import.RegisterHash) return Outcome.RegisterChanged;
        var effects = await EffectsAsync(work, import, by, ct);
        if (effects.ForOneself)
        {
            work.Record(entry with { Reason = "approvals.subject-executes" }, time.GetUtcNow());
            await work.CommitAsync(ct);
            return Outcome.ForOneself;
        }
        if (!confirmed && effects.Warnings.Count > 0) return Outcome.NotConfirmed;
        await WriteAsync(work, import, by, ct);
        work.Write($"update staff.rosters set applied_by = {by}, applied_at = {time.GetUtcNow()} where id = {id}");
        work.Record(entry with { Outcome = HistoryOutcome.Done, Reason = "" }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return Outcome.Applied;
    }

    /// <summary>An import that will not be applied is put aside, by whoever made it or might apply it. False: applied, put aside already, or not there.</summary>
    public async Task<bool> DiscardAsync(long id, PersonId by, CancellationToken ct)
    {
        await using var work = await store.BeginAsync(ct);
        if (await work.ExecuteAsync($"update staff.rosters set discarded_at = {time.GetUtcNow()} where id = {id} and applied_at is null and discarded_at is null", ct) == 0) return false;
        work.Record(new("staff.discard-roster", HistoryOutcome.Done) { Person = by, Details = new Dictionary<string, string> { ["import"] = $"{id}" } }, time.GetUtcNow());
        await work.CommitAsync(ct);
        return true;
    }

    /// <summary>An import, or null.</summary>
    public Task<Import?> FindAsync(long id, CancellationToken ct) => store.AskAsync(Question.First($"{Columns()} where id = {id}", Read), ct);

    /// <summary>The latest imports.</summary>
    internal Task<List<Import>> LatestAsync(CancellationToken ct) => store.AskAsync(Question.All($"select id, effective, imported_by, imported_at, '[]', '[]', register_hash, applied_by, applied_at, discarded_at is not null from staff.rosters order by id desc limit 20", Read), ct);

    /// <summary>A day that has begun takes effect now: nothing is written into the past.</summary>
    private DateTimeOffset From(DateTimeOffset effective) => time.GetUtcNow() is var now && effective > now ? effective : now;

    private async Task<(IReadOnlyList<RosterChange>, IReadOnlyList<RosterProblem>, string Register)> CompareAsync(UnitOfWork work, IReadOnlyList<RosterPerson> people, DateTimeOffset day, CancellationToken ct)
    {
        var effective = From(day);
        var (known, sections) = (RosterRegister.Known(effective), RosterRegister.Sections(effective));
        await work.AskAsync(ct, known, sections);
        var used = known.Answer.Select(k => k.Id).ToHashSet();
        var (changes, problems) = RosterRule.Compare(people, known.Answer, sections.Answer, used);
        var numbers = people.Select(p => p.StaffNumber).ToHashSet();
        // Only what this roster is about: somebody else's new deputy does not spoil the import.
        var text = string.Join('\n', known.Answer.Where(k => numbers.Contains(k.StaffNumber)).Select(k => $"{k.Id} {k.Name} {k.Employment} {k.Until:O} {string.Join(',', k.Posts)}"));
        return (changes, problems, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text))));
    }

    private async Task WriteAsync(UnitOfWork work, Import staged, PersonId by, CancellationToken ct)
    {
        var import = staged with { Effective = From(staged.Effective) };
        var lines = import.People.ToDictionary(p => p.StaffNumber);
        var sections = await work.AskAsync(RosterRegister.Sections(import.Effective), ct);
        foreach (var change in import.Changes)
        {
            if (change.Kind == "section") { PeopleChanges.NameSection(work, change.Person, change.After, import.Effective); continue; }
            var person = PersonId.Parse(change.Person);
            if (change.Kind == "orphan")
            {
                work.Write($"insert into staff.orphans (person, found_at, roster) values ({person}, {time.GetUtcNow()}, {import.Id}) on conflict (person) do update set found_at = excluded.found_at, roster = excluded.roster, settled_at = null, told_at = null");
                continue;
            }
            var line = lines[change.StaffNumber];
            switch (change.Kind)
            {
                case "join": await PeopleChanges.AddAsync(work, person, line.Name, line.Kana, line.StaffNumber, line.Employment, line.Mail, import.Effective, line.Until is { } until ? Roster.EndOf(until) : null, posts.Now.Held(line.Post, line.SectionCode, line.Employment), ct); break;
                case "rename": PeopleChanges.Rename(work, person, line.Name, line.Kana, import.Effective); break;
                case "mail": PeopleChanges.SetMail(work, person, line.Mail!); break;
                case "leave": await Leaving.WriteAsync(work, person, Roster.EndOf(line.Until!.Value), by, time.GetUtcNow(), ct); break;
                case "employment":
                    // What a post gives depends on it: a contractor keeps no rights but their own.
                    PeopleChanges.Employ(work, person, line.Employment, import.Effective);
                    PeopleChanges.Move(work, person, posts.Now.Held(line.Post, line.SectionCode, line.Employment), import.Effective);
                    break;
                case "move" or "recode":
                    PeopleChanges.Move(work, person, posts.Now.Held(line.Post, line.SectionCode, line.Employment), import.Effective);
                    // A seat belongs to the work at the old desk: the new section's responsible person decides anew. <clause>MOJ 第5-4(1)</clause>
                    if (change.Kind == "move" && RosterRule.LeavesSection(change, line.SectionName, sections)) await TerminalRegister.EndSeatsAsync(work, person, import.Effective, by, "異動", all: false, ct);
                    break;
            }
            if (change.Kind is "join" or "move" or "recode" or "employment" && posts.Now.Held(line.Post, line.SectionCode, line.Employment).Select(h => h.Role).Except(posts.Now.DefaultRoles).ToList() is var beyond)
                work.Enter("privileged", $"{person}/post", beyond.Count > 0 ? "役職" : "役職の終了", by.Value, new Dictionary<string, string> { ["person"] = person.Value, ["role"] = string.Join(' ', beyond), ["from"] = Web.JapaneseTime.Precise(import.Effective), ["reason"] = $"{line.SectionName} {line.Post}" }, import.Effective, removed: beyond.Count == 0);
            work.Enter("user-ids", person.Value, Word(change.Kind), by.Value, new Dictionary<string, string> { ["name"] = line.Name, ["staffNumber"] = line.StaffNumber, ["section"] = line.SectionName, ["post"] = line.Post, ["employment"] = line.Employment, ["from"] = Web.JapaneseTime.Precise(import.Effective), ["until"] = line.Until is { } last ? $"{last:yyyy-MM-dd}" : "" }, change.Kind == "leave" ? Roster.EndOf(line.Until!.Value) : import.Effective);
        }
        var managers = await work.AskAsync(PeopleRegister.Holders([.. permissions.RolesWith("cards.request-cancel")], time.GetUtcNow()), ct);
        var gone = import.Changes.Count(c => c.Kind is "leave" or "move" or "join");
        // <clause>INA 第16-1</clause>: on a transfer the 管理者等 ask for the card promptly.
        if (gone > 0) work.Notify(managers.Select(m => m.Id), "人事異動が反映されました", $"採用・異動・退職 {gone} 件。カードの設定・取消・変更を速やかに申請してください。", $"/people/rosters/{import.Id}", time.GetUtcNow());
    }

    internal static string Word(string kind) => kind switch { "join" => "採用", "move" => "異動", "recode" => "所属コードの変更", "rename" => "氏名変更", "employment" => "雇用区分の変更", "leave" => "退職", "mail" => "メール変更", "section" => "所属", "orphan" => "名簿にない人", _ => kind };

    private static Sql Columns() => $"select id, effective, imported_by, imported_at, people, changes, register_hash, applied_by, applied_at, discarded_at is not null from staff.rosters";

    private static Import Read(Npgsql.NpgsqlDataReader r) => new(r.GetInt64(0), r.GetFieldValue<DateTimeOffset>(1), r.GetString(2), r.GetFieldValue<DateTimeOffset>(3), JsonSerializer.Deserialize<List<RosterPerson>>(r.GetString(4))!, JsonSerializer.Deserialize<List<RosterChange>>(r.GetString(5))!, r.GetString(6),
        r.IsDBNull(7) ? null : r.GetString(7), r.IsDBNull(8) ? null : r.GetFieldValue<DateTimeOffset>(8), r.GetBoolean(9));
}

/// <summary>Everything of a person ends on a day by itself: id, posts, seats; cards and sessions follow. <clause>MIC 5.1解(1)</clause></summary>
internal static class Leaving
{
    internal static async Task WriteAsync(UnitOfWork work, PersonId person, DateTimeOffset at, PersonId by, DateTimeOffset now, CancellationToken ct)
    {
        PeopleChanges.Leave(work, person, at, now);
        await TerminalRegister.EndSeatsAsync(work, person, at, by, "退職", all: true, ct);
    }
}
