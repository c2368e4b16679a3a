namespace AccessBroker.TerminalAgent.Platform;

/// <summary>What the prompt shows.</summary>
/// <param name="Description">Relying party and number: what the person compares.</param>
/// <param name="Prompt">What is to be typed.</param>
/// <param name="Error">What was wrong with the last try; null at first.</param>
internal sealed record PinQuestion(string Description, string? Error, string Prompt = "暗証番号");

/// <summary>Asks for the PIN outside the browser.</summary>
internal interface IPinPrompt
{
    /// <summary>The digits as ASCII bytes, to be wiped by the caller; null: cancelled, or <paramref name="ct"/> closed the prompt.</summary>
    Task<byte[]?> AskAsync(PinQuestion question, CancellationToken ct);
}

/// <summary>The half of the agent that differs between platforms.</summary>
internal static class PlatformParts
{
    internal static IPcsc Pcsc() => OperatingSystem.IsWindows() ? new WinScard() : new PcscLite();

    internal static IPinPrompt Prompt(AgentOptions options) => OperatingSystem.IsWindows() ? new WindowsCredentialPrompt() : new Pinentry(options.Pinentry);
}
