using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json.Nodes;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>
/// A host with a stock sshd. A session has an account of the pool to itself, a principal that opens it, and a control group; its end takes the principal
/// away, kills the group and everything under the account. <clause>MIC 6.2(1)③, 6.2(6)</clause>
/// </summary>
internal sealed class SshTarget(SshOptions options, string name) : ITarget, IDisposable
{
    private readonly Accounts _accounts = new(options.Accounts);
    private readonly Cgroup? _group = Cgroup.Find(name);
    private readonly ConcurrentDictionary<string, Room> _rooms = new();
    private readonly ConcurrentDictionary<uint, Room> _byUid = new();

    private readonly SemaphoreSlim _looking = new(1);
    /// <summary>Ours: a login takes 10 s at most.</summary>
    private const long MostLoginTicks = 1_000;

    private string Principals(Account account) => Path.Combine(options.RunDirectory, "principals", account.Name);
    private string Sudoers(Account account) => Path.Combine(options.SudoersDirectory, $"accessbroker-{account.Name}");
    private string HomeOf(Account account) => Path.Combine(options.RunDirectory, "homes", account.Name);
    internal string? KillFile => _group?.KillFile;

    public async Task<JsonObject> OpenAsync(Opening opening, CancellationToken ct)
    {
        var commands = opening.Grants.TryGetProperty("commands", out var listed) ? listed.EnumerateArray().Select(c => c.GetString()!).ToArray() : [];
        // Without groups nobody could end what runs as root.
        if ((commands.Length > 0 || opening.TwoPerson) && _group is null) throw new TargetException("privileged.target-failed");
        if (await TakeAsync() is not { } account) throw new TargetException("privileged.target-full");
        var room = new Room(opening.Session, account, HomeOf(account), Path.Combine(options.RunDirectory, "tools"), _group?.Of(opening.Session), commands.Length > 0) { Held = opening.TwoPerson, TwoPerson = opening.TwoPerson, Commands = commands };
        if (room.Held) room.Group!.Work.Freeze(true);
        _rooms[opening.Session] = _byUid[account.Uid] = room;
        Directory.CreateDirectory(room.Home);
        await RequireAsync("chown", $"{account.Uid}:{account.Gid}", room.Home);
        File.SetUnixFileMode(room.Home, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        if (commands.Length > 0) room.SudoersHash = await AllowAsync(account, commands);
        // Last: from here on sshd lets in whoever has a certificate for this session.
        await File.WriteAllTextAsync(Principals(account), opening.Session + "\n", ct);
        return new() { ["account"] = account.Name, ["host"] = options.Host, ["port"] = options.Port, ["hostKey"] = string.Join(' ', (await File.ReadAllTextAsync(options.HostKey, ct)).Split(' ').Take(2)).Trim() };
    }

    /// <summary>A free account under which nothing runs; one where something cannot be killed is not used again until the agent starts anew. Null: there is none.</summary>
    private async Task<Account?> TakeAsync()
    {
        while (_accounts.Take() is { } account)
        {
            // A login that was under way when the session before ended.
            for (var since = Stopwatch.StartNew(); since.Elapsed.TotalSeconds < 1; await Task.Delay(5))
                if (!Accounts.Runs(account)) return account;
                else await Accounts.KillAsync(account);
            Log.Warn($"account {account.Name} is left out: something under it does not die");
        }
        return null;
    }

    /// <summary>sshd asks for a certificate; nothing is prepared here.</summary>
    public Task<string> AdmitAsync(string session, long order, string verifier, TimeSpan window, CancellationToken ct) => throw new TargetException("privileged.malformed");

    /// <summary>Elevation through listed commands only, each a full path with its arguments; sudo itself checks the file before it counts.</summary>
    /// <returns>SHA-256 of the file.</returns>
    private async Task<string> AllowAsync(Account account, string[] commands)
    {
        // What is not listed asks for a password that nobody has: the prompt says why.
        var text = $"Defaults:{account.Name} passwd_tries=1, passprompt=\"[AccessBroker] この作業で許可されていないコマンドです。許可: {string.Join("、", commands).Replace("\"", "", StringComparison.Ordinal).Replace("%", "%%", StringComparison.Ordinal)} (Enter) \"\n" + string.Concat(commands.Select(c => $"{account.Name} ALL=(root) NOPASSWD: NOEXEC: {c}{(c.Contains(' ', StringComparison.Ordinal) ? "" : " \"\"")}\n"));
        var (exit, output) = await Accounts.RunAsync("visudo", ["-cf", "-"], text);
        if (exit != 0) throw new InvalidOperationException($"the listed commands are no sudoers lines: {output}");
        var file = Sudoers(account);
        await File.WriteAllTextAsync(file, text);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.GroupRead);
        return HostRights.Hash(System.Text.Encoding.UTF8.GetBytes(text));
    }

    /// <summary>Somebody under this account has come through sshd. Null: no session, or it is ending, or it has too many connections.</summary>
    internal Entry? Enter(uint uid, int process, int most)
    {
        if (!_byUid.TryGetValue(uid, out var room) || room.Over) return null;
        // The connection itself, up to sshd's own process for this account, belongs to the session; one from before it does not.
        var (connection, pid) = (new List<int>(), process);
        for (; pid > 1 && Accounts.UidOf(pid) == uid; pid = Accounts.ParentOf(pid)) connection.Add(pid);
        if (connection.Count == 0 || Accounts.StartOf(connection[^1]) is not { } began || began < room.Since) return null;
        if (Interlocked.Increment(ref room.Connections) > most)
        {
            Interlocked.Decrement(ref room.Connections);
            return null;
        }
        // Who is in the session's group stays where they are: what a shell runs does not get out of it by knocking here.
        foreach (var mine in connection.Where(c => !IsOf(c, room))) room.Group?.Door.Add(mine);
        var end = NetworkEnd.Of(pid, room.Account);
        if (!room.Over) return new(room, end);
        // It has ended meanwhile.
        end?.Dispose();
        Interlocked.Decrement(ref room.Connections);
        return null;
    }

    internal static void Leave(Entry entry, Stream stream)
    {
        Interlocked.Decrement(ref entry.Room.Connections);
        entry.Dispose();
        stream.Dispose();
    }

    /// <summary>It runs in the session's control group.</summary>
    private static bool IsOf(int pid, Room room)
    {
        try { return File.ReadAllText($"/proc/{pid}/cgroup").Contains($"/{room.Session}/", StringComparison.Ordinal); }
        catch (IOException) { return false; }
    }

    public async Task<IReadOnlyDictionary<string, int>> EndAsync(IReadOnlyList<string> sessions)
    {
        var rooms = sessions.Select(s => _rooms.GetValueOrDefault(s)).OfType<Room>().ToList();
        foreach (var room in rooms) room.Over = true;
        var failed = new List<Exception>();
        Urgent.Run(() =>
        {
            // The kill waits for nothing, not even for a file that cannot be deleted; the second one is for who was at the door when the first one came.
            Kill(rooms);
            foreach (var room in rooms)
                try { Close(room.Account); }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException) { failed.Add(e); }
            Kill(rooms);
        });
        // Tried again: who may still get in is not over.
        if (failed.Count > 0) throw new IOException(failed[0].Message, failed[0]);
        return await UntilNothingAsync(rooms);
    }

    /// <summary>Nobody gets in, nobody is elevated.</summary>
    private void Close(Account account)
    {
        File.Delete(Principals(account));
        File.Delete(Sudoers(account));
    }

    /// <summary>Death first, then the clients' end of file. One group that cannot be killed keeps no other alive; who is left is looked for afterwards.</summary>
    private static void Kill(List<Room> rooms)
    {
        foreach (var room in rooms)
            try { room.Group?.Kill(); }
            catch (IOException e) { Log.Warn($"a group could not be killed, tried again: {e.Message}", room.Session); }
        foreach (var end in rooms.SelectMany(r => r.Ends.Keys)) end.Shut();
    }

    /// <summary>
    /// Looks until nothing is left. What is not in a group (a connection without a shell, a login that was under way) dies by its account. One look at
    /// all processes at a time: a hundred ends must not hinder each other. Ours: 5 s at most.
    /// </summary>
    private async Task<Dictionary<string, int>> UntilNothingAsync(List<Room> rooms)
    {
        var since = Stopwatch.StartNew();
        // One that dies slowly does not keep the others from being looked at. Ours: 5 ms for each, and 200.
        foreach (var room in rooms)
            if (room.Group is { } group) await group.IsEmptyWithinAsync(TimeSpan.FromMilliseconds(200 + 5 * rooms.Count) - since.Elapsed);
        await _looking.WaitAsync();
        try
        {
            while (true)
            {
                var counts = Accounts.Count(rooms.Select(r => r.Account.Uid).ToHashSet());
                var left = rooms.Where(r => counts.ContainsKey(r.Account.Uid) || r.Group is { Populated: true }).ToList();
                foreach (var room in left)
                {
                    room.Group?.Kill();
                    if (counts.ContainsKey(room.Account.Uid)) await Accounts.KillAsync(room.Account);
                }
                if (left.Count == 0 || since.Elapsed.TotalSeconds > 5) return rooms.ToDictionary(r => r.Session, r => counts.GetValueOrDefault(r.Account.Uid) + (r.Group is { Populated: true } ? 1 : 0));
                await Task.Delay(2);
            }
        }
        finally { _looking.Release(); }
    }

    public async Task<IReadOnlyList<string>> CleanAsync(string session)
    {
        if (!_rooms.TryGetValue(session, out var room)) return [];
        // Its group goes before its files: a shell that was just being started when the end came finds none to join, and does not begin.
        for (var since = Stopwatch.StartNew(); room.Group is { } group; await Task.Delay(5))
            try { group.Kill(); group.Remove(); break; }
            catch (IOException) when (since.Elapsed.TotalSeconds < 5) { /* somebody is still in it */ }
        var found = await SweepAsync(room.Account);
        _byUid.TryRemove(room.Account.Uid, out _);
        _rooms.TryRemove(session, out _);
        // An account under which something still runs is nobody's any more.
        if (!Accounts.Runs(room.Account)) _accounts.Return(room.Account);
        else found.Add("processes are left: the account is not used again until the agent starts anew");
        return found;
    }

    /// <summary>Files, jobs and shared memory of an account.</summary>
    private async Task<List<string>> SweepAsync(Account account)
    {
        var found = new List<string>();
        // By the host's own tool: a tree can be deeper than a path is long.
        await Accounts.RunAsync("rm", ["-rf", "--one-file-system", HomeOf(account)]);
        foreach (var place in (string[])["/tmp", "/var/tmp", "/dev/shm"])
        {
            var (_, files) = await Accounts.RunAsync("find", [place, "-xdev", "-uid", $"{account.Uid}", "-depth", "-print", "-delete"]);
            found.AddRange(files.Split('\n').Where(f => f.StartsWith('/')).Take(50).Select(f => $"file {f}"));
        }
        foreach (var spool in (string[])["/var/spool/cron/crontabs", "/var/spool/cron/atjobs"])
            foreach (var file in Directory.Exists(spool) ? Directory.GetFiles(spool) : [])
                if (Path.GetFileName(file) == account.Name || await OwnerAsync(file) == account.Uid) { File.Delete(file); found.Add($"job {file}"); }
        foreach (var (kind, flag) in ((string, string)[])[("shm", "-m"), ("msg", "-q"), ("sem", "-s")])
            foreach (var line in File.Exists($"/proc/sysvipc/{kind}") ? File.ReadLines($"/proc/sysvipc/{kind}").Skip(1) : [])
                if (line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is var fields && fields.Contains($"{account.Uid}")) { await Accounts.RunAsync("ipcrm", [flag, fields[1]]); found.Add($"shared {kind} {fields[1]}"); }
        return found;
    }

    private static async Task<uint> OwnerAsync(string file) => uint.TryParse((await Accounts.RunAsync("stat", ["-c", "%u", file])).Output.Trim(), out var uid) ? uid : 0;

    public Task<IReadOnlyList<string>> RightsAsync() => Task.FromResult<IReadOnlyList<string>>([.. HostRights.Find(options, _rooms.Values.Where(r => r.SudoersHash.Length > 0).ToDictionary(r => Sudoers(r.Account), r => r.SudoersHash))]);

    public Task HoldAsync(string session, bool held)
    {
        if (!_rooms.TryGetValue(session, out var room) || room.Over) return Task.CompletedTask;
        room.Held = held;
        room.Group!.Work.Freeze(held);
        return Task.CompletedTask;
    }

    public void Dispose() => _looking.Dispose();

    /// <summary>What is typed and shown passes through the agent: nobody need be asked. What runs under a session's account beside its group, longer than a login takes, is killed: it would not stand still.</summary>
    public Task<IReadOnlyList<string>> BusyAsync(IReadOnlyCollection<string> living)
    {
        var rooms = _rooms.Values.Where(r => r is { Group: not null, Over: false }).ToDictionary(r => r.Account.Uid);
        foreach (var (uid, pid) in rooms.Count > 0 ? Accounts.Processes(rooms.Keys.ToHashSet()) : [])
            if (!IsOf(pid, rooms[uid]) && Accounts.StartOf(pid) is { } began && Accounts.Now() - began > MostLoginTicks)
            {
                Log.Warn($"a process beside its control group is killed: {pid}", rooms[uid].Session);
                try { using var stray = Process.GetProcessById(pid); stray.Kill(); }
                catch (Exception e) when (e is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception) { /* it has just ended */ }
            }
        return Task.FromResult<IReadOnlyList<string>>([]);
    }

    public void Tell(string session, string line) { if (_rooms.TryGetValue(session, out var room)) room.TellAll(line); }

    public async Task RecoverAsync(IReadOnlyList<string> sessions)
    {
        foreach (var directory in (string[])["principals", "homes", "tools", "empty"]) Directory.CreateDirectory(Path.Combine(options.RunDirectory, directory));
        await WriteToolsAsync();
        foreach (var account in _accounts.All)
            Close(account);
        _group?.Kill();
        var uids = _accounts.All.ToDictionary(a => a.Uid);
        foreach (var uid in Accounts.Count(uids.Keys.ToHashSet()).Keys) await Accounts.KillAsync(uids[uid]);
        foreach (var account in _accounts.All.Where(a => Directory.Exists(HomeOf(a))))
            try { await SweepAsync(account); }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidOperationException) { Log.Warn($"what account {account.Name} left cannot be removed: {e.Message}"); }
        if (_group is { } all) await all.IsEmptyWithinAsync(TimeSpan.FromSeconds(5));
        foreach (var child in _group?.Children ?? [])
            try { child.Remove(); }
            catch (IOException e) { Log.Warn($"a former group stays: {e.Message}"); }
    }

    /// <summary>A group without anybody at work in it is killed as those of all sessions will be.</summary>
    public async Task RehearseAsync()
    {
        const string session = "rehearsal";
        using var nothing = System.Text.Json.JsonDocument.Parse("{}");
        try
        {
            await OpenAsync(new(session, nothing.RootElement, TwoPerson: false, "", ""), CancellationToken.None);
            var room = _rooms[session];
            using var sleeper = Process.Start("setpriv", [$"--reuid={room.Account.Uid}", $"--regid={room.Account.Gid}", "--clear-groups", "sleep", "60"]);
            for (var since = Stopwatch.StartNew(); since.Elapsed.TotalSeconds < 1 && !Accounts.Runs(room.Account);) await Task.Delay(5);
            if (room.Group is { } group)
            {
                if (!group.Work.Add(sleeper.Id)) throw new InvalidOperationException("nothing can be put into a control group");
                group.Kill();
                if (!await group.IsEmptyWithinAsync(TimeSpan.FromSeconds(5))) throw new InvalidOperationException("what is in a control group does not die with it");
            }
            if ((await EndAsync([session])).Values.Any(left => left != 0)) throw new InvalidOperationException("what runs under an account does not die");
            await CleanAsync(session);
        }
        catch (Exception e) when (e is not InvalidOperationException) { throw new InvalidOperationException($"sessions cannot be opened and ended here: {e.Message}", e); }
    }

    /// <summary>What a session finds on its path: asking for more time from inside.</summary>
    private async Task WriteToolsAsync()
    {
        var file = Path.Combine(options.RunDirectory, "tools", "access-extend");
        await File.WriteAllTextAsync(file, $"#!/bin/sh\nexec perl {Path.Combine(AppContext.BaseDirectory, "door.pl")} {Path.Combine(options.RunDirectory, "shell.sock")} extend \"$1\" \"$2\"\n");
        File.SetUnixFileMode(file, (UnixFileMode)0b111_101_101);
    }

    private static async Task RequireAsync(string program, params string[] arguments)
    {
        var (exit, output) = await Accounts.RunAsync(program, arguments);
        if (exit != 0) throw new InvalidOperationException($"{program}: {output}");
    }
}
