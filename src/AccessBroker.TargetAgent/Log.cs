using System.Text.Json;

namespace AccessBroker.TargetAgent;

/// <summary>One JSON object per line on standard error. No secret and nothing that a session typed or saw goes in here.</summary>
internal static class Log
{
    internal static void Info(string message, string session = "") => Write("info", message, session);
    internal static void Warn(string message, string session = "") => Write("warn", message, session);

    private static void Write(string level, string message, string session) => Console.Error.WriteLine(JsonSerializer.Serialize(new { at = TimeProvider.System.GetUtcNow(), level, message, session }));
}
