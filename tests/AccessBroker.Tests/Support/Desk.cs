using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;

namespace AccessBroker.Tests.Support;

/// <summary>The hands at the simulated readers.</summary>
internal static class Desk
{
    private static readonly HttpClient Http = new(new SocketsHttpHandler
    {
        ConnectCallback = async (_, ct) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(Place.Directory, "cards/desk/desk.sock")), ct);
            return new NetworkStream(socket, ownsSocket: true);
        },
    })
    { BaseAddress = new Uri("http://desk/api/") };

    internal static string Reader(int index) => $"Simulated Reader {index} {index:X2} 00";
    internal static Task AddBlankAsync(string card) => PostAsync("cards", new { card });
    internal static Task InsertAsync(int reader, string card) => PostAsync($"readers/{reader}/insert", new { card });
    internal static Task RemoveAsync(int reader) => PostAsync($"readers/{reader}/remove", new { });
    internal static Task FaultAsync(int reader, string kind, int after) => PostAsync($"readers/{reader}/fault", new { kind, after });
    internal static async Task<int> CommandsAsync(int reader) => (await Http.GetFromJsonAsync<JsonElement>("state")).GetProperty("readers")[reader].GetProperty("commands").GetInt32();

    /// <summary>What the agent's pinentry asks; the digits that are typed on the pad.</summary>
    internal static async Task<string?> PromptAsync(int reader, string description)
    {
        using var response = await Http.PostAsJsonAsync($"readers/{reader}/prompt", new { title = "AccessBroker", description, error = (string?)null, confirm = false });
        return response.StatusCode == System.Net.HttpStatusCode.OK ? (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("pin").GetString() : null;
    }

    /// <summary>Where the desk's page is.</summary>
    internal static string Origin { get; } = "http://127.0.0.1:" + File.ReadLines(Path.Combine(Place.Directory, "ports.env")).Single(l => l.StartsWith("desk_port=", StringComparison.Ordinal)).Split('=')[1];

    private static async Task PostAsync(string path, object body)
    {
        using var response = await Http.PostAsJsonAsync(path, body);
        if (!response.IsSuccessStatusCode) throw new InvalidOperationException($"desk {path}: {await response.Content.ReadAsStringAsync()}");
    }
}
