using System.Text.Json;

namespace AccessBroker.TargetAgent;

/// <summary>Signed stop orders that are carried to this host by hand, when no broker can be reached: files in a directory of the agent's.</summary>
internal sealed class OrderBox(string directory, Func<JsonElement, int> obey)
{
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(250), Patience = TimeSpan.FromSeconds(10);

    /// <summary>Until cancelled.</summary>
    internal async Task RunAsync(CancellationToken ct)
    {
        Directory.CreateDirectory(directory);
        while (!ct.IsCancellationRequested)
        {
            try { foreach (var file in Directory.GetFiles(directory, "*.json")) await AnswerAsync(file); }
            catch (Exception e) when (e is not OutOfMemoryException) { Log.Warn($"an order cannot be read: {e.Message}"); }
            await Task.Delay(Every, ct);
        }
    }

    private async Task AnswerAsync(string file)
    {
        string answer;
        try { answer = $"ended {obey(JsonElement.Parse(await File.ReadAllTextAsync(file)))}"; }
        catch (TargetException e) { answer = e.Message; }
        catch (Exception e) when (e is not (OutOfMemoryException or IOException)) { answer = "privileged.order-refused"; }
        File.Delete(file);
        Keep.Write(Path.ChangeExtension(file, ".answer"), answer);
    }

    /// <summary><c>stop</c>: brings an order to the running agent; what it answered. Throws <see cref="InvalidOperationException"/> when no agent runs.</summary>
    internal static async Task<string> BringAsync(string directory, string order)
    {
        var file = Path.Combine(directory, $"{Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(8))}.json");
        Keep.Write(file, order);
        for (var since = System.Diagnostics.Stopwatch.StartNew(); since.Elapsed < Patience; await Task.Delay(50))
            if (Path.ChangeExtension(file, ".answer") is var answer && File.Exists(answer))
            {
                var said = await File.ReadAllTextAsync(answer);
                File.Delete(answer);
                return said;
            }
        File.Delete(file);
        throw new InvalidOperationException("the agent does not answer: is it running?");
    }
}
