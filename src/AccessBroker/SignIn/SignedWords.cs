namespace AccessBroker.SignIn;

/// <summary>
/// What the fields of a signed operation are called, at the PIN prompt and on the page beside it: whoever compares the two finds the same words.
/// Compiled into the terminal's agent as well, which takes no word of the broker's for what is signed.
/// </summary>
internal static class SignedWords
{
    internal static readonly IReadOnlyDictionary<string, string> Of = new Dictionary<string, string>
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
}
