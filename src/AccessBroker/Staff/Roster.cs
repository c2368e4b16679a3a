using System.Globalization;
using System.Text;
using AccessBroker.People;
using AccessBroker.Registers;
using AccessBroker.Web;

namespace AccessBroker.Staff;

/// <summary>One line of a roster.</summary>
public sealed record RosterPerson(string StaffNumber, string Name, string Kana, string SectionCode, string SectionName, string Post, string Employment, string? Mail, DateOnly? Until);

/// <summary>What is wrong in a roster, and where.</summary>
/// <param name="Row">Line of the file, from 1 (the headings).</param>
/// <param name="Column">Heading; empty: the whole line or file.</param>
public sealed record RosterProblem(int Row, string Column, string Text);

/// <summary>Reads the HR department's roster: CSV in UTF-8 or Shift_JIS. Everything wrong is told with row and column; a roster with a problem is not taken at all. Pure.</summary>
public static class Roster
{
    /// <summary>The headings, in this order or any other.</summary>
    public static readonly IReadOnlyList<string> Headings = ["職員番号", "氏名", "氏名カナ", "所属コード", "所属名", "職名", "雇用区分", "メール", "退職日"];
    /// <summary>Ours: 20,000 lines, 4 MiB.</summary>
    public const int MostRows = 20_000, MostBytes = 4 * 1024 * 1024;
    private const int MostProblems = 200;

    static Roster() => Encoding.RegisterProvider(CodePagesEncodingProvider.Instance);

    /// <summary>The people, or the problems; never both.</summary>
    public static (IReadOnlyList<RosterPerson> People, IReadOnlyList<RosterProblem> Problems) Read(byte[] file)
    {
        if (file.Length > MostBytes) return ([], [new(0, "", $"ファイルが大きすぎます({MostBytes / 1024 / 1024} MiB まで)。")]);
        if (Decode(file) is not { } text) return ([], [new(0, "", "文字コードが UTF-8 でも Shift_JIS でもありません。")]);
        if (Csv.Read(text) is not { Count: > 0 } rows) return ([], [new(0, "", "CSV として読めません。引用符が閉じているか確かめてください。")]);
        var problems = new List<RosterProblem>();
        var columns = Headings.ToDictionary(h => h, h => Array.IndexOf(rows[0], h));
        problems.AddRange(columns.Where(c => c.Value < 0 && c.Key is not ("メール" or "退職日")).Select(c => new RosterProblem(1, c.Key, "見出しがありません。")));
        problems.AddRange(rows[0].Except(Headings).Select(h => new RosterProblem(1, h, "知らない見出しです。")));
        if (rows.Count - 1 > MostRows) problems.Add(new(rows.Count, "", $"行が多すぎます({MostRows:N0} 行まで)。"));
        if (rows.Count == 1) problems.Add(new(1, "", "職員の行がありません。"));
        if (problems.Count > 0) return ([], problems);
        var (people, numbers, sections) = (new List<RosterPerson>(rows.Count), new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase), new Dictionary<string, string>());
        for (var i = 1; i < rows.Count && problems.Count < MostProblems; i++) ReadRow(rows[i], i + 1, columns, people, numbers, sections, problems);
        return problems.Count > 0 ? ([], problems) : (people, []);
    }

    private static void ReadRow(string[] row, int line, Dictionary<string, int> columns, List<RosterPerson> people, Dictionary<string, int> numbers, Dictionary<string, string> sections, List<RosterProblem> problems)
    {
        var before = problems.Count;
        string Cell(string heading, bool required = true, int most = FreeText.LongestName)
        {
            var value = columns[heading] >= 0 && columns[heading] < row.Length ? row[columns[heading]].Trim(' ', '\u3000') : "";
            if (value.Length == 0 && required) problems.Add(new(line, heading, "空欄です。"));
            else if (value.Length > most) problems.Add(new(line, heading, $"{most}文字を超えています。"));
            else if (!FreeText.Fits(value)) problems.Add(new(line, heading, "使えない文字(制御文字など)があります。"));
            else if (Csv.IsFormula(value)) problems.Add(new(line, heading, "数式は受け付けません。"));
            return value;
        }
        if (row.Length != columns.Count(c => c.Value >= 0)) problems.Add(new(line, "", $"列の数が見出しと違います({row.Length} 列)。"));
        var number = Cell("職員番号", most: 40);
        if (number.Length > 0 && !number.All(char.IsAsciiLetterOrDigit)) problems.Add(new(line, "職員番号", "半角英数字ではありません。"));
        else if (number.Length > 0 && !numbers.TryAdd(number, line)) problems.Add(new(line, "職員番号", $"{numbers[number]} 行目と重複しています。"));
        var (code, section) = (Cell("所属コード", most: 40), Cell("所属名"));
        if (code.Length > 0 && !sections.TryAdd(code, section) && sections[code] != section) problems.Add(new(line, "所属名", $"所属コード {code} に違う所属名({sections[code]})があります。"));
        var employment = Cell("雇用区分") switch { "正規" => "regular", "会計年度任用" or "臨時" => "temporary", "委託" => "contractor", "" => "", _ => null };
        if (employment is null) problems.Add(new(line, "雇用区分", "正規、会計年度任用、臨時、委託のどれかです。"));
        var (mail, until) = (Cell("メール", required: false), Cell("退職日", required: false));
        DateOnly? last = null;
        if (until.Length > 0)
        {
            if (DateOnly.TryParseExact(until, ["yyyy-MM-dd", "yyyy/MM/dd", "yyyy/M/d"], CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)) last = day;
            else problems.Add(new(line, "退職日", "日付の形が正しくありません(例: 2027-03-31)。"));
        }
        if (mail.Length > 0 && !System.Net.Mail.MailAddress.TryCreate(mail, out _)) problems.Add(new(line, "メール", "メールアドレスの形が正しくありません。"));
        var (name, kana, post) = (Cell("氏名"), Cell("氏名カナ"), Cell("職名"));
        if (problems.Count == before) people.Add(new(number, name, kana, code, section, post, employment!, mail.Length > 0 ? mail : null, last));
    }

    /// <summary>UTF-8 when it is that without a fault, else Shift_JIS (code page 932) without a fault, else null.</summary>
    private static string? Decode(byte[] file)
    {
        foreach (var encoding in (Encoding[])[new UTF8Encoding(false, throwOnInvalidBytes: true), Encoding.GetEncoding(932, EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)])
        {
            try
            {
                var text = encoding.GetString(file.AsSpan().StartsWith(Encoding.UTF8.Preamble) && encoding is UTF8Encoding ? file[3..] : file);
                return text.Contains('\0', StringComparison.Ordinal) ? null : text;
            }
            catch (DecoderFallbackException) { /* the next one, or none */ }
        }
        return null;
    }

    /// <summary>The last moment of the last day.</summary>
    internal static DateTimeOffset EndOf(DateOnly day) => JapaneseTime.EndOf(day);
}
