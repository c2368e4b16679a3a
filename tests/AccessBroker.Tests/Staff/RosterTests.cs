using System.Globalization;
using System.Text;
using AccessBroker.Approvals;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Sessions;
using AccessBroker.Staff;
using AccessBroker.Terminals;
using AccessBroker.Tests.Support;
using AccessBroker.Web;
using Microsoft.Extensions.DependencyInjection;

namespace AccessBroker.Tests.Staff;

/// <summary>Reading a roster: what is wrong is told with row and column, and nothing is taken.</summary>
public sealed class RosterFileTests
{
    private const string Headings = "職員番号,氏名,氏名カナ,所属コード,所属名,職名,雇用区分,メール,退職日";

    private static (IReadOnlyList<RosterPerson> People, IReadOnlyList<RosterProblem> Problems) Read(string lines, Encoding? encoding = null) => Roster.Read((encoding ?? Encoding.UTF8).GetBytes(Headings + "\r\n" + lines));

    [Fact, Trait("Requirement", "IDN-10")]
    public void Utf8_with_and_without_a_mark_and_shift_jis_read_the_same()
    {
        const string line = "1001,髙橋 花子,タカハシ ハナコ,0101,市民課,主事,正規,,\r\n";
        var plain = Read(line).People;
        Assert.Equal(plain, Roster.Read([.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes(Headings + "\n" + line)]).People);
        Encoding.RegisterProvider(CodePagesEncodingProvider.Instance);
        Assert.Equal(plain, Read(line, Encoding.GetEncoding(932)).People);
        Assert.Equal("髙橋 花子", Assert.Single(plain).Name);
    }

    [Theory]
    [InlineData("1001,甲,コウ,01,課,主事,正規,,\n1001,乙,オツ,01,課,主事,正規,,", 3, "職員番号"), InlineData(",甲,コウ,01,課,主事,正規,,", 2, "職員番号"), InlineData("1001,,コウ,01,課,主事,正規,,", 2, "氏名"),
     InlineData("1001,甲,コウ,01,課,主事,正規,,\n1002,乙,オツ,01,別の課,主事,正規,,", 3, "所属名"), InlineData("1001,=1+1,コウ,01,課,主事,正規,,", 2, "氏名"), InlineData("1001,甲,コウ,01,課,　＋cmd,正規,,", 2, "職名"),
     InlineData("1001,甲,コウ,01,課,主事,社長,,", 2, "雇用区分"), InlineData("1001,甲,コウ,01,課,主事,正規,,2027-13-01", 2, "退職日"), InlineData("1001,甲,コウ,01,課,主事,正規,not a mail,", 2, "メール"), InlineData("1001,甲,コウ,01,課", 2, ""),
     InlineData("1001,甲\u0007,コウ,01,課,主事,正規,,", 2, "氏名"), InlineData("1001,\"甲,コウ,01,課,主事,正規,,", 0, ""), InlineData("１００１,甲,コウ,01,課,主事,正規,,", 2, "職員番号")]
    public void What_is_wrong_is_told_with_row_and_column(string lines, int row, string column)
    {
        var (people, problems) = Read(lines);
        Assert.Empty(people);
        Assert.Contains(problems, p => p.Row == row && p.Column == column);
    }

