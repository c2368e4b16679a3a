using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>Where the doors of sshd connect: the account of the caller says which session it is; shells are started by the agent, inside the session's group.</summary>
internal sealed class ShellServer(SshOptions options, SshTarget target, Recorder recorder, SessionBook book, Action<JsonObject> report)
{
    /// <summary>Ours: 10 connections of one session at a time.</summary>
    private const int MostConnections = 10;
    internal string SocketPath => Path.Combine(options.RunDirectory, "shell.sock");

    internal async Task RunAsync(CancellationToken ct)
    {
        File.Delete(SocketPath);
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        // Any account may knock; who it is says the kernel.
        File.SetUnixFileMode(SocketPath, (UnixFileMode)0b110_110_110);
        listener.Listen(128);
        while (!ct.IsCancellationRequested)
        {
            try { _ = ServeAsync(await listener.AcceptAsync(ct)); }
            catch (OperationCanceledException) { return; }
            // Too many open files, for a moment: the door stays.
            catch (SocketException e)
            {
                Log.Warn($"a connection could not be taken: {e.Message}");
                await Task.Delay(50, CancellationToken.None);
            }
        }
    }

    private async Task ServeAsync(Socket caller)
    {
        using var stream = new NetworkStream(caller, ownsSocket: true);
        var session = "";
        try
        {
            var peer = new byte[12];
            caller.GetRawSocketOption(1, 17, peer);    // SOL_SOCKET, SO_PEERCRED: pid, uid, gid
            var (process, uid) = (BinaryPrimitives.ReadInt32LittleEndian(peer), BinaryPrimitives.ReadUInt32LittleEndian(peer.AsSpan(4)));
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
            if (await Frames.ReadAsync(stream, limit.Token) is not (Frames.Header, var header) || JsonSerializer.Deserialize<Asked>(header, JsonSerializerOptions.Web) is not { } asked) return;
            if (target.Enter(uid, process, MostConnections) is not { } entry) { await RefuseAsync(stream, "この接続は、いま使えません。"); return; }
            var room = entry.Room;
            session = room.Session;
            try
            {
                if (asked.Extend > 0) await ExtendAsync(stream, session, asked);
                else
                {
                    using var shell = new Shell(options, room, stream, recorder, book, asked);
                    await shell.RunAsync();
                }
            }
            finally { SshTarget.Leave(entry, stream); }
        }
        catch (Exception e) when (e is IOException or SocketException or JsonException or OperationCanceledException or ObjectDisposedException or System.ComponentModel.Win32Exception or InvalidOperationException) { Log.Info($"a connection ended: {e.Message}", session); }
    }

    internal static async Task RefuseAsync(Stream stream, string sentence)
    {
        await stream.WriteAsync(Frames.Make(Frames.Error, Encoding.UTF8.GetBytes(sentence + "\n")));
        await stream.WriteAsync(Frames.Make(Frames.Exit, Frames.Number(254)));
    }

    /// <summary>An extension is asked for from inside; others decide.</summary>
    private async Task ExtendAsync(Stream stream, string session, Asked asked)
    {
        report(new() { ["type"] = "extension", ["session"] = session, ["minutes"] = asked.Extend, ["reason"] = asked.Reason is { } why ? why.Length <= 400 ? why : why[..400] : "" });
        await stream.WriteAsync(Frames.Make(Frames.Output, Encoding.UTF8.GetBytes("延長を申請しました。認められると、ここに表示されます。\n")));
        await stream.WriteAsync(Frames.Make(Frames.Exit, Frames.Number(0)));
    }

    /// <param name="Command">What ssh was told to run; null: a shell.</param>
    internal sealed record Asked(string? Command, bool Tty, string? Term, int Rows, int Columns, int Extend = 0, string? Reason = null);
}

