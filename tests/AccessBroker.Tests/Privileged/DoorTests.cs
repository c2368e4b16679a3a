using System.Diagnostics;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AccessBroker.TargetAgent.Ssh;
using AccessBroker.Tests.Support;

namespace AccessBroker.Tests.Privileged;

/// <summary>sshd's ForceCommand alone, with a test in the agent's place: no byte is lost, whatever the other way does.</summary>
public sealed class DoorTests : IAsyncDisposable
{
    private readonly string _path = Path.Combine("/tmp", $"ab-door-{Guid.NewGuid():N}.sock");
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    public DoorTests()
    {
        _listener.Bind(new UnixDomainSocketEndPoint(_path));
        _listener.Listen();
    }

    public ValueTask DisposeAsync()
    {
        _listener.Dispose();
        File.Delete(_path);
        return ValueTask.CompletedTask;
    }

    private Process Start(string[] arguments, params (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo("perl", [Path.Combine(Place.App("target"), "door.pl"), _path, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private async Task<(NetworkStream Agent, JsonElement Header)> AcceptAsync()
    {
        var agent = new NetworkStream(await _listener.AcceptAsync(), ownsSocket: true);
        var (kind, content) = (await Frames.ReadAsync(agent, default))!.Value;
        Assert.Equal(Frames.Header, kind);
        return (agent, JsonElement.Parse(content));
    }

    private static async Task<byte[]> AllAsync(StreamReader from)
    {
        using var all = new MemoryStream();
        await from.BaseStream.CopyToAsync(all);
        return all.ToArray();
    }

    /// <summary>The command is over while its input is still being sent: what it showed and its exit code arrive.</summary>
    [Fact]
    public async Task What_was_shown_arrives_although_nobody_reads_the_input()
    {
        var (input, output) = (new byte[900_000], RandomNumberGenerator.GetBytes(300_000));
        using var door = Start([], ("SSH_ORIGINAL_COMMAND", "echo \"a\\b\"\n\tあ"));
        var typing = Task.Run(async () => { try { await door.StandardInput.BaseStream.WriteAsync(input); } catch (IOException) { /* nobody reads it: that is the case here */ } });
        var (agent, header) = await AcceptAsync();
        Assert.Equal("echo \"a\\b\"\n\tあ", header.GetProperty("command").GetString());
        var shown = AllAsync(door.StandardOutput);
        var told = AllAsync(door.StandardError);
        using (agent)
        {
            foreach (var part in output.Chunk(60_000)) await agent.WriteAsync(Frames.Make(Frames.Output, part));
            await agent.WriteAsync(Frames.Make(Frames.Error, "err\n"u8));
            await agent.WriteAsync(Frames.Make(Frames.Exit, Frames.Number(3)));
        }
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        await door.WaitForExitAsync(limit.Token);
        Assert.Equal((3, true, "err\n"), (door.ExitCode, (await shown).AsSpan().SequenceEqual(output), Encoding.UTF8.GetString(await told)));
        await typing;
    }

    /// <summary>Megabytes both ways at once, and an end of input.</summary>
    [Fact]
    public async Task Both_ways_go_on_together()
    {
        var input = RandomNumberGenerator.GetBytes(3_000_000);
        using var door = Start([]);
        var (agent, header) = await AcceptAsync();
        Assert.Equal(JsonValueKind.Null, header.GetProperty("command").ValueKind);
        var shown = AllAsync(door.StandardOutput);
        var typing = Task.Run(async () => { await door.StandardInput.BaseStream.WriteAsync(input); door.StandardInput.Close(); });
        using (agent)
        {
            while (await Frames.ReadAsync(agent, default) is (Frames.Input, var content)) await agent.WriteAsync(Frames.Make(Frames.Output, content));
            await agent.WriteAsync(Frames.Make(Frames.Exit, Frames.Number(0)));
        }
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        await door.WaitForExitAsync(limit.Token);
        await typing;
        Assert.Equal((0, true), (door.ExitCode, (await shown).AsSpan().SequenceEqual(input)));
    }

    [Fact]
    public async Task An_agent_that_goes_away_ends_it_and_one_that_is_not_there_is_said()
    {
        using (var door = Start([]))
        {
            (await AcceptAsync()).Agent.Dispose();
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5));
            await door.WaitForExitAsync(limit.Token);
            Assert.Equal(255, door.ExitCode);
        }
        _listener.Dispose();
        File.Delete(_path);
        using var alone = Start([]);
        Assert.Contains("いま使えません", await alone.StandardError.ReadToEndAsync(), StringComparison.Ordinal);
        await alone.WaitForExitAsync();
        Assert.Equal(254, alone.ExitCode);
    }

    [Fact]
    public async Task More_time_is_asked_for_with_a_number_of_minutes()
    {
        using (var door = Start(["extend", "10", "記録の\"確認\""]))
        {
            var (agent, header) = await AcceptAsync();
            using (agent)
            {
                Assert.Equal((10, "記録の\"確認\""), (header.GetProperty("extend").GetInt32(), header.GetProperty("reason").GetString()));
                await agent.WriteAsync(Frames.Make(Frames.Exit, Frames.Number(0)));
            }
            await door.WaitForExitAsync();
            Assert.Equal(0, door.ExitCode);
        }
        using var wrong = Start(["extend", "-1", "x"]);
        await wrong.WaitForExitAsync();
        Assert.Equal(2, wrong.ExitCode);
    }
}
