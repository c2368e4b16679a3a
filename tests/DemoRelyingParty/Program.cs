using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using DemoRelyingParty;

// DemoRelyingParty jwk FILE         makes the key of this relying party and prints its public half as a JWK
// DemoRelyingParty run SETTINGS     serves the demo of a 戸籍 system
switch (args)
{
    case ["jwk", var keyFile]:
        Console.WriteLine(JsonSerializer.Serialize(new { keys = new[] { ClientKey.LoadOrCreate(keyFile).PublicJwk() } }));
        return 0;
    case ["run", var settingsFile]:
        var settings = JsonSerializer.Deserialize<Settings>(File.ReadAllText(settingsFile), JsonSerializerOptions.Web)!;
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory, WebRootPath = Path.Combine(AppContext.BaseDirectory, "wwwroot") });
        var origin = new Uri(settings.Origin);
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Parse(origin.Host), origin.Port, l => l.UseHttps(X509Certificate2.CreateFromPemFile(settings.TlsCertificate, settings.TlsKey))));
        var app = builder.Build();
        Pages.Map(app, new Broker(settings), new Sessions());
        await app.RunAsync();
        return 0;
    default:
        Console.Error.WriteLine("usage: DemoRelyingParty jwk FILE | run SETTINGS");
        return 2;
}

/// <summary>Where this relying party lives, and whom it trusts.</summary>
internal sealed record Settings(string Origin, string Issuer, string ClientId, string KeyFile, string BrokerCa, string TlsCertificate, string TlsKey);
