using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace CardSimulator;

/// <summary>A pinentry program (Assuan on standard input and output) whose window is the desk's PIN pad.</summary>
internal static class Pinentry
{
    private sealed record Typed(string Pin);

    internal static async Task RunAsync(string socketPath, int reader, TextReader input, TextWriter output)
    {
        using var desk = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, ct) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), ct);
                return new NetworkStream(socket, ownsSocket: true);
            },
        })
        { BaseAddress = new Uri("http://desk/"), Timeout = Timeout.InfiniteTimeSpan };
        var (title, description, error) = ("", "", (string?)null);
        await SayAsync(output, "OK desk");
        while (await input.ReadLineAsync() is { } line)
        {
            var space = line.IndexOf(' ');
            var (command, argument) = space < 0 ? (line, "") : (line[..space], Uri.UnescapeDataString(line[(space + 1)..]));
            switch (command)
            {
                case "SETTITLE": title = argument; break;
                case "SETDESC": description = argument; break;
                case "SETERROR": error = argument; break;
                case "GETPIN" or "CONFIRM" or "MESSAGE":
                    var typed = await AskAsync(desk, reader, new(title, description, error, command != "GETPIN"));
                    error = null;
                    if (typed is null) { await SayAsync(output, "ERR 83886179 Operation cancelled"); continue; }
                    if (command == "GETPIN") await SayAsync(output, "D " + Uri.EscapeDataString(typed));
                    break;
                case "BYE": await SayAsync(output, "OK"); return;
            }
            await SayAsync(output, "OK");
        }
    }

    private static async Task<string?> AskAsync(HttpClient desk, int reader, PinPad.Prompt prompt)
    {
        try
        {
            using var response = await desk.PostAsJsonAsync($"api/readers/{reader}/prompt", prompt);
            return response.StatusCode == HttpStatusCode.OK ? (await response.Content.ReadFromJsonAsync<Typed>())?.Pin : null;
        }
        catch (Exception e) when (e is HttpRequestException or JsonException) { return null; }
    }

    private static async Task SayAsync(TextWriter output, string line)
    {
        await output.WriteAsync(new StringBuilder(line).Append('\n'));
        await output.FlushAsync();
    }
}
