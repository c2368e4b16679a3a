using System.Net;
using System.Net.Sockets;

namespace AccessBroker.Tests.Support;

/// <summary>A wire that can be cut: bytes from a port of its own to another, until <see cref="Cut"/>.</summary>
internal sealed class Relay(int to) : IDisposable
{
    private readonly List<TcpClient> _open = [];
    private TcpListener? _listener;

    internal int Port { get; } = Place.FreePort();

    internal void Start()
    {
        var listener = _listener = new TcpListener(IPAddress.Loopback, Port);
        listener.Start();
        _ = AcceptAsync(listener);
    }

    /// <summary>Nothing gets through, in either direction, until it is started again.</summary>
    internal void Cut()
    {
        _listener?.Dispose();
        lock (_open)
        {
            _open.ForEach(c => c.Dispose());
            _open.Clear();
        }
    }

    private async Task AcceptAsync(TcpListener listener)
    {
        try { while (true) _ = CarryAsync(await listener.AcceptTcpClientAsync()); }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException) { /* it is cut */ }
    }

    private async Task CarryAsync(TcpClient from)
    {
        using var other = new TcpClient();
        lock (_open) _open.AddRange([from, other]);
        try
        {
            await other.ConnectAsync(IPAddress.Loopback, to);
            await Task.WhenAny(from.GetStream().CopyToAsync(other.GetStream()), other.GetStream().CopyToAsync(from.GetStream()));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException) { /* it is cut, or nobody listens there */ }
        from.Dispose();
    }

    public void Dispose() => Cut();
}
