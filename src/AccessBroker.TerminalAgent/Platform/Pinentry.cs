using System.Buffers;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;

namespace AccessBroker.TerminalAgent.Platform;

/// <summary>A pinentry program, spoken to in the Assuan protocol (GnuPG). One process per question; the PIN stays in byte buffers that are wiped.</summary>
internal sealed class Pinentry(string program) : IPinPrompt
{
    private const int MaxLine = 1002;    // Assuan: 1000 bytes and the line's end

    public async Task<byte[]?> AskAsync(PinQuestion question, CancellationToken ct)
    {
        using var process = Process.Start(new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })
            ?? throw new IOException($"{program} did not start");
        using var closing = ct.Register(() => Kill(process));
        try
        {
            var (input, output) = (process.StandardInput.BaseStream, process.StandardOutput.BaseStream);
            if (await ReadAsync(output) is not { Ok: true }) return null;
            string?[] commands = ["SETTITLE AccessBroker", "SETDESC " + Escape(question.Description), "SETPROMPT " + Escape(question.Prompt), question.Error is { } error ? "SETERROR " + Escape(error) : null];
            foreach (var command in commands.OfType<string>())
                if (await SendAsync(input, output, command) is not { Ok: true }) return null;
            var answer = await SendAsync(input, output, "GETPIN");
            return answer is { Ok: true } ? answer.Data : null;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException) { return null; }
        finally { Kill(process); }
    }

    private sealed record Answer(bool Ok, byte[]? Data);

    private static async Task<Answer?> SendAsync(Stream input, Stream output, string command)
    {
        await input.WriteAsync(Encoding.UTF8.GetBytes(command + "\n"));
        await input.FlushAsync();
        return await ReadAsync(output);
    }

    /// <summary>Reads lines up to OK or ERR; a D line before it carries the data, percent-escaped.</summary>
    private static async Task<Answer?> ReadAsync(Stream output)
    {
        byte[]? data = null;
        var line = GC.AllocateArray<byte>(MaxLine, pinned: true);
        try
        {
            while (true)
            {
                var length = 0;
                do
                {
                    if (length == MaxLine || await output.ReadAsync(line.AsMemory(length, 1)) == 0) return null;
                } while (line[length++] != (byte)'\n');
                var text = line.AsSpan(0, length - 1);
                if (text.StartsWith("D "u8)) data = Unescape(text[2..]);
                else if (text.SequenceEqual("OK"u8) || text.StartsWith("OK "u8)) return new(true, data);
                else if (text.StartsWith("ERR"u8)) return new(false, null);
            }
        }
        finally { CryptographicOperations.ZeroMemory(line); }
    }

    private static byte[] Unescape(ReadOnlySpan<byte> text)
    {
        var result = GC.AllocateArray<byte>(text.Length, pinned: true);
        var length = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == (byte)'%' && i + 2 < text.Length && Convert.FromHexString(text.Slice(i + 1, 2), result.AsSpan(length), out _, out var written) == OperationStatus.Done && written == 1) (i, length) = (i + 2, length + 1);
            else result[length++] = text[i];
        }
        var exact = GC.AllocateArray<byte>(length, pinned: true);
        result.AsSpan(0, length).CopyTo(exact);
        CryptographicOperations.ZeroMemory(result);
        return exact;
    }

    /// <summary>Assuan: %, CR and LF are escaped.</summary>
    private static string Escape(string text) => text.Replace("%", "%25", StringComparison.Ordinal).Replace("\r", "%0D", StringComparison.Ordinal).Replace("\n", "%0A", StringComparison.Ordinal);

    private static void Kill(Process process)
    {
        try { process.Kill(entireProcessTree: true); }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception) { /* it ended by itself */ }
    }
}
