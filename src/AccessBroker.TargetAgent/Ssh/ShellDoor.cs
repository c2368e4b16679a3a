using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>
/// sshd's ForceCommand: runs under the session's account and does nothing but carry bytes between sshd and the agent, which starts the shell.
/// Killing it ends the connection; it cannot change what is recorded.
/// </summary>
internal static class ShellDoor
{
    internal static async Task<int> RunAsync(string socketPath)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try { await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath)); }
        catch (SocketException) { return Refuse("この接続は、いま使えません。"); }
        using var agent = new NetworkStream(socket);
        var tty = Environment.GetEnvironmentVariable("SSH_TTY") is { Length: > 0 };
        var (rows, columns) = tty ? Size() : (0, 0);
        if (tty) Stty("raw -echo");
        try
        {
            using var gate = new SemaphoreSlim(1);
            async Task SendAsync(byte kind, ReadOnlyMemory<byte> content)
            {
                await gate.WaitAsync();
                try { await agent.WriteAsync(Frames.Make(kind, content.Span)); }
                finally { gate.Release(); }
            }
            await SendAsync(Frames.Header, JsonSerializer.SerializeToUtf8Bytes(new { command = Environment.GetEnvironmentVariable("SSH_ORIGINAL_COMMAND"), tty, term = Environment.GetEnvironmentVariable("TERM") ?? "dumb", rows, columns }));
            using var resized = tty ? PosixSignalRegistration.Create((PosixSignal)28, context => { var (r, c) = Size(); _ = SendAsync(Frames.Window, Frames.Number(r, c)); }) : null;
            var typing = new Thread(() => Pump(SendAsync)) { IsBackground = true };
            typing.Start();
            return await ShowAsync(agent);
        }
        catch (Exception e) when (e is IOException or SocketException) { return 255; }
        finally { if (tty) Stty("sane"); }
    }

    /// <summary>More time is asked for from inside a session.</summary>
    internal static async Task<int> ExtendAsync(string socketPath, int minutes, string reason)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try { await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath)); }
        catch (SocketException) { return Refuse("この接続は、いま使えません。"); }
        using var agent = new NetworkStream(socket);
        await agent.WriteAsync(Frames.Make(Frames.Header, JsonSerializer.SerializeToUtf8Bytes(new { extend = minutes, reason })));
        return await ShowAsync(agent);
    }

    /// <summary>Blocking reads on a thread of their own: standard input may be a terminal.</summary>
    private static void Pump(Func<byte, ReadOnlyMemory<byte>, Task> send)
    {
        using var input = new FileStream(new SafeFileHandle(0, ownsHandle: false), FileAccess.Read, 0);
        var buffer = new byte[16 * 1024];
        try
        {
            while (input.Read(buffer) is > 0 and var read) send(Frames.Input, buffer.AsMemory(0, read)).GetAwaiter().GetResult();
            send(Frames.InputEnd, default).GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException) { /* the connection is over */ }
    }

    private static async Task<int> ShowAsync(NetworkStream agent)
    {
        using var output = new FileStream(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, 0);
        using var error = new FileStream(new SafeFileHandle(2, ownsHandle: false), FileAccess.Write, 0);
        while (await Frames.ReadAsync(agent, CancellationToken.None) is var (kind, content))
            switch (kind)
            {
                case Frames.Output: await output.WriteAsync(content); break;
                case Frames.Error: await error.WriteAsync(content); break;
                case Frames.Exit: return content.Length == 4 ? System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(content) : 255;
            }
        return 255;
    }

    private static int Refuse(string sentence)
    {
        Console.Error.WriteLine(sentence);
        return 254;
    }

    private static (int Rows, int Columns) Size() => Stty("size").Split(' ') is [var rows, var columns] && int.TryParse(rows, CultureInfo.InvariantCulture, out var r) && int.TryParse(columns, CultureInfo.InvariantCulture, out var c) ? (r, c) : (24, 80);

    private static string Stty(string arguments)
    {
        var start = new ProcessStartInfo("stty") { RedirectStandardOutput = true, StandardOutputEncoding = Encoding.ASCII };
        foreach (var argument in arguments.Split(' ')) start.ArgumentList.Add(argument);
        using var stty = Process.Start(start)!;
        var said = stty.StandardOutput.ReadToEnd().Trim();
        stty.WaitForExit();
        return said;
    }
}
