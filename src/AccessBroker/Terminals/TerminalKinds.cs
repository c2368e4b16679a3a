using System.Globalization;
using System.Net;
using AccessBroker.Approvals;
using AccessBroker.Authorization;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.Terminals;

/// <summary>What the two kinds that write the register share: the form and its rules. <clause>MIC 6.1(17)②(18)②(19)</clause></summary>
internal abstract class TerminalKind(BrokerOptions options, TimeProvider time) : RequestKind
{
    protected TimeProvider Time => time;
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者", "chief"), Step("情報システム管理者", "system")];

    protected static IReadOnlyList<RequestField> Attributes(bool required) =>
    [
        new("name", "端末の名称", Required: required), new("responsible", "管理責任者", FieldType.Person, required), new("place", "設置場所", Required: required),
        new("system", "利用する系統", Required: required, Hint: "一つの端末は一つの系統だけに使います。例: koseki、juki"),
        new("address", "ネットワークアドレス", Required: required, Hint: "例: 10.1.2.3"),
        new("link", "接続", FieldType.Choice, required) { Choices = [("wired", "有線"), ("wifi", "無線")] },
        new("mac", "MACアドレス", Required: false, Hint: "例: 00:11:22:33:44:55"),
        new("mobile", "持ち運び", FieldType.Choice, required) { Choices = [("no", "据え置き"), ("yes", "モバイル端末")] },
    ];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (fields["address"] is { Length: > 0 } address && (!IPAddress.TryParse(address, out var parsed) || parsed.ToString() != address)) return "ネットワークアドレスの形が正しくありません。";
        if (fields["system"] is { Length: > 0 } system && !IdForm.Fits(system)) return "系統は半角英数字とハイフンの記号で入力してください。";
        var isolated = options.Segment is "my-number" or "juki-net";
        if (isolated && fields["link"] == "wifi") return "マイナンバー利用事務系では無線LANを使えません(MIC 6.1(13)解)。";
        if (isolated && fields["mobile"] == "yes") return "マイナンバー利用事務系の端末は持ち出せません(MIC 6.2(2)解)。";
        if (fields["responsible"] is { Length: > 0 } responsible && await work.AskAsync(PeopleRegister.FindValid(PersonId.Parse(responsible), time.GetUtcNow()), ct) is null) return "管理責任者は在籍している人から選んでください。";
        return null;
    }

    protected void Write(UnitOfWork work, Request request, PersonId by, TerminalRow row, string what)
    {
        foreach (var (value, set) in ((string, Action<string>)[])[(request["name"], v => row.Name = v), (request["responsible"], v => row.ResponsiblePerson = v), (request["place"], v => row.Place = v), (request["system"], v => row.System = v),
            (request["address"], v => row.Address = v), (request["link"], v => row.Link = v), (request["mac"], v => row.Mac = v), (request["mobile"], v => row.Mobile = v == "yes")])
            if (value.Length > 0) set(value);
        (row.Segment, row.ChangedAt) = (options.Segment, time.GetUtcNow());
        work.Enter("terminals", row.Id, what, by.Value, Line(row).Entry(), time.GetUtcNow());
    }

    private static TerminalLine Line(TerminalRow t) => new(TerminalId.Parse(t.Id), t.Name, PersonId.Parse(t.ResponsiblePerson), t.Place, t.System, t.Address, t.State, t.Segment, t.Link, t.Mobile, t.Mac, t.Fingerprint, t.Reported, t.ChangedAt);
}

/// <summary>A new terminal: both have to say yes. <clause>MIC 6.1(17)②</clause></summary>
internal sealed class EnrolTerminalKind(BrokerOptions options, TimeProvider time) : TerminalKind(options, time)
{
    public override string Name => "terminals.enrol";
    public override string Title => "端末の登録";
    public override string Explanation => "新しい端末を構成管理簿に載せます。統括情報セキュリティ責任者と情報システム管理者の両方が認めると登録されます。その後、登録コードで端末に証明書を入れます。";
    public override IReadOnlyList<RequestField> Fields => [new("newTerminal", "端末の番号", Hint: "半角英数字とハイフン。例: t-07"), .. Attributes(required: true)];

    public override async Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct)
    {
        if (!TerminalId.TryParse(fields["newTerminal"], null, out var id)) return "端末の番号は半角英数字とハイフンで入力してください。";
        return await work.AskAsync(TerminalRegister.Find(id), ct) is null ? await base.ProblemAsync(work, fields, by, ct) : "この番号の端末はすでにあります。";
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var context = TerminalRegister.Context(work);
        var row = new TerminalRow { Id = request["newTerminal"], Name = "", ResponsiblePerson = "", Place = "", System = "", Address = "", State = "in-use" };
        context.Add(row);
        Write(work, request, by, row, "登録");
        await context.SaveChangesAsync(ct);
        return null;
    }
}

