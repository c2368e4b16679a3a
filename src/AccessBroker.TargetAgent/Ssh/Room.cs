using System.Collections.Concurrent;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>What one session has on this host while it lives.</summary>
/// <param name="Group">Null: no cgroup v2 here; then the account alone says what is the session's.</param>
/// <param name="MayElevate">Commands are listed for it.</param>
internal sealed record Room(string Session, Account Account, string Home, string Tools, Cgroup? Group, bool MayElevate)
{
    /// <summary>What may be run with sudo.</summary>
    internal IReadOnlyList<string> Commands { get; init; } = [];
    internal int Connections;
    /// <summary>Nobody comes in any more.</summary>
    internal volatile bool Over;
    /// <summary>Nobody watches: what is typed is dropped, what runs stands still.</summary>
    internal volatile bool Held;
    /// <summary>A second person sees what is typed.</summary>
    internal bool TwoPerson { get; init; }
    /// <summary>When it was made, in clock ticks since the machine's start: a connection that is older belongs to somebody before.</summary>
    internal long Since { get; } = Accounts.Now();
    /// <summary>What was allowed to it with sudo, hashed; empty: nothing.</summary>
    internal string SudoersHash { get; set; } = "";
    /// <summary>Of its connections.</summary>
    internal ConcurrentDictionary<NetworkEnd, byte> Ends { get; } = new();
    internal event Func<string, Task>? Tell;
    internal void TellAll(string line) { foreach (var told in Tell?.GetInvocationList().Cast<Func<string, Task>>() ?? []) _ = told(line); }
}

/// <summary>Somebody came in, for as long as the connection is there.</summary>
internal sealed class Entry : IDisposable
{
    private readonly NetworkEnd? _end;

    internal Entry(Room room, NetworkEnd? end)
    {
        (Room, _end) = (room, end);
        if (end is not null) room.Ends[end] = 0;
    }

    internal Room Room { get; }

    public void Dispose()
    {
        if (_end is null) return;
        Room.Ends.TryRemove(_end, out _);
        _end.Dispose();
    }
}
