using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace AccessBroker.TerminalAgent;

/// <summary>What an approver reads in the PIN prompt: the operation itself, not what a page says of it.</summary>
internal static class ShownOperation
{
    /// <summary>Ours: each text up to 300 characters; what is longer is read on the page, and signed whole.</summary>
    private const int Longest = 300;

    /// <summary>What fields are called; others stand with their own names.</summary>
    private static readonly Dictionary<string, string> Names = new()
    {
        ["what"] = "作業",
        ["work"] = "作業の番号",
        ["target"] = "対象",
        ["minutes"] = "長さ(分)",
        ["from"] = "開始日",
        ["at"] = "開始時刻",
        ["until"] = "最終日",
        ["ticket"] = "整理番号",
        ["instructedBy"] = "指示した人",
        ["plan"] = "手順",
        ["rules"] = "許可されるもの",
        ["rule"] = "守れない定め",
        ["measure"] = "代わりに行うこと",
        ["session"] = "実施の番号",
        ["person"] = "対象の人",
        ["role"] = "役割",
        ["card"] = "カード",
        ["terminal"] = "端末",
        ["resource"] = "場所",
    };

    /// <summary>Lines, each ended; empty for a sign-in. Throws <see cref="JsonException"/> for what is no operation: then nothing is signed.</summary>
    internal static string Of(string? operation)
    {
        if (operation is null) return "";
        var (parts, lines) = (JsonElement.Parse(operation), new StringBuilder());
        void Line(string name, string value) { if (value.Length > 0) lines.Append(name).Append(": ").Append(Plain(value)).Append('\n'); }
        Line("内容", parts.GetProperty("title").GetString() + (parts.GetProperty("request").GetInt64() is > 0 and var number ? $" ({number})" : ""));
        Line("申請者", parts.GetProperty("requestedBy").GetString()!);
        foreach (var field in parts.GetProperty("fields").EnumerateObject()) Line(Names.GetValueOrDefault(field.Name, field.Name), field.Value.GetString()!);
        Line("理由", parts.GetProperty("reason").GetString()!);
        Line("要約値", Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(operation)))[..16]);
        return lines.ToString();
    }

    /// <summary>One line, without anything that could draw another picture of it.</summary>
    private static string Plain(string text)
    {
        var plain = new string([.. text.ReplaceLineEndings(" / ").Where(c => !char.IsControl(c) && char.GetUnicodeCategory(c) != System.Globalization.UnicodeCategory.Format)]);
        return plain.Length <= Longest ? plain : $"{plain[..Longest]}…(ほか {plain.Length - Longest} 文字。画面で全文を確かめてください)";
    }
}
