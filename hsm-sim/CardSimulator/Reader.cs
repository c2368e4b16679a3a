using System.Net.Sockets;

namespace CardSimulator;

/// <summary>
/// One simulated reader: the UNIX socket that the IFD driver (ifd/ifdsim.c) connects to. No card = no socket, so pcscd sees insertion
/// and removal at once. Wire format: README.md.
/// </summary>
internal sealed class Reader(int index, string socketPath)
{
    /// <summary>Faults a test can plant in the reader: what real contacts do on a bad day.</summary>
    internal enum Fault { None, Garbage, CutMidCommand, Mute }

    private readonly Lock _gate = new();
    private Socket? _listener, _connection;
    private PivApplet? _applet;
    private volatile Fault _fault;
    private int _faultAfter;

    internal int Index => index;
    /// <summary>The name of the card inside, or null.</summary>
    internal string? Card { get; private set; }
    /// <summary>Commands answered since the card was inserted.</summary>
    internal int Commands { get; private set; }

    /// <summary>Plants a fault that strikes once, after <paramref name="commands"/> further commands.</summary>
    internal void Plant(Fault fault, int commands) { lock (_gate) { _faultAfter = commands; _fault = fault; } }

    internal void Insert(string label, Drawer drawer)
    {
        lock (_gate)
        {
            if (Card is not null) throw new DeskException("reader-full", $"読み取り機 {index + 1} にはカード {Card} が入っています。先に抜いてください。");
            var applet = drawer.Take(label);
            File.Delete(socketPath);
            var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(socketPath));
            listener.Listen(1);
            (_listener, _applet, Card, Commands) = (listener, applet, label, 0);
            new Thread(() => Accept(listener, applet)) { IsBackground = true, Name = $"reader {index}" }.Start();
        }
    }

    /// <summary>Pulls the card, in the middle of a command if one is running. Does nothing when the reader is empty.</summary>
    internal void Remove()
    {
        lock (_gate)
        {
            if (_listener is null) return;
            File.Delete(socketPath);
            _listener.Dispose();
            _connection?.Dispose();
            _applet?.Reset();
            (_listener, _connection, _applet, Card) = (null, null, null, null);
        }
    }

    private void Accept(Socket listener, PivApplet applet)
    {
        try
        {
            while (true)
            {
                using var connection = listener.Accept();
                lock (_gate) { if (_listener != listener) return; _connection = connection; }
                applet.Reset();
                Serve(connection, applet);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException) { /* the card was pulled: the thread's end */ }
    }

    private void Serve(Socket connection, PivApplet applet)
    {
        var header = new byte[2];
        var frame = new byte[65_536];
        while (ReadAll(connection, header) && ReadAll(connection, frame.AsSpan(0, header[0] << 8 | header[1])))
        {
            var length = header[0] << 8 | header[1];
            if (length != 1) { if (!Answer(connection, applet, frame.AsSpan(0, length))) return; }
            else if (frame[0] <= 2) applet.Reset();
            else if (frame[0] == 4) Send(connection, PivApplet.Atr);
        }
    }

    private bool Answer(Socket connection, PivApplet applet, ReadOnlySpan<byte> apdu)
    {
        lock (_gate) Commands++;
        if (_fault != Fault.None && _faultAfter-- <= 0)
        {
            var fault = _fault;
            _fault = Fault.None;
            if (fault == Fault.Garbage) { Send(connection, [0x53, 0x82, 0xFF, 0xFF, 0x01, 0x90, 0x00]); return true; }
            if (fault == Fault.CutMidCommand) { Remove(); return false; }
            while (ReadAll(connection, new byte[1])) { }
            return false;
        }
        Send(connection, applet.Transmit(apdu));
        return true;
    }

    private static void Send(Socket connection, ReadOnlySpan<byte> answer) =>
        connection.Send([(byte)(answer.Length >> 8), (byte)answer.Length, .. answer]);

    private static bool ReadAll(Socket connection, Span<byte> buffer)
    {
        while (buffer.Length > 0)
        {
            var count = connection.Receive(buffer);
            if (count == 0) return false;
            buffer = buffer[count..];
        }
        return true;
    }
}
