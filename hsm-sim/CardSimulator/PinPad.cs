namespace CardSimulator;

/// <summary>The PIN pad beside one reader: shows what the agent's prompt says and hands the typed digits to it. One prompt at a time.</summary>
internal sealed class PinPad
{
    /// <summary>What the agent asks: title, text, and what was wrong with the last answer.</summary>
    internal sealed record Prompt(string Title, string Description, string? Error, bool Confirm);

    private readonly Lock _gate = new();
    private TaskCompletionSource<string?>? _answer;

    internal Prompt? Current { get; private set; }

    /// <summary>Shows a prompt and waits for the digits; null when cancelled, or when another prompt is open.</summary>
    internal async Task<string?> AskAsync(Prompt prompt, CancellationToken ct)
    {
        var answer = new TaskCompletionSource<string?>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_answer is not null) return null;
            (_answer, Current) = (answer, prompt);
        }
        using var gone = ct.Register(() => answer.TrySetResult(null));
        try { return await answer.Task; }
        finally { lock (_gate) (_answer, Current) = (null, null); }
    }

    /// <summary>The person's answer: digits, or null for cancel. False when nobody asked.</summary>
    internal bool Answer(string? digits)
    {
        lock (_gate) return _answer?.TrySetResult(digits) ?? false;
    }
}