    [Fact]
    public void Other_encodings_missing_and_unknown_headings_and_too_much_are_told()
    {
        Assert.Contains("文字コード", Roster.Read(Encoding.GetEncoding("utf-16").GetBytes(Headings)).Problems[0].Text, StringComparison.Ordinal);
        Assert.Contains("文字コード", Roster.Read([0x81, 0xFF, 0xFE]).Problems[0].Text, StringComparison.Ordinal);
        Assert.Contains(Roster.Read("職員番号,氏名,給与\n1,2,3"u8.ToArray()).Problems, p => p.Column == "給与");
        Assert.Contains(Roster.Read("職員番号,氏名,給与\n1,2,3"u8.ToArray()).Problems, p => p.Column == "所属コード");
        Assert.Contains(Read(string.Concat(Enumerable.Range(0, 20_001).Select(i => $"{i},甲,コウ,01,課,主事,正規,,\n"))).Problems, p => p.Text.Contains("20,000", StringComparison.Ordinal));
        var many = Read(string.Concat(Enumerable.Range(0, 10_000).Select(i => $"{i},甲{i},コウ,{i % 90},課{i % 90},主事,正規,,\n")));
        Assert.Equal(10_000, many.People.Count);
        // Ten thousand wrong rows are told, not all of them.
        Assert.InRange(Read(string.Concat(Enumerable.Range(0, 10_000).Select(_ => "1,=甲,コウ,01,課,主事,正規,,\n"))).Problems.Count, 100, 400);
    }

    [Fact]
    public void Rare_characters_variation_sequences_and_the_longest_names_are_kept()
    {
        var longest = new string('あ', FreeText.LongestName);
        foreach (var name in (string[])["葛\U000E0100城 太郎", "\uE000野 花子", "𠮷田 一郎", "ｽﾐｽ ｼﾞｮﾝ", longest])
            Assert.Equal(name, Assert.Single(Read($"1001,{name},カナ,01,課,主事,正規,,").People).Name);
        Assert.NotEmpty(Read($"1001,{longest}あ,カナ,01,課,主事,正規,,").Problems);
        Assert.NotEmpty(Read("1001,甲\u202E乙,カナ,01,課,主事,正規,,").Problems);
    }
}

/// <summary>Imports on the register: compared, applied by another, with effect on the day; and what the days do by themselves.</summary>
public sealed class RosterTests(BrokerHost broker) : IClassFixture<BrokerHost>
{
    private static readonly CancellationToken None = CancellationToken.None;
    private static readonly PersonId Hr = PersonId.Parse("p-7001"), System = PersonId.Parse("p-9002");
    private const string Headings = "職員番号,氏名,氏名カナ,所属コード,所属名,職名,雇用区分,メール,退職日\n";
    private readonly TestClock _clock = new();

    private static byte[] File(params string[] lines) => Encoding.UTF8.GetBytes(Headings + string.Join('\n', lines));

    private static DateTimeOffset Day(int year, int month, int day) => new(year, month, day, 0, 0, 0, TimeSpan.FromHours(9));

    private static async Task<ValidPerson?> ValidAsync(Store store, string person, DateTimeOffset at) => await store.AskAsync(PeopleRegister.FindValid(PersonId.Parse(person), at), None);

