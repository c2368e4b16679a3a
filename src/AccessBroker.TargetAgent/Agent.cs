using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using AccessBroker.TargetAgent.Postgres;
using AccessBroker.TargetAgent.Ssh;

namespace AccessBroker.TargetAgent;

/// <summary>Puts the agent together: what the broker orders, what the target does, what is kept until the broker has it.</summary>
internal sealed class Agent : IDisposable
{
    private readonly BrokerLink _link;
    private readonly SessionBook _book;
    private readonly Recorder _recorder;
    private readonly ShellServer? _shells;
    private readonly IDisposable? _target;
    private readonly RightsWatch _rights;
    private readonly StopOrders _stops;
    private readonly OrderBox _box;
    private readonly TargetOptions _options;
    private readonly Process? _guard;

    internal Agent(string file, TargetOptions options, TimeProvider time)
    {
        Directory.CreateDirectory(options.DataDirectory);
        File.SetUnixFileMode(options.DataDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        _options = options;
        _link = new(options, time);
        _stops = new(options.DataDirectory, Path.Combine(options.DataDirectory, "ssh-user-ca.pub"), time);
        _box = new(Orders(options), Stop);
        _recorder = new(Path.Combine(options.DataDirectory, "recordings"), time, _link.Say, session => _ = _book!.EndAsync([session], "privileged.recording-failed"));
        var ssh = options.Ssh is { } given ? new SshTarget(given, $"accessbroker-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Path.GetFullPath(options.DataDirectory))))[..8]}") : null;
        ITarget target = ssh is not null ? ssh : new PostgresTarget(options.Postgres!, _recorder);
        _target = target as IDisposable;
        _rights = new(target, _link.Say, TimeSpan.FromSeconds(options.RightsEverySeconds));
        _book = new(target, options.DataDirectory, time, Report);
        if (ssh is not null) _shells = new(options.Ssh!, ssh, _recorder, _book, _link.Say);
        _guard = ssh is not null ? ssh.KillFile is { } kill ? Guard("sh", "-c", $"trap '' HUP INT TERM; read x; echo 1 > {kill}") : null : Guard("dotnet", Path.Combine(AppContext.BaseDirectory, "AccessBroker.TargetAgent.dll"), "guard", "--config", file);
        (_link.Ordered, _link.Opening, _book.Heard) = (ObeyAsync, () => Greeting(options, time), () => _link.Heard);
    }

    internal static string Orders(TargetOptions options) => Path.Combine(options.DataDirectory, "orders");

    /// <summary>Until cancelled. What a former run left is ended before anything else.</summary>
    internal async Task RunAsync(CancellationToken ct)
    {
        ThreadPool.SetMinThreads(64, 64);
        await _book.RecoverAsync();
        _ = Task.Run(() => _rights.RunAsync(ct), CancellationToken.None);
        _ = _box.RunAsync(ct);
        // One that fails is the end of all: whoever watches the agent starts it anew, and nothing runs unguarded meanwhile.
        var failed = await Task.WhenAny(_link.RunAsync(ct), _book.WatchAsync(ct), _shells?.RunAsync(ct) ?? Task.Delay(Timeout.Infinite, ct));
        if (failed.IsFaulted) Log.Warn($"the agent stops: {failed.Exception?.InnerException?.Message}");
        // A regular stop is an end as well: nobody would guard what goes on.
        await _book.EndAsync(_book.Running, "privileged.agent-stopped");
        await _book.EndedAsync();
        if (failed.IsFaulted) await failed;
    }

    /// <summary>Should the agent die, its sessions die with it: this process reads from a pipe that only the agent holds.</summary>
    private static Process Guard(params string[] command) => Process.Start(new ProcessStartInfo("setsid", command) { RedirectStandardInput = true })!;

    private IEnumerable<JsonObject> Greeting(TargetOptions options, TimeProvider time)
    {
        yield return new() { ["type"] = "hello", ["version"] = 2, ["kind"] = options.Kind, ["at"] = time.GetUtcNow().ToUnixTimeMilliseconds(), ["running"] = new JsonArray([.. _book.Running.Select(r => JsonValue.Create(r))]) };
        foreach (var chunk in _recorder.Unreported()) yield return chunk;
        foreach (var hold in _book.Holds()) yield return hold;
        foreach (var closing in _book.Unreported()) yield return closing;
        foreach (var obeyed in _stops.Unreported()) yield return obeyed;
    }

    private void Report(JsonObject message)
    {
        // All of a recording before the word that it is over.
        if (message["type"]!.GetValue<string>() == "ended") _recorder.End(message["session"]!.GetValue<string>());
        _link.Say((JsonObject)message.DeepClone());
    }

    /// <summary>An emergency stop signed with a card: how many sessions it ended. Throws <see cref="TargetException"/> when it does not count.</summary>
    private int Stop(JsonElement stop)
    {
        var covered = _stops.Take(stop);
        using var certificate = TargetKey.Load(_options.DataDirectory);
        var name = certificate?.GetNameInfo(System.Security.Cryptography.X509Certificates.X509NameType.SimpleName, false) ?? "";
        var ended = _book.RunningOf((person, work) => covered.Covers(name, person, work));
        Log.Warn($"a stop signed with a card ({covered.Scope} {covered.Value}) ends {ended.Count} session(s)");
        _ = _book.EndAsync(ended, "privileged.emergency-stop");
        foreach (var obeyed in _stops.Unreported()) _link.Say(obeyed);
        return ended.Count;
    }

    private async Task<JsonObject?> ObeyAsync(JsonElement order, CancellationToken ct)
    {
        switch (order.GetProperty("type").GetString())
        {
            case "stop-list": _stops.KeepList(order); return null;
            case "stop-order": Stop(order.GetProperty("stop")); return null;
            case "stop-noted": _stops.Noted(order.GetProperty("nonce").GetString()!); return null;
        }
        var session = order.GetProperty("session").GetString()!;
        if (!Fits(session)) throw new TargetException("privileged.malformed");
        switch (order.GetProperty("type").GetString())
        {
            case "open":
                var opened = await _book.OpenAsync(new(session, order.GetProperty("grants"), order.TryGetProperty("twoPerson", out var two) && two.GetBoolean(), Text(order, "person"), Text(order, "work")), Span(order, "left"), order.GetProperty("ends").GetInt64(), Span(order, "idle"), order.TryGetProperty("cutOff", out _) ? Span(order, "cutOff") : TimeSpan.Zero, order.GetProperty("warnings").EnumerateArray().Select(w => TimeSpan.FromSeconds(w.GetDouble())), ct);
                opened["type"] = "opened";
                return opened;
            case "admit":
                return new() { ["type"] = "admitted", ["account"] = await _book.AdmitAsync(session, order.GetProperty("order").GetInt64(), order.GetProperty("verifier").GetString()!, Span(order, "window"), ct) };
            case "end":
                await _book.EndAsync([session, .. order.TryGetProperty("more", out var more) ? more.EnumerateArray().Select(m => m.GetString()!).Where(Fits) : []], order.GetProperty("reason").GetString()!);
                return null;
            case "extend": return new() { ["type"] = _book.Extend(session, order.GetProperty("ends").GetInt64(), order.TryGetProperty("left", out _) ? Span(order, "left") : TimeSpan.MaxValue) ? "extended" : "refused", ["code"] = "privileged.ended" };
            case "watched": _book.Watched(session, Span(order, "seconds")); return null;
            case "noted" when order.TryGetProperty("number", out var number): _recorder.Noted(session, number.GetInt32()); return null;
            case "noted": _book.Noted(session); return null;
            default: throw new TargetException("privileged.malformed");
        }
    }

    /// <summary>Names of accounts, groups and roles are made of it.</summary>
    private static bool Fits(string session) => session.Length is > 0 and <= 40 && session.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c));

    /// <summary>Empty: an older broker does not say it.</summary>
    private static string Text(JsonElement order, string name) => order.TryGetProperty(name, out var text) ? text.GetString() ?? "" : "";

    /// <summary>Seconds.</summary>
    private static TimeSpan Span(JsonElement order, string name) => TimeSpan.FromSeconds(order.GetProperty(name).GetDouble());

    public void Dispose()
    {
        _recorder.Dispose();
        _book.Dispose();
        _target?.Dispose();
        _guard?.StandardInput.Close();
        _guard?.Dispose();
    }
}
