using System.Globalization;
using AccessBroker.FilePermissions;
using AccessBroker.Sessions;
using AccessBroker.Web;
using Microsoft.Extensions.Localization;
using static System.Net.WebUtility;

namespace AccessBroker.FileServer;

/// <summary>What of a directory this person may see: places that lead to something of theirs, and files they may read. Nothing: as if it were not there. <clause>MIC 6.1(2)③</clause></summary>
internal sealed class FileListing(FileDecisions decisions, Disk disk, IStringLocalizer<Text> T, BrokerOptions options)
{
    /// <summary>Ours: entries of one directory.</summary>
    private const int Most = 5_000;

    private sealed record Line(string Name, string Path, bool Directory, IReadOnlySet<string> May);

    /// <summary>The page; null: no directory, or nothing of it is this person's business. Whoever may neither read it nor has something below is refused before the disk is asked.</summary>
    internal async Task<string?> PageAsync(LiveSession session, string path, bool mayRead, CancellationToken ct)
    {
        var leading = await decisions.LeadingAsync(session.Person, ct);
        if ((!mayRead && !leading.Contains(path)) || !disk.IsDirectory(path)) return null;
        var (here, names) = (await MayAsync(session, path, ct), disk.Names(path, Most + 1));
        var lines = new List<Line>();
        foreach (var name in names.Take(Most).Order(StringComparer.Ordinal))
        {
            if (FilePath.Parse((path == "/" ? "" : path) + "/" + name) is not { } child || (child + "/").StartsWith(FileServerApp.Reserved, StringComparison.Ordinal)) continue;
            var (may, directory) = (await MayAsync(session, child, ct), disk.IsDirectory(child));
            if (may.Contains("read") || (directory && (leading.Contains(child) || may.Contains("write")))) lines.Add(new(name, child, directory, may));
        }
        return Page(path, here, lines, names.Count > Most);
    }

    private async Task<IReadOnlySet<string>> MayAsync(LiveSession session, string path, CancellationToken ct)
    {
        var may = new HashSet<string>(StringComparer.Ordinal);
        foreach (var action in FileRule.Actions) if ((await decisions.DecideAsync(session.Person, path, action, ct)).Allowed) may.Add(action);
        return may;
    }

    private string Page(string path, IReadOnlySet<string> here, List<Line> lines, bool cut)
    {
        var rows = lines.Select(l => $"<tr><td><a href=\"{Link(l)}\">{HtmlEncode(l.Name)}{(l.Directory ? "/" : "")}</a></td><td>{(l.Directory ? "" : Size(l.Path))}</td><td>{(l.Directory ? "" : Changed(l.Path))}</td><td>{(l.Directory ? "" : Actions(l))}</td></tr>");
        var table = lines.Count == 0 ? $"<p>{T["ファイルはありません。"]}</p>" : $"<table><thead><tr><th scope=\"col\">{T["名前"]}</th><th scope=\"col\">{T["大きさ"]}</th><th scope=\"col\">{T["更新日時"]}</th><th scope=\"col\">{T["できること"]}</th></tr></thead><tbody>{string.Concat(rows)}</tbody></table>";
        var upload = here.Contains("write") && path != "/" ? $"<form method=\"post\" action=\"?upload\" enctype=\"multipart/form-data\"><label for=\"file\">{T["ここに保存するファイル"]}</label> <input id=\"file\" type=\"file\" name=\"file\" required> <button type=\"submit\">{T["保存する"]}</button><p class=\"hint\">{T["同じ名前のファイルは、新しい版に置き換わります。"]}</p></form>" : "";
        return FilePages.Page(path, $"<nav aria-label=\"{T["場所"]}\">{Above(path)}</nav><h1>{HtmlEncode(path == "/" ? T["ファイル"] : path[(path.LastIndexOf('/') + 1)..])}</h1>{(cut ? $"<p>{T["多いため、一部だけを示しています。場所を直接開いてください。"]}</p>" : "")}{table}{upload}<p><a href=\"{HtmlEncode(options.Issuer)}/\">{T["管理画面へ戻る"]}</a></p>");
    }

    private static string Link(Line line) => HtmlEncode(FileServerApp.Escape(line.Path)) + (line.Directory ? "/" : "");

    private string Actions(Line line) => string.Join(' ', ((string Action, string Html)[])
    [
        ("read", $"<a href=\"{Link(line)}\">{T["閲覧"]}</a>"), ("print", $"<a href=\"{Link(line)}?print\">{T["印刷用に開く"]}</a>"), ("export", $"<a href=\"{Link(line)}?export\">{T["持ち出す"]}</a>"),
        ("delete", $"<details><summary>{T["削除"]}</summary><form method=\"post\" action=\"{Link(line)}?delete\"><button type=\"submit\" class=\"danger\">{HtmlEncode(T["「{0}」を削除する", line.Name])}</button></form></details>"),
    ] is var all ? all.Where(a => line.May.Contains(a.Action)).Select(a => a.Html) : []);

    private string Above(string path) => string.Join(" / ", FileRule.Chain(path).SkipLast(1).Select(p => $"<a href=\"{HtmlEncode(FileServerApp.Escape(p))}{(p == "/" ? "" : "/")}\">{HtmlEncode(p == "/" ? T["ファイル"] : p[(p.LastIndexOf('/') + 1)..])}</a>"));

    private string Size(string path) => disk.Length(path) switch { < 1024 and var b => $"{b} B", < 1024 * 1024 and var b => $"{b / 1024} KB", var b => string.Create(CultureInfo.InvariantCulture, $"{b / 1024.0 / 1024.0:0.0} MB") };

    private string Changed(string path) => JapaneseTime.InWords(disk.ChangedAt(path));
}

/// <summary>The file server's own pages: no script, one style.</summary>
internal static class FilePages
{
    internal const string Style = """
        body{font:16px/1.6 "Noto Sans JP","Noto Sans CJK JP",sans-serif;margin:0;color:#1a1a1a;background:#fff}main{max-width:70rem;margin:0 auto;padding:1rem 1.5rem}h1{font-size:1.5rem;overflow-wrap:anywhere}
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .75rem;border-bottom:1px solid #767676;vertical-align:top;overflow-wrap:anywhere}td:nth-child(2){white-space:nowrap}a{color:#0b4f8a}a:focus,button:focus,input:focus,summary:focus{outline:3px solid #0b4f8a;outline-offset:2px}
        button{font:inherit;padding:.4rem 1rem;border:1px solid #0b4f8a;background:#0b4f8a;color:#fff;border-radius:4px;min-height:44px}button.danger{background:#a3131b;border-color:#a3131b}form{margin:1rem 0}details form{margin:.5rem 0}details{display:inline-block;vertical-align:top}.hint,.code{color:#555}
        """;

    internal static string Page(string title, string body) =>
        $"<!doctype html><html lang=\"{System.Globalization.CultureInfo.CurrentUICulture.TwoLetterISOLanguageName}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{HtmlEncode(title)} — AccessBroker</title><link rel=\"stylesheet\" href=\"{FileServerApp.Reserved}style.css\"></head><body><main>{body}</main></body></html>";
}
