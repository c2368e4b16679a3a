using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace AccessBroker.FileServer;

/// <summary>
/// Files below one directory. What is opened is what the path says: after opening, the kernel is asked where the file really is, so that no link on the way,
/// and no exchange in between, leads elsewhere. The directory must be one file system: files are put in place by renaming. <clause>MIC 6.3(5)</clause>
/// </summary>
internal sealed partial class Disk(string root)
{
    private readonly string _root = root.Length == 0 ? "" : RealPath(Path.TrimEndingDirectorySeparator(Path.GetFullPath(root)));

    /// <summary>Where a canonical path lies.</summary>
    internal string PlaceOf(string path) => _root + path;

    internal bool IsDirectory(string path) => Directory.Exists(PlaceOf(path)) && IsTrue(PlaceOf(path));

    /// <summary>What a directory holds, at most so many; links lead nowhere, so they are not there. A directory that cannot be read holds nothing.</summary>
    internal List<string> Names(string path, int most)
    {
        try { return [.. new DirectoryInfo(PlaceOf(path)).EnumerateFileSystemInfos().Where(e => e.LinkTarget is null).Take(most).Select(e => e.Name)]; }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return []; }
    }

    internal long Length(string path) => new FileInfo(PlaceOf(path)) is { Exists: true } file ? file.Length : 0;

    internal DateTimeOffset ChangedAt(string path) => File.GetLastWriteTimeUtc(PlaceOf(path));

    /// <summary>The open file, or null: there is none, it is no regular file, or a link leads elsewhere. A file that was just replaced is opened again.</summary>
    internal FileStream? Open(string path)
    {
        FileStream? stream = null;
        for (var attempt = 0; attempt < 3 && (stream = OpenOnce(path)) is null && File.Exists(PlaceOf(path)); attempt++) { }
        return stream;
    }

    private FileStream? OpenOnce(string path)
    {
        try
        {
            var stream = new FileStream(PlaceOf(path), new FileStreamOptions { Mode = FileMode.Open, Access = FileAccess.Read, Share = FileShare.ReadWrite | FileShare.Delete, Options = FileOptions.Asynchronous | FileOptions.SequentialScan, BufferSize = 0 });
            if (IsWhere(stream, PlaceOf(path))) return stream;
            stream.Dispose();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return null; }
    }

    /// <summary>Name of the directory of files that are not in their place yet: nobody's path.</summary>
    internal const string Waiting = ".accessbroker";

    /// <summary>Writes a file that waits to take a place, synced: its name, size and SHA-256. The place's directory must be there and no link. Throws <see cref="IOException"/>.</summary>
    internal async Task<(string Beside, long Bytes, string Hash)> WriteAsync(string path, Stream body, long most, CancellationToken ct)
    {
        RequireDirectoryOf(path);
        var name = Primitives.Secret.New(16);
        Directory.CreateDirectory(Path.Combine(_root, Waiting));
        var place = Path.Combine(_root, Waiting, name);
        try
        {
            long bytes = 0;
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            await using var file = new FileStream(place, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.Asynchronous, BufferSize = 0 });
            var buffer = new byte[128 * 1024];
            for (int read; (read = await body.ReadAsync(buffer, ct)) > 0;)
            {
                if ((bytes += read) > most) throw new IOException("larger than allowed");
                hash.AppendData(buffer, 0, read);
                await file.WriteAsync(buffer.AsMemory(0, read), ct);
            }
            // nginx's user reads what the broker's user writes, through the directory's group.
            if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(file.SafeFileHandle, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
            file.Flush(flushToDisk: true);
            if (!IsWhere(file, place)) throw new IOException("the directory was exchanged");
            return (name, bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
        catch
        {
            File.Delete(place);
            throw;
        }
    }

    /// <summary>Puts a waiting file in its place, at once; done again, nothing happens. Throws <see cref="IOException"/>.</summary>
    internal void Place(string path, string beside)
    {
        RequireDirectoryOf(path);
        var waiting = Path.Combine(_root, Waiting, beside);
        if (!File.Exists(waiting)) return;
        File.Move(waiting, PlaceOf(path), overwrite: true);
        Sync(Path.GetDirectoryName(PlaceOf(path))!);
    }

    /// <summary>Forgets a waiting file.</summary>
    internal void Forget(string beside) => File.Delete(Path.Combine(_root, Waiting, beside));

    /// <summary>Waiting files older than an instant.</summary>
    internal IEnumerable<string> WaitingSince(DateTimeOffset at) => !Directory.Exists(Path.Combine(_root, Waiting)) ? []
        : new DirectoryInfo(Path.Combine(_root, Waiting)).EnumerateFiles().Where(f => f.LastWriteTimeUtc < at.UtcDateTime).Select(f => f.Name).ToList();

    /// <summary>Is there a regular file, not reached by links.</summary>
    internal bool Exists(string path)
    {
        using var stream = Open(path);
        return stream is not null;
    }

    /// <summary>Removes a file; done again, nothing happens. Throws <see cref="IOException"/>.</summary>
    internal void Remove(string path)
    {
        if (!Exists(path)) return;
        File.Delete(PlaceOf(path));
        Sync(Path.GetDirectoryName(PlaceOf(path))!);
    }

    private void RequireDirectoryOf(string path)
    {
        var directory = Path.GetDirectoryName(PlaceOf(path))!;
        if (!Directory.Exists(directory) || !IsTrue(directory)) throw new DirectoryNotFoundException(path);
    }

    /// <summary>The root itself may be reached by links: the administrator set it.</summary>
    private static string RealPath(string path)
    {
        var real = "/";
        foreach (var part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            var next = Path.Combine(real, part);
            real = new DirectoryInfo(next).ResolveLinkTarget(returnFinalTarget: true)?.FullName is { } target ? RealPath(target) : next;
        }
        return real;
    }

    /// <summary>A directory's entries are on the disk. Throws <see cref="IOException"/>.</summary>
    private static void Sync(string directory)
    {
        var handle = OpenDirectory(directory, 0);
        if (handle < 0) throw new IOException("the directory could not be opened");
        try
        {
            if (SyncHandle(handle) != 0) throw new IOException("the directory could not be written");
        }
        finally { _ = CloseHandle(handle); }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int OpenDirectory(string path, int flags);
    [LibraryImport("libc", EntryPoint = "fsync"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SyncHandle(int handle);
    [LibraryImport("libc", EntryPoint = "close"), DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int CloseHandle(int handle);

    private static bool IsWhere(FileStream stream, string place)
    {
        var link = new FileInfo($"/proc/self/fd/{stream.SafeFileHandle.DangerousGetHandle()}").LinkTarget;
        return link == place && File.Exists(place);
    }

    /// <summary>No part of the way is a link.</summary>
    private bool IsTrue(string place)
    {
        for (var at = place; at.Length >= _root.Length && at.Length > 1; at = Path.GetDirectoryName(at)!)
            if (new DirectoryInfo(at).LinkTarget is not null) return false;
        return true;
    }
}
