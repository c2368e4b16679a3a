using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace AccessBroker.Benchmarks;

/// <summary>
/// A wire of its own between a stock client and its target: the moment at which the target's end of file, or reset, is at the client's side. All wires are
/// carried by one thread that comes before everything ordinary (SCHED_FIFO): a network has a clock of its own and does not wait for the processors that
/// targets, brokers and a hundred clients share here.
/// </summary>
internal sealed partial record Wire(int Port, Task<long> Ended)
{
    private sealed record Pair(Socket Client, Socket Target, TaskCompletionSource<long> Ended);

    private const int Fifo = 1;
    /// <summary>How long a new wire waits until it is carried, µs.</summary>
    private const int Look = 10_000;
    private static readonly ConcurrentQueue<Pair> Fresh = new();
    private static readonly Lazy<Thread> Carrier = new(() =>
    {
        var thread = new Thread(Carry) { IsBackground = true };
        thread.Start();
        return thread;
    });

    internal static Wire To(int port)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start(1);
        var ended = new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously);
        _ = Carrier.Value;
        _ = Task.Run(() =>
        {
            using (listener)
            {
                var (client, target) = (listener.AcceptSocket(), new Socket(SocketType.Stream, ProtocolType.Tcp));
                target.Connect(IPAddress.Loopback, port);
                Fresh.Enqueue(new(client, target, ended));
            }
        });
        return new(((IPEndPoint)listener.LocalEndpoint).Port, ended.Task);
    }

    private static void Carry()
    {
        var priority = 2;
        if (sched_setscheduler(0, Fifo, ref priority) != 0) throw new InvalidOperationException("the wire may not read before others");
        var (ways, buffer) = (new Dictionary<Socket, Pair>(), new byte[64 * 1024]);
        while (true)
        {
            while (Fresh.TryDequeue(out var pair)) ways[pair.Client] = ways[pair.Target] = pair;
            var ready = ways.Keys.ToList();
            if (ready.Count == 0) Thread.Sleep(Look / 1000);
            else Socket.Select(ready, null, null, Look);
            foreach (var from in ready.Where(ways.ContainsKey))
            {
                var pair = ways[from];
                var to = from == pair.Client ? pair.Target : pair.Client;
                var read = Read(from, buffer);
                if (read > 0 && IsSent(to, buffer.AsSpan(0, read))) continue;
                if (read > 0 && from == pair.Target) pair.Ended.TrySetException(new InvalidOperationException("the client went away before its target"));
                else if (from == pair.Target) pair.Ended.TrySetResult(Stopwatch.GetTimestamp());
                Shut(to);
                ways.Remove(from);
                if (ways.ContainsKey(to)) continue;
                _ = Task.Run(() => { pair.Client.Dispose(); pair.Target.Dispose(); });
            }
        }
    }

    /// <summary>0: the end of file, or a reset.</summary>
    private static int Read(Socket from, byte[] buffer)
    {
        try { return from.Receive(buffer); }
        catch (SocketException) { return 0; }
    }

    private static bool IsSent(Socket to, ReadOnlySpan<byte> bytes)
    {
        try { return to.Send(bytes) == bytes.Length; }
        catch (SocketException) { return false; }
    }

    private static void Shut(Socket to)
    {
        try { to.Shutdown(SocketShutdown.Send); }
        catch (SocketException) { /* it is gone already */ }
    }

    [LibraryImport("libc", SetLastError = true)] private static partial int sched_setscheduler(int thread, int policy, ref int priority);
}
