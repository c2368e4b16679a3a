using System.Net;
using AccessBroker.TerminalAgent.Platform;

namespace AccessBroker.TerminalAgent;

/// <summary>Puts the agent together. Several can run on one machine: each has its own reader, port and data directory.</summary>
internal static class AgentHost
{
    /// <summary>Reads and checks the configuration. Throws <see cref="InvalidOperationException"/> with every problem.</summary>
    internal static AgentOptions Read(string file)
    {
        var options = new AgentOptions();
        new ConfigurationBuilder().AddJsonFile(Path.GetFullPath(file)).Build().Bind(options);
        var problems = options.Problems().ToList();
        return problems.Count == 0 ? options : throw new InvalidOperationException($"{file} cannot be used:\n  {string.Join("\n  ", problems)}");
    }

    internal static WebApplication Build(AgentOptions options)
    {
        var builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 4 * 1024;
            kestrel.Listen(IPEndPoint.Parse(options.Listen));
        });
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(PlatformParts.Prompt(options));
        builder.Services.AddSingleton(p => new CardReader(PlatformParts.Pcsc(), options.Reader, p.GetRequiredService<ILogger<CardReader>>()));
        builder.Services.AddSingleton<NoticeBoard>().AddSingleton<BrokerStream>();
        builder.Services.AddSingleton<CardSignIn>().AddSingleton<CardWork>().AddSingleton<OneAtATime>();
        builder.Services.AddHostedService(p => p.GetRequiredService<BrokerStream>());
        builder.Services.AddHostedService(p => p.GetRequiredService<CardReader>());
        var app = builder.Build();
        LoopbackEndpoint.Map(app, options);
        return app;
    }
}
