using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.TerminalAgent;

/// <summary>Shows the broker's notices to whoever sits here, by the configured program.</summary>
internal sealed partial class NoticeBoard(AgentOptions options, ILogger<NoticeBoard> log)
{
    /// <summary>Tells the broker when it was shown. Without a program nothing is shown, and nothing is told.</summary>
    internal async Task ShowAsync(BrokerStream broker, long notice, string text, CancellationToken ct)
    {
        if (options.Notifier.Length == 0) return;
        try
        {
            using var process = Process.Start(new ProcessStartInfo(options.Notifier) { RedirectStandardInput = true, UseShellExecute = false });
            if (process is null) return;
            await process.StandardInput.WriteAsync(text);
            process.StandardInput.Close();
            await process.WaitForExitAsync(ct);
            if (process.ExitCode == 0) await broker.AskAsync(new() { ["type"] = "notice-shown", ["notice"] = notice }, ct);
        }
        catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException or BrokerRefusedException or OperationCanceledException) { NotShown(log, notice, e.Message); }
    }

    [LoggerMessage(LogLevel.Warning, "notice {Notice} could not be shown: {Why}")]
    private static partial void NotShown(ILogger log, long notice, string why);
}

/// <summary>What this machine is: operating system, name, hardware id where there is one, version of the agent. Changes show as another value. <clause>INA 第17</clause></summary>
internal static class Fingerprint
{
    internal static string Of()
    {
        var machine = File.Exists("/etc/machine-id") ? File.ReadAllText("/etc/machine-id").Trim() : "";
        var text = string.Join('\n', Environment.OSVersion, Environment.MachineName, machine, typeof(Fingerprint).Assembly.GetName().Version);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }
}
