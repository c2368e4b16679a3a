using System.Buffers.Binary;

namespace AccessBroker.TargetAgent.Ssh;

/// <summary>What passes between the shell's door (<c>door.pl</c>, under the session's account) and the agent: a letter, a length (4 bytes, big-endian), the content.</summary>
internal static class Frames
{
    /// <summary>To the agent: how the session begins (JSON), typed bytes, end of input, window (rows, columns).</summary>
    internal const byte Header = (byte)'h', Input = (byte)'i', InputEnd = (byte)'e', Window = (byte)'w';
    /// <summary>To the door: output, error output, exit code.</summary>
    internal const byte Output = (byte)'o', Error = (byte)'r', Exit = (byte)'x';
    internal const int Most = 64 * 1024;

    internal static async Task<(byte Kind, byte[] Content)?> ReadAsync(Stream stream, CancellationToken ct)
    {
        var head = new byte[5];
        if (await stream.ReadAtLeastAsync(head, 5, throwOnEndOfStream: false, ct) < 5) return null;
        var length = BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(1));
        if (length is < 0 or > Most) return null;
        var content = new byte[length];
        return await stream.ReadAtLeastAsync(content, length, throwOnEndOfStream: false, ct) < length ? null : (head[0], content);
    }

    internal static byte[] Make(byte kind, ReadOnlySpan<byte> content)
    {
        var frame = new byte[5 + content.Length];
        frame[0] = kind;
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), content.Length);
        content.CopyTo(frame.AsSpan(5));
        return frame;
    }

    internal static byte[] Number(params ReadOnlySpan<int> numbers)
    {
        var bytes = new byte[4 * numbers.Length];
        for (var i = 0; i < numbers.Length; i++) BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 * i), numbers[i]);
        return bytes;
    }
}
