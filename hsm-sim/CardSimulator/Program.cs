using System.Text.Json;
using System.Text.Json.Serialization;
using CardSimulator;

// CardSimulator serve DIRECTORY READERS ORIGIN [PLACES.json]   readers, drawer and desk; DIRECTORY holds drawer/, ifd/ and desk/desk.sock
// CardSimulator pinentry SOCKET READER                          the desk's PIN pad as a pinentry program
if (args is ["pinentry", var socket, var number, ..])
{
    await Pinentry.RunAsync(socket, int.Parse(number, System.Globalization.CultureInfo.InvariantCulture), Console.In, Console.Out);
    return 0;
}
if (args is not ["serve", var directory, var count, var origin, .. var rest])
{
    await Console.Error.WriteLineAsync("usage: CardSimulator serve DIRECTORY READERS ORIGIN [PLACES.json] | pinentry SOCKET READER");
    return 2;
}

Directory.CreateDirectory(Path.Combine(directory, "drawer"));
Directory.CreateDirectory(Path.Combine(directory, "ifd"));
Directory.CreateDirectory(Path.Combine(directory, "desk"));
var readers = Enumerable.Range(0, int.Parse(count, System.Globalization.CultureInfo.InvariantCulture))
    .Select(i => new Reader(i, Path.Combine(directory, "ifd", $"slot{i}.sock"))).ToArray();
var places = rest is [var file] ? JsonSerializer.Deserialize<Desk.Place[]>(File.ReadAllBytes(file), JsonSerializerOptions.Web)! : [];
var deskSocket = Path.Combine(directory, "desk", "desk.sock");
File.Delete(deskSocket);

var builder = WebApplication.CreateBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory, WebRootPath = Path.Combine(AppContext.BaseDirectory, "wwwroot") });
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.WebHost.ConfigureKestrel(kestrel =>
{
    var url = new Uri(origin);
    kestrel.Listen(System.Net.IPAddress.Parse(url.Host), url.Port);
    kestrel.ListenUnixSocket(deskSocket);
});
builder.Services.ConfigureHttpJsonOptions(json => json.SerializerOptions.Converters.Add(new JsonStringEnumConverter()));
builder.Services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
var app = builder.Build();
Desk.Map(app, new Drawer(Path.Combine(directory, "drawer")), readers, origin, places);
await app.StartAsync();
if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(deskSocket, (UnixFileMode)0b110_110_000);
await Console.Out.WriteLineAsync("ready");
await app.WaitForShutdownAsync();
foreach (var reader in readers) reader.Remove();
return 0;
