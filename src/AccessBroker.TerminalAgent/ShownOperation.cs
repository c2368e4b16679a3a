using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.SignIn;

namespace AccessBroker.TerminalAgent;

/// <summary>What an approver reads in the PIN prompt: the operation itself, not what a page says of it.</summary>
internal static class ShownOperation
{
    /// <summary>Ours: each text up to 300 characters; what is longer is read on the page, and signed whole.</summary>
    private const int Longest = 300;

    /// <summary>Lines, each ended; empty for a sign-in. Throws <see cref="JsonException"/> for what is no operation: then nothing is signed.</summary>
    internal static string Of(string? operation)
    {
        if (operation is null) return "";
        var (parts, lines) = (JsonElement.Parse(operation), new StringBuilder());
        void Line(string name, string value) { if (value.Length > 0) lines.Append(name).Append(": ").Append(Plain(value)).Append('\n'); }
        Line("内容", parts.GetProperty("title").GetString() + (parts.GetProperty("request").GetInt64() is > 0 and var number ? $" ({number})" : ""));
        Line("申請者", parts.GetProperty("requestedBy").GetString()!);
        foreach (var field in parts.GetProperty("fields").EnumerateObject()) Line(SignedWords.Of.GetValueOrDefault(field.Name, field.Name), field.Value.GetString()!);
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