/// <summary>A changed place, system, address, …: the same two. <clause>MIC 6.1(18)②(19)</clause></summary>
internal sealed class ChangeTerminalKind(BrokerOptions options, TimeProvider time) : TerminalKind(options, time)
{
    public override string Name => "terminals.change";
    public override string Title => "端末の変更";
    public override string Explanation => "登録済みの端末の内容を変えます。空欄は変えません。ソフトウェアや機器構成を変えたときは「現在の構成を承認する」を選びます。統括情報セキュリティ責任者と情報システム管理者の両方が認めると反映されます。";
    public override IReadOnlyList<RequestField> Fields => [new("terminal", "端末", FieldType.Terminal), .. Attributes(required: false), new("configuration", "端末の構成", FieldType.Choice, false) { Choices = [("accept", "現在の構成を承認する"), ("keep", "変えない")] }];

    /// <summary>What is approved is the configuration of this moment, not of a later one.</summary>
    public override async Task CompleteAsync(UnitOfWork work, IDictionary<string, string> fields, CancellationToken ct)
    {
        if (fields["configuration"] == "accept") fields["reported"] = (await work.AskAsync(TerminalRegister.FindLine(TerminalId.Parse(fields["terminal"])), ct))?.Reported ?? "";
    }

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        if (await ProblemAsync(work, request.Fields, by, ct) is { } problem) return problem;
        var context = TerminalRegister.Context(work);
        if (await context.Terminals.FindAsync([request["terminal"]], ct) is not { } row) return "この端末はありません。";
        if (request["configuration"] == "accept" && row.Reported != request["reported"]) return "申請の後に端末の構成がまた変わりました。申請し直してください。";
        if (request["configuration"] == "accept") row.Fingerprint = row.Reported;
        Write(work, request, by, row, "変更");
        await context.SaveChangesAsync(ct);
        return null;
    }
}

/// <summary>Somebody may sit at a terminal: the person responsible for that terminal says so, and nobody else. <clause>MOJ 第5-4(1)</clause></summary>
internal sealed class GrantSeatKind(TimeProvider time) : RequestKind
{
    public override string Name => "terminals.grant";
    public override string Title => "端末の利用許可";
    public override string Explanation => "職員がこの端末でサインインできるようにします。その端末の管理責任者が認めると、開始日から有効になります。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("この端末の管理責任者")];
    public override IReadOnlyList<RequestField> Fields => [new("person", "利用する人", FieldType.Person), new("terminal", "端末", FieldType.Terminal), new("from", "開始日", FieldType.Day, false, "空欄は承認された時から"), new("until", "最終日", FieldType.Day, false, "空欄は期限なし")];

    public override Task<string?> ProblemAsync(UnitOfWork work, IReadOnlyDictionary<string, string> fields, PersonId by, CancellationToken ct) =>
        Task.FromResult(fields["until"] is { Length: > 0 } until && (DateOnly.Parse(until, CultureInfo.InvariantCulture) < JapaneseTime.DayOf(time.GetUtcNow()) || string.CompareOrdinal(fields["from"], until) > 0) ? "最終日は、開始日と今日より前にはできません。" : null);

    public override async Task<bool> MayApproveAsync(UnitOfWork work, Request request, ApprovalStep asked, MayDo may, CancellationToken ct) =>
        may.Allows(asked.Operation) && TerminalId.TryParse(request["terminal"], null, out var id) && await work.AskAsync(TerminalRegister.FindLine(id), ct) is { } terminal && terminal.Responsible == may.Person!.Id;

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var (now, terminal, person) = (time.GetUtcNow(), TerminalId.Parse(request["terminal"]), PersonId.Parse(request["person"]));
        if (await work.AskAsync(TerminalRegister.Find(terminal), ct) is null) return "この端末はありません。";
        var from = request["from"] is { Length: > 0 } day && JapaneseTime.StartOf(DateOnly.Parse(day, CultureInfo.InvariantCulture)) is var start && start > now ? start : now;
        DateTimeOffset? until = request["until"] is { Length: > 0 } last ? JapaneseTime.EndOf(DateOnly.Parse(last, CultureInfo.InvariantCulture)) : null;
        work.Write($"insert into terminals.grants (terminal, person, approved_by, reason, valid_from, valid_until) values ({terminal}, {person}, {by}, {request.Reason}, {from}, {until}) on conflict (terminal, person, valid_from) do update set approved_by = excluded.approved_by, reason = excluded.reason, valid_until = excluded.valid_until");
        work.Enter("seats", $"{terminal}/{person}", "許可", by.Value, Seats.Entry(new(terminal, person, by, request.Reason, from, until)), now);
        return null;
    }
}