    [Fact, Trait("Requirement", "IDN-09"), Trait("Requirement", "IDN-10"), Trait("Requirement", "IDN-07"), Trait("Requirement", "REG-04"), Trait("Requirement", "LOG-02")]
    public async Task April_in_one_import_previewed_applied_by_another_and_true_on_its_day_for_years()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (import, store) = (services.GetRequiredService<RosterImport>(), services.GetRequiredService<Store>());
        var april = Day(JstYear() + 1, 4, 1);
        // 1001 moves, 1002 leaves at the end of March, 1003 changes her name, 5001 joins; everybody else stays as they are, but 1006 is missing.
        var register = (await store.AskAsync(RosterRegister.Known(april), None)).Where(k => !k.Left && k.StaffNumber is not ("1006" or "1001" or "1002" or "1003" or "1004")).Select(k => $"{k.StaffNumber},{k.Name},カナ,{k.Posts[0].Split('|')[0]},{k.Posts[0].Split('|')[0]},{k.Posts[0].Split('|')[1]},{(k.Employment == "contractor" ? "委託" : "正規")},,");
        string[] changed = ["1001,試験 一子,シケン イチコ,0202,税務課,主事,正規,,", $"1002,試験 二郎,シケン ジロウ,市民課,市民課,窓口担当,正規,,{JstYear() + 1}-03-31", "1003,新姓 三郎,シンセイ サブロウ,市民課,市民課,窓口担当,正規,,", "5001,新人 花子,シンジン ハナコ,0202,税務課,主事,会計年度任用,hanako@example.invalid,"];
        var (id, problems) = await import.StageAsync(File([.. changed, .. register]), april, Hr, None);
        Assert.Empty(problems);
        var shown = (await import.FindAsync(id!.Value, None))!;
        Assert.Equal(["join 5001", "leave 1002", "move 1001", "orphan 1006", "rename 1003"], shown.Changes.Where(c => c.Kind != "section").Select(c => $"{c.Kind} {c.StaffNumber}").Order());
        Assert.NotNull(await ValidAsync(store, "p-1002", april));    // nothing has happened yet
        Assert.Equal(RosterImport.Outcome.OwnImport, await import.ApplyAsync(id.Value, Hr, true, None));
        Assert.Equal(RosterImport.Outcome.Applied, await import.ApplyAsync(id.Value, System, true, None));
        Assert.Equal(RosterImport.Outcome.AppliedAlready, await import.ApplyAsync(id.Value, System, true, None));
        // The day before, and the day.
        var (before, after) = (april.AddSeconds(-1), april);
        Assert.Equal("市民課 窓口担当", string.Join(' ', (await ValidAsync(store, "p-1001", before))!.Posts.Select(p => $"{p.Section} {p.Post}")));
        Assert.Equal("税務課 主事", string.Join(' ', (await ValidAsync(store, "p-1001", after))!.Posts.Select(p => $"{p.Section} {p.Post}")));
        Assert.True(await store.AskAsync(TerminalRegister.HasGrant(TerminalId.Parse("t-01"), PersonId.Parse("p-1001"), before), None));
        Assert.False(await store.AskAsync(TerminalRegister.HasGrant(TerminalId.Parse("t-01"), PersonId.Parse("p-1001"), after), None));
        Assert.NotNull(await ValidAsync(store, "p-1002", before));
        Assert.Null(await ValidAsync(store, "p-1002", after));
        Assert.Equal(("試験 三郎", "新姓 三郎"), ((await ValidAsync(store, "p-1003", before))!.Name, (await ValidAsync(store, "p-1003", after))!.Name));
        Assert.Equal(["operator"], (await ValidAsync(store, "p-5001", after))!.Roles);
        Assert.Null(await ValidAsync(store, "p-5001", before));
        // Five years on, the day before April still has the names, posts and seats of then.
        _clock.Now = april.AddYears(5);
        var line = (await store.AskAsync(PeopleRegister.Find(PersonId.Parse("p-1002"), before), None))!;
        Assert.Equal(("試験 二郎", "valid", "市民課 窓口担当"), (line.Name, line.Standing, line.Posts[0]));
        Assert.Equal("left", (await store.AskAsync(PeopleRegister.Find(PersonId.Parse("p-1002"), _clock.Now), None))!.Standing);
        Assert.Equal("異動", (await store.AskAsync(RegisterLog.AsOf("user-ids", _clock.Now), None)).Single(l => l.Subject == "p-1001").What);
        // The number of somebody who left joins nobody again.
        var (again, refused) = await import.StageAsync(File("1002,別人 二郎,ベツジン ジロウ,市民課,市民課,窓口担当,正規,,"), _clock.Now, Hr, None);
        Assert.Null(again);
        Assert.Contains(refused, p => p.Column == "職員番号" && p.Text.Contains("再利用", StringComparison.Ordinal));
        // The orphan waits, and after a week the chief is told.
        await services.GetRequiredService<StaffClock>().TurnAsync(None);
        Assert.NotEmpty(await broker.SqlAsync("select 1 from notices.notices where person = 'p-8001' and subject like '名簿にない%'"));
    }

    [Fact, Trait("Requirement", "IDN-10")]
    public async Task The_register_exported_and_imported_on_the_same_day_changes_nothing_and_what_leaves_a_role_without_a_holder_must_be_confirmed()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (import, store) = (services.GetRequiredService<RosterImport>(), services.GetRequiredService<Store>());
        var today = JapaneseTime.StartOf(JapaneseTime.DayOf(_clock.Now));
        await broker.SqlAsync($"insert into people.posts (person, post, section, role, valid_from, valid_until) values ('p-1003', '住基ネット管理者代行', '', 'administrator', now() - interval '1 hour', now() + interval '30 days')");
        var rows = (await import.CurrentAsync(None)).Select(r => r.Select((cell, i) => i == 2 && cell.Length == 0 ? "カナ" : cell).ToArray()).ToList();
        async Task<RosterImport.Import> StageAsync()
        {
            var (id, problems) = await import.StageAsync(Csv.Write(Roster.Headings, rows), today, Hr, None);
            Assert.Empty(problems);
            return (await import.FindAsync(id!.Value, None))!;
        }
        Assert.DoesNotContain((await StageAsync()).Changes, c => c.StaffNumber != "6101");
        // The same sections under new codes: nobody loses a seat; a deputy stays one.
        foreach (var row in rows) row[3] = "9-" + row[3];
        var recoded = await StageAsync();
        Assert.Equal(["recode"], recoded.Changes.Where(c => c.Kind != "section" && c.StaffNumber != "6101").Select(c => c.Kind).Distinct());
        Assert.DoesNotContain((await import.EffectsAsync(recoded, System, None)).ByPerson.Values, v => v.Contains("使えなくなる端末", StringComparison.Ordinal));
        // The only operations manager goes: told, and refused until somebody says that it is meant.
        foreach (var row in rows) row[3] = row[3][2..];
        (rows.Single(r => r[0] == "3001")[3], rows.Single(r => r[0] == "3001")[4], rows.Single(r => r[0] == "3001")[5]) = ("0808", "別の課", "主事");
        var moved = await StageAsync();
        var effects = await import.EffectsAsync(moved, System, None);
        Assert.Contains(effects.Warnings, w => w.Contains("住基ネット運用管理者", StringComparison.Ordinal));
        Assert.Contains("失う: ", effects.ByPerson["p-3001"], StringComparison.Ordinal);
        Assert.Equal(RosterImport.Outcome.NotConfirmed, await import.ApplyAsync(moved.Id, System, false, None));
        Assert.Contains("pin-manager", (await ValidAsync(store, "p-3001", _clock.Now))!.Roles);
        Assert.Contains("administrator", (await ValidAsync(store, "p-1003", _clock.Now))!.Roles);
        await broker.SqlAsync("update people.posts set valid_until = now() where section = '' and person = 'p-1003'");
        Assert.Contains((await import.StageAsync(Csv.Write(Roster.Headings, rows), today.AddDays(-1), Hr, None)).Problems, p => p.Text.Contains("発効日", StringComparison.Ordinal));
    }

    [Fact, Trait("Requirement", "IDN-09"), Trait("Requirement", "IDN-05")]
    public async Task Another_employment_takes_effect_on_its_day_with_the_rights_that_go_with_it_and_an_import_can_be_put_aside()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (import, store) = (services.GetRequiredService<RosterImport>(), services.GetRequiredService<Store>());
        var person = PersonId.Parse("p-1005");
        await broker.SqlAsync("insert into people.posts (person, post, section, role, valid_from, valid_until) values ('p-1005', '住基ネット管理者代行', '', 'administrator', now() - interval '1 hour', now() + interval '300 days')");
        var day = JapaneseTime.StartOf(JapaneseTime.DayOf(_clock.Now).AddDays(40));
        var row = (await import.CurrentAsync(None)).Single(r => r[0] == "1005");
        (row[2], row[6]) = ("カナ", "委託");
        async Task<long> StageAsync()
        {
            var (id, problems) = await import.StageAsync(Csv.Write(Roster.Headings, [row]), day, Hr, None);
            Assert.Empty(problems);
            return id!.Value;
        }
        var aside = await StageAsync();
        Assert.True(await import.DiscardAsync(aside, System, None));
        Assert.False(await import.DiscardAsync(aside, System, None));
        Assert.Equal(RosterImport.Outcome.NotFound, await import.ApplyAsync(aside, System, true, None));
        var id = await StageAsync();
        Assert.Equal(["employment regular contractor"], (await import.FindAsync(id, None))!.Changes.Where(c => c.StaffNumber == "1005").Select(c => $"{c.Kind} {c.Before} {c.After}"));
        Assert.Equal(RosterImport.Outcome.Applied, await import.ApplyAsync(id, System, true, None));
        var before = (await ValidAsync(store, person.Value, day.AddSeconds(-1)))!;
        Assert.Equal((false, true), (before.IsContractor, before.Roles.Contains("administrator")));
        var after = (await ValidAsync(store, person.Value, day))!;
        Assert.True(after.IsContractor);
        Assert.Equal(["contractor"], after.Roles);
    }

    [Fact, Trait("Requirement", "CRD-03")]
    public async Task Nobody_gives_themselves_rights_by_applying_a_roster()
    {
        await using var services = CityServices.Of(broker, _clock);
        var import = services.GetRequiredService<RosterImport>();
        var rows = await import.CurrentAsync(None);
        var (own, pin) = (rows.Single(r => r[0] == "9002"), rows.Single(r => r[0] == "3001"));
        own[2] = "カナ";
        (own[3], own[4], own[5]) = (pin[3], pin[4], pin[5]);
        var (id, problems) = await import.StageAsync(Csv.Write(Roster.Headings, [own]), JapaneseTime.StartOf(JapaneseTime.DayOf(_clock.Now).AddDays(50)), Hr, None);
        Assert.Empty(problems);
        Assert.Equal(RosterImport.Outcome.ForOneself, await import.ApplyAsync(id!.Value, System, true, None));
        Assert.True((await import.EffectsAsync((await import.FindAsync(id.Value, None))!, System, None)).ForOneself);
        Assert.Equal(["approvals.subject-executes"], await broker.SqlAsync("select reason from history.events where operation = 'staff.apply-roster' order by id desc limit 1"));
        Assert.True(await import.DiscardAsync(id.Value, Hr, None));
    }

    private static int JstYear() => DateTimeOffset.UtcNow.ToOffset(TimeSpan.FromHours(9)).Year;

    [Fact]
    public async Task An_import_is_not_applied_when_the_register_has_changed_since_and_two_at_once_apply_it_once()
    {
        await using var services = CityServices.Of(broker, _clock);
        var import = services.GetRequiredService<RosterImport>();
        var (id, _) = await import.StageAsync(File("6101,甲 一,コウ イチ,0909,試験課,主事,正規,,"), _clock.Now, Hr, None);
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => import.ApplyAsync(id!.Value, System, true, None)));
        Assert.Single(outcomes, o => o == RosterImport.Outcome.Applied);
        (id, _) = await import.StageAsync(File("6101,乙 一,オツ イチ,0909,試験課,主事,正規,,"), _clock.Now.AddDays(1), Hr, None);
        await broker.SqlAsync("update people.persons set valid_until = now() + interval '90 days' where id = 'p-6101'");
        Assert.Equal(RosterImport.Outcome.RegisterChanged, await import.ApplyAsync(id!.Value, System, true, None));
        Assert.Equal(["甲 一"], await broker.SqlAsync("select name from people.names where person = 'p-6101'"));
    }

    [Fact, Trait("Requirement", "PRV-03"), Trait("Requirement", "REG-05")]
    public async Task A_deputy_acts_from_the_first_to_the_last_day_by_cisos_approval_and_four_roles_are_told()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (desk, store) = (services.GetRequiredService<RequestDesk>(), services.GetRequiredService<Store>());
        var from = DateOnly.FromDateTime(_clock.Now.ToOffset(TimeSpan.FromHours(9)).DateTime).AddDays(10);
        var fields = new Dictionary<string, string> { ["person"] = "p-6001", ["role"] = "pin-manager", ["from"] = $"{from:yyyy-MM-dd}", ["until"] = $"{from.AddDays(4):yyyy-MM-dd}" };
        Assert.Contains("委託先", Assert.IsType<RequestDesk.Outcome.Problem>(await desk.SubmitAsync(PersonId.Parse("p-3001"), "staff.deputy", fields, "休暇のため", None)).Sentence, StringComparison.Ordinal);
        fields["person"] = "p-1005";
        var id = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(PersonId.Parse("p-3001"), "staff.deputy", fields, "休暇のため", None)).Request;
        Assert.IsType<RequestDesk.Outcome.NotPermitted>(await desk.ApproveAsync(PersonId.Parse("p-8001"), id, "approve-it", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Unconfirmed>(await desk.ApproveAsync(PersonId.Parse("p-8002"), id, "approve-it", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-8002"), id, "approve-it", "", null, None, (_, _) => Task.FromResult<AccessBroker.Approvals.ConfirmedProof?>(new(null))));
        var start = Day(from.Year, from.Month, from.Day);
        Assert.DoesNotContain("pin-manager", (await ValidAsync(store, "p-1005", start.AddSeconds(-1)))!.Roles);
        Assert.Contains("pin-manager", (await ValidAsync(store, "p-1005", start))!.Roles);
        Assert.Contains("pin-manager", (await ValidAsync(store, "p-1005", start.AddDays(5).AddSeconds(-1)))!.Roles);
        Assert.DoesNotContain("pin-manager", (await ValidAsync(store, "p-1005", start.AddDays(5)))!.Roles);
        Assert.Equal(["4"], await broker.SqlAsync("select count(distinct details->>'role') from history.events where operation = 'staff.tell-deputy'"));
        Assert.Equal(["p-3001|p-8002"], await broker.SqlAsync("select fields->>'nominatedBy', fields->>'approvedBy' from registers.entries where register = 'privileged' and what = '代行者'"));
    }

    [Fact, Trait("Requirement", "IDN-11"), Trait("Requirement", "SES-07")]
    public async Task On_the_last_day_and_on_suspension_everything_of_a_person_ends_by_itself()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (store, sessions) = (services.GetRequiredService<Store>(), services.GetRequiredService<LiveSessions>());
        var card = (await broker.SqlAsync("select id from cards.cards where person = 'p-2001'"))[0];
        async Task PlantAsync() => await broker.SqlAsync($"""
            insert into sessions.leases (terminal, epoch, node, until) values ('t-02', 'planted-epoch', 'other', now() + interval '1 hour') on conflict (terminal) do update set until = now() + interval '1 hour';
            insert into sessions.sessions (id, cookie_hash, person, card, terminal, address, epoch, acr, amr, auth_time, started_at, seen_at, expires_at)
            values ('{Guid.NewGuid():n}', '\x{Guid.NewGuid():n}', 'p-2001', '{card}', 't-02', '127.0.0.1', 'planted-epoch', 'a', array['sc'], now(), now(), now(), now() + interval '1 hour')
            """);
        await broker.SqlAsync("insert into terminals.grants (terminal, person, approved_by, reason, valid_from) values ('t-02', 'p-2001', 'p-9001', '試験', now() - interval '1 day')");
        await PlantAsync();
        var last = _clock.Now.AddDays(3);
        await using (var work = await store.BeginAsync(None))
        {
            await Leaving.WriteAsync(work, PersonId.Parse("p-2001"), last, Hr, _clock.Now, None);
            await work.CommitAsync(None);
        }
        await sessions.SweepAsync();
        Assert.Single(await broker.SqlAsync("select 1 from sessions.sessions where person = 'p-2001' and ended_at is null"));
        _clock.Now = last.AddSeconds(1);
        await sessions.SweepAsync();
        Assert.Equal(["sessions.person-not-valid"], await broker.SqlAsync("select distinct end_reason from sessions.sessions where person = 'p-2001'"));
        Assert.Null(await ValidAsync(store, "p-2001", _clock.Now));
        Assert.False(await store.AskAsync(TerminalRegister.HasGrant(TerminalId.Parse("t-01"), PersonId.Parse("p-2001"), _clock.Now), None));
        // Back, and suspended: the session ends with the same commit, and both are told.
        await broker.SqlAsync("update people.persons set valid_until = null where id = 'p-2001'; update terminals.grants set valid_until = null where person = 'p-2001'");
        await PlantAsync();
        Assert.True(await services.GetRequiredService<SuspendPerson>().RunAsync(PersonId.Parse("p-2001"), PersonId.Parse("p-8001"), "調査のため"));
        Assert.Contains("sessions.person-suspended", await broker.SqlAsync("select end_reason from sessions.sessions where person = 'p-2001'"));
        Assert.Equal(["p-3001", "p-8002"], (await broker.SqlAsync("select person from notices.notices where subject like '権限を停止%' order by person")));
        var desk = services.GetRequiredService<RequestDesk>();
        var id = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(PersonId.Parse("p-8001"), "staff.resume", new Dictionary<string, string> { ["person"] = "p-2001" }, "調査が終わった", None)).Request;
        Assert.IsType<RequestDesk.Outcome.Unconfirmed>(await desk.ApproveAsync(PersonId.Parse("p-8002"), id, "approve-it", "", null, None));
        Assert.IsType<RequestDesk.Outcome.Done>(await desk.ApproveAsync(PersonId.Parse("p-8002"), id, "approve-it", "", null, None, (_, _) => Task.FromResult<AccessBroker.Approvals.ConfirmedProof?>(new(null))));
        Assert.NotNull(await ValidAsync(store, "p-2001", _clock.Now));
        await broker.SqlAsync("update sessions.sessions set ended_at = now(), end_reason = 'test' where ended_at is null");
    }

    [Fact, Trait("Requirement", "CRD-02")]
    public async Task Overdue_requests_are_told_once_and_forgotten_ones_end()
    {
        await using var services = CityServices.Of(broker, _clock);
        var (desk, turns) = (services.GetRequiredService<RequestDesk>(), services.GetRequiredService<RequestClock>());
        var id = ((RequestDesk.Outcome.Done)await desk.SubmitAsync(PersonId.Parse("p-9001"), "cards.issue", new Dictionary<string, string> { ["person"] = "p-1006" }, "配属のため", None)).Request;
        _clock.Now = _clock.Now.AddDays(4);
        await turns.TurnAsync(None);
        await turns.TurnAsync(None);
        Assert.Equal(["1"], await broker.SqlAsync($"select count(*) from notices.notices where person = 'p-3001' and subject like '期限を過ぎた%' and url = '/requests/{id}'"));
        _clock.Now = _clock.Now.AddDays(60);
        await turns.TurnAsync(None);
        Assert.Equal(["expired"], await broker.SqlAsync($"select state from approvals.requests where id = {id.ToString(CultureInfo.InvariantCulture)}"));
    }

    [Fact]
    public async Task People_are_found_by_any_kind_of_kana_and_exports_hold_no_formula()
    {
        await using var services = CityServices.Of(broker, _clock);
        var store = services.GetRequiredService<Store>();
        foreach (var text in (string[])["シケン アンショウ", "しけん あんしょう", "ｼｹﾝｱﾝｼｮｳ", "あんしょう", "試験 暗証", "3001"]) Assert.Contains(await store.AskAsync(PeopleRegister.Search(text, _clock.Now), None), p => p.Id.Value == "p-3001");
        Assert.Empty(await store.AskAsync(PeopleRegister.Search("100%_", _clock.Now), None));
        Assert.Equal("\"'=HYPERLINK(\"\"x\"\")\",\"'　＝1\",\"'-1+1\",\"-\",\"普通\"\r\n", Encoding.UTF8.GetString(Csv.Write([], [["=HYPERLINK(\"x\")", "　＝1", "-1+1", "-", "普通"]]))[1..].TrimStart('\r', '\n'));
    }
}
