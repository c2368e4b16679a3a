using System.Security.Cryptography;

namespace AccessBroker.FileServer;

/// <summary>
/// Files below one directory. What is opened is what the path says: after opening, the kernel is asked where the file really is, so that no link on the way,
/// and no exchange in between, leads elsewhere. <clause>MIC 6.3(5)</clause>
/// </summary>
internal sealed class Disk(string root)
{
    private readonly string _root = root.Length == 0 ? "" : RealPath(Path.TrimEndingDirectorySeparator(Path.GetFullPath(root)));

    /// <summary>Where a canonical path lies.</summary>
    internal string PlaceOf(string path) => _root + path;

    internal bool IsDirectory(string path) => Directory.Exists(PlaceOf(path)) && IsTrue(PlaceOf(path));

    /// <summary>The open file, or null: there is none, it is no regular file, or a link leads elsewhere.</summary>
    internal FileStream? Open(string path)
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

    /// <summary>Writes beside the target and puts it in place at once, synced; size and SHA-256. The directory must be there and no link. Throws <see cref="IOException"/>.</summary>
    internal async Task<(long Bytes, string Hash)> WriteAsync(string path, Stream body, long most, CancellationToken ct)
    {
        var directory = Path.GetDirectoryName(PlaceOf(path))!;
        if (!Directory.Exists(directory) || !IsTrue(directory)) throw new DirectoryNotFoundException(path);
        var beside = Path.Combine(directory, $".accessbroker-{Primitives.Secret.New(16)}");
        try
        {
            long bytes = 0;
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            await using (var file = new FileStream(beside, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.Asynchronous, BufferSize = 0 }))
            {
                var buffer = new byte[128 * 1024];
                for (int read; (read = await body.ReadAsync(buffer, ct)) > 0;)
                {
                    if ((bytes += read) > most) throw new IOException("larger than allowed");
                    hash.AppendData(buffer, 0, read);
                    await file.WriteAsync(buffer.AsMemory(0, read), ct);
                }
                file.Flush(flushToDisk: true);
                if (!IsWhere(file, beside)) throw new IOException("the directory was exchanged");
            }
            File.Move(beside, PlaceOf(path), overwrite: true);
            return (bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
        finally { File.Delete(beside); }
    }

    /// <summary>False: there is none.</summary>
    internal bool Delete(string path)
    {
        using (var stream = Open(path)) if (stream is null) return false;
        File.Delete(PlaceOf(path));
        return true;
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