/// <summary>One connection: a shell or command under the session's account, recorded as it shows.</summary>
internal sealed class Shell(SshOptions options, Room room, Stream door, Recorder recorder, SessionBook book, ShellServer.Asked asked) : IDisposable
{
    /// <summary>Ours: 400 processes under one session's account.</summary>
    private const int MostProcesses = 400;
    /// <summary>Ours: 256 KiB of input without a terminal are recorded.</summary>
    private const long MostUnseen = 256 * 1024;
    private readonly SemaphoreSlim _sending = new(1);

    internal async Task RunAsync()
    {
        recorder.Begin(room.Session, asked.Rows, asked.Columns, asked.Command);
        room.Tell += TellAsync;
        try
        {
            if (asked.Tty && asked.Command is null) await TellAsync($"ここに出るものは、すべて記録されます。終了の時刻になるか、カードを抜くと、直ちに終わります。{(room.Commands.Count > 0 ? $"sudo で使えるコマンド: {string.Join("、", room.Commands)}" : "")}");
            if (asked.Tty) await RunOnTerminalAsync();
            else await RunPlainAsync();
        }
        finally { room.Tell -= TellAsync; }
    }

    private Task TellAsync(string line) => asked.Tty ? RecordAsync(Frames.Output, Encoding.UTF8.GetBytes($"\r\n[AccessBroker] {line}\r\n"), new UTF8Encoding().GetDecoder()) : Task.CompletedTask;

    private async Task RunOnTerminalAsync()
    {
        using var pty = new Pty();
        pty.Resize((ushort)(asked.Rows is >= 2 and <= 500 ? asked.Rows : 24), (ushort)(asked.Columns is >= 10 and <= 1000 ? asked.Columns : 80));
        using var process = Start($"exec setsid --ctty {Become()} {Words()} <{pty.Name} >{pty.Name} 2>&1", redirect: false);
        var shown = Task.Factory.StartNew(() => PumpAsync(pty.Stream, Frames.Output).GetAwaiter().GetResult(), TaskCreationOptions.LongRunning);
        var typing = TypeAsync(pty.Stream, pty, () => { });
        await process.WaitForExitAsync();
        // What it has shown last is still in the terminal.
        await Task.WhenAny(shown, Task.Delay(200));
        await SendAsync(Frames.Exit, Frames.Number(process.ExitCode));
        _ = typing;
    }

    private async Task RunPlainAsync()
    {
        using var process = Start($"exec setsid {Become()} {Words()}", redirect: true);
        var typing = TypeAsync(process.StandardInput.BaseStream, null, process.StandardInput.Close);
        await Task.WhenAll(Task.Factory.StartNew(() => PumpAsync(process.StandardOutput.BaseStream, Frames.Output).GetAwaiter().GetResult(), TaskCreationOptions.LongRunning),
            Task.Factory.StartNew(() => PumpAsync(process.StandardError.BaseStream, Frames.Error).GetAwaiter().GetResult(), TaskCreationOptions.LongRunning));
        await process.WaitForExitAsync();
        await SendAsync(Frames.Exit, Frames.Number(process.ExitCode));
        _ = typing;
    }

    /// <summary>Inside the session's group before anything of the operator's runs; nothing that was elevated can be gained unless commands are listed.</summary>
    private string Become() => $"prlimit --nproc={MostProcesses} --core=0 setpriv --reuid={room.Account.Uid} --regid={room.Account.Gid} --clear-groups --inh-caps=-all {(room.MayElevate ? "" : "--no-new-privs ")}--";

    private string Words() => asked.Command is { } ? $"{options.Shell} -c \"$ACCESSBROKER_COMMAND\"" : $"{options.Shell} -l";

