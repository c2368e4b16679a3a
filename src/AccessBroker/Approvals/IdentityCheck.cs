namespace AccessBroker.Approvals;

/// <summary>How somebody was identified before something was handed to them. <clause>MIC 5.4(1)</clause></summary>
public static class IdentityCheck
{
    /// <summary>Values and labels.</summary>
    public static readonly IReadOnlyList<(string Value, string Label)> Choices = [("staff-card", "職員証の写真で確認"), ("manager", "所属長が面前で確認"), ("licence", "運転免許証などの公的書類で確認")];
}