/// <summary>A terminal is cut off as planned: 統括 says yes first. <clause>MIC 7.3(2)③(エ)</clause></summary>
internal sealed class IsolateTerminalKind(IsolateTerminal isolate) : RequestKind
{
    public override string Name => "terminals.isolate";
    public override string Title => "端末の切離し(事前承認)";
    public override string Explanation => "端末を切り離します。統括情報セキュリティ責任者が認めた後に実施すると、そこでの業務は直ちに終わり、サインインできなくなります。被害を止めるため急ぐときは、端末の画面から緊急の切離しを行い、事後に報告します。";
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者")];
    public override IReadOnlyList<RequestField> Fields => [new("terminal", "端末", FieldType.Terminal)];

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var ended = await isolate.RunAsync(work, TerminalId.Parse(request["terminal"]), by, "isolated", "切離し", request.Reason);
        foreach (var one in ended) work.Record(one.Event, one.At);
        return ended.Count == 0 ? "この端末はありません。" : null;
    }
}

/// <summary>Filed by the system when a terminal was cut off in an emergency; it stays until 統括 has taken note. <clause>MIC 7.3(2)③(エ)</clause></summary>
internal sealed class IsolationReportKind : RequestKind
{
    public const string KindName = "terminals.report-isolation";
    public override string Name => KindName;
    public override string Title => "緊急の切離しの事後報告";
    public override string Explanation => "被害を止めるため、承認を待たずに端末を切り離しました。統括情報セキュリティ責任者が内容を確かめて受理するまで、この報告は閉じられません。";
    public override bool IsExecuted => false;
    public override bool IsWithdrawable => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("統括情報セキュリティ責任者")];
    public override IReadOnlyList<RequestField> Fields => [new("terminal", "端末", FieldType.Terminal)];
    public override Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct) => Task.FromResult<string?>(null);
}

/// <summary>A terminal comes back into use: from the way, quarantine, isolation or rest. <clause>MIC 6.2(2)⑥</clause></summary>
internal sealed class RestoreTerminalKind(TimeProvider time) : RequestKind
{
    public override string Name => "terminals.restore";
    public override string Title => "端末の利用再開";
    public override string Explanation => "止めていた端末、切り離した端末、持ち帰った端末を、確かめた上で再び使えるようにします。紛失した端末は、登録コードによる証明書の入れ直しも必要です。";
    public override bool IsExecuted => false;
    public override IReadOnlyList<ApprovalStep> Steps => [Step("情報セキュリティ管理者")];
    public override IReadOnlyList<RequestField> Fields =>
    [
        new("terminal", "端末", FieldType.Terminal), new("malware", "不正プログラムの検査", FieldType.Choice) { Choices = [("clean", "検査し、異常なし")] }, new("patches", "更新プログラム", FieldType.Choice) { Choices = [("applied", "最新であることを確かめた")] },
        new("checkedBy", "検査した人", FieldType.Person),
    ];

    public override async Task<string?> ExecuteAsync(UnitOfWork work, Request request, PersonId by, string note, CancellationToken ct)
    {
        var context = TerminalRegister.Context(work);
        if (await context.Terminals.FindAsync([request["terminal"]], ct) is not { } row) return "この端末はありません。";
        if (row.State == "in-use") return "この端末は使われています。";
        (row.State, row.ChangedAt) = ("in-use", time.GetUtcNow());
        await context.SaveChangesAsync(ct);
        work.Enter("terminals", row.Id, "利用再開", by.Value, (await work.AskAsync(TerminalRegister.FindLine(TerminalId.Parse(row.Id)), ct))!.Entry(), time.GetUtcNow());
        return null;
    }
}

/// <summary>Terminals of a request's form, by id, name or place.</summary>
internal sealed class TerminalOptions : IFieldOptions
{
    public FieldType Type => FieldType.Terminal;

    public async Task<IReadOnlyList<(string Value, string Label)>> FindAsync(UnitOfWork work, string text, DateTimeOffset at, CancellationToken ct)
    {
        var found = await work.AskAsync(TerminalRegister.Search(text, 20), ct);
        var exact = found.Where(t => t.Id.Value == text.Trim()).ToList();
        return [.. (exact.Count == 1 ? exact : found).Select(t => (t.Id.Value, $"{t.Name}({t.Place})"))];
    }
}