    private Process Start(string script, bool redirect)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", (room.Group is { } group ? $"echo $$ > {group.Work.Members} || exit 125; " : "") + script]) { WorkingDirectory = room.Home, RedirectStandardInput = redirect, RedirectStandardOutput = redirect, RedirectStandardError = redirect };
        start.Environment.Clear();
        foreach (var (name, value) in ((string, string)[])[("HOME", room.Home), ("USER", room.Account.Name), ("LOGNAME", room.Account.Name), ("SHELL", options.Shell), ("PATH", $"/usr/local/bin:/usr/bin:/bin:{room.Tools}"), ("LANG", "C.UTF-8"), ("TERM", Plain(asked.Term)), ("ACCESSBROKER_SESSION", room.Session), ("TMPDIR", room.Home)]) start.Environment[name] = value;
        if (asked.Command is { } command) start.Environment["ACCESSBROKER_COMMAND"] = command;
        var process = Process.Start(start)!;
        // The end came meanwhile: its kill may have been before this one joined the group.
        if (room.Over) room.Group?.Kill();
        return process;
    }

    private static string Plain(string? term) => term is { Length: > 0 and <= 40 } && term.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '+') ? term : "dumb";

    private async Task PumpAsync(Stream from, byte kind)
    {
        var (buffer, decoder) = (new byte[16 * 1024], new UTF8Encoding().GetDecoder());
        try { while (from.Read(buffer) is > 0 and var read) await ShowAsync(kind, buffer.AsMemory(0, read), decoder); }
        catch (IOException) { /* a terminal whose last process is gone ends so */ }
    }

    private Task ShowAsync(byte kind, ReadOnlyMemory<byte> bytes, Decoder decoder)
    {
        book.Used(room.Session);
        return RecordAsync(kind, bytes, decoder);
    }

    /// <summary>Recorded first, shown then.</summary>
    private async Task RecordAsync(byte kind, ReadOnlyMemory<byte> bytes, Decoder decoder)
    {
        var text = new char[decoder.GetCharCount(bytes.Span, false)];
        decoder.GetChars(bytes.Span, text, false);
        if (text.Length > 0) recorder.Write(room.Session, "o", new string(text));
        await SendAsync(kind, bytes);
    }

    private async Task TypeAsync(Stream to, Pty? pty, Action end)
    {
        // What shows nowhere is recorded as typed: input without a terminal, and all of it where a second person must see it.
        var (typed, decoder) = (0L, new UTF8Encoding().GetDecoder());
        try
        {
            while (await Frames.ReadAsync(door, CancellationToken.None) is var (kind, content))
                switch (kind)
                {
                    // Dropped, not kept for later: nobody saw it typed.
                    case Frames.Input when room.Held: break;
                    case Frames.Input:
                        book.Used(room.Session);
                        typed += content.Length;
                        // Nobody can watch more than that.
                        if (pty is null && typed > MostUnseen && typed - content.Length <= MostUnseen)
                        {
                            recorder.Write(room.Session, "i", $"… more than {MostUnseen} bytes of input");
                            if (room.TwoPerson) await SendAsync(Frames.Error, Encoding.UTF8.GetBytes("二人作業では、これより長い入力はできません。\n"));
                        }
                        if (room.TwoPerson && pty is null && typed > MostUnseen) { end(); break; }
                        if (room.TwoPerson || (pty is null && typed <= MostUnseen)) Typed(content, decoder);
                        await to.WriteAsync(content);
                        await to.FlushAsync();
                        break;
                    case Frames.InputEnd: end(); break;
                    case Frames.Window when pty is not null && content.Length == 8:
                        var (rows, columns) = ((ushort)Math.Clamp(BinaryPrimitives.ReadInt32BigEndian(content), 1, 500), (ushort)Math.Clamp(BinaryPrimitives.ReadInt32BigEndian(content.AsSpan(4)), 1, 1000));
                        pty.Resize(rows, columns);
                        recorder.Write(room.Session, "r", $"{columns}x{rows}");
                        break;
                }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException) { /* the other side is gone */ }
    }

    private void Typed(byte[] content, Decoder decoder)
    {
        var text = new char[decoder.GetCharCount(content, false)];
        decoder.GetChars(content, text, false);
        if (text.Length > 0) recorder.Write(room.Session, "i", new string(text));
    }

    public void Dispose() => _sending.Dispose();

    private async Task SendAsync(byte kind, ReadOnlyMemory<byte> content)
    {
        await _sending.WaitAsync();
        try { await door.WriteAsync(Frames.Make(kind, content.Span)); }
        finally { _sending.Release(); }
    }
}
