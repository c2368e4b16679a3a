using System.Net;
using System.Security.Cryptography.X509Certificates;
using AccessBroker.Database;
using AccessBroker.Keys;
using AccessBroker.Web;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Npgsql;

namespace AccessBroker;

/// <summary>Reads appsettings, refuses what cannot be right, and opens the two listeners.</summary>
internal static class Configuration
{
    /// <summary>Sections <c>Broker</c> and <c>Hsm</c>. Throws with every problem in one message.</summary>
    internal static (BrokerOptions Broker, HsmOptions Hsm) Read(IConfiguration configuration, bool forServing = true)
    {
        var (broker, hsm) = (new BrokerOptions(), new HsmOptions());
        configuration.GetSection("Broker").Bind(broker);
        configuration.GetSection("Hsm").Bind(hsm);
        var problems = forServing ? broker.Problems().ToList() : [];
        return problems.Count == 0 ? (broker, hsm) : throw new InvalidOperationException("the configuration cannot be used:\n  " + string.Join("\n  ", problems));
    }

    internal static void ConfigureServer(this WebApplicationBuilder builder, BrokerOptions options)
    {
        // Request logs would hold URLs, and URLs of the protocol hold codes and hints. No level shows them.
        builder.Logging.AddJsonConsole(json => json.IncludeScopes = true).AddFilter("Microsoft.AspNetCore", LogLevel.Warning).AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None).AddFilter("Microsoft.EntityFrameworkCore", LogLevel.Warning);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = 64 * 1024;
            kestrel.Limits.MaxRequestLineSize = 16 * 1024;
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            var certificate = X509Certificate2.CreateFromPemFile(options.TlsCertificate, options.TlsKey);
            var chain = new X509Certificate2Collection();
            chain.ImportFromPemFile(options.TlsCertificate);
            IPAddress[] proxies = [.. options.TrustedProxies.Select(IPAddress.Parse)];
            kestrel.Listen(IPEndPoint.Parse(options.Listen), listen =>
            {
                listen.UseProxyProtocol(proxies);
                listen.UseHttps(https => (https.ServerCertificate, https.ServerCertificateChain) = (certificate, chain));
            });
            if (options.ListenOperations.Length > 0) kestrel.Listen(IPEndPoint.Parse(options.ListenOperations));
            if (options.ListenFiles.Length > 0) kestrel.Listen(IPEndPoint.Parse(options.ListenFiles));
            kestrel.Listen(IPEndPoint.Parse(options.ListenTerminals), listen =>
            {
                listen.Protocols = Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http1;
                listen.UseProxyProtocol(proxies);
                listen.UseHttps(https =>
                {
                    (https.ServerCertificate, https.ServerCertificateChain) = (certificate, chain);
                    // Judged by TerminalStream, which answers with a status: a refusal in the handshake would tell the agent nothing.
                    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                    https.AllowAnyClientCertificate();
                });
            });
        });
    }

    internal static void AddDatabase(this IServiceCollection services, string connection, string redis)
    {
        services.AddSingleton(_ => NpgsqlDataSource.Create(Settings(connection)));
        services.AddSingleton(p => new Store(p.GetRequiredService<NpgsqlDataSource>()));
        // Presence and endings have connections of their own: requests that wait for an HSM must not keep them from theirs.
        services.AddSingleton(p => new VitalStore(new Store(NpgsqlDataSource.Create(new NpgsqlConnectionStringBuilder(Settings(connection)) { MaxPoolSize = 6 }), p.GetRequiredService<Store>())));
        services.AddSingleton<DatabaseClock>();
        services.AddHostedService(p => p.GetRequiredService<DatabaseClock>());
        services.AddSingleton<ReadinessCheck>();
        services.AddHostedService(p => p.GetRequiredService<ReadinessCheck>());
        services.AddSingleton(_ => new Wakeups(redis.Length == 0 ? null : redis));
        services.AddHostedService(p => p.GetRequiredService<Wakeups>());
        services.AddHostedService<Sweeper>();
    }

    /// <summary>
    /// Statements are parsed and planned once per connection; nothing of ours changes a connection's state, so it need not be reset between users.
    /// The server gives up a node that froze or vanished within seconds, and with it the row locks it held.
    /// </summary>
    private static string Settings(string connection) => new NpgsqlConnectionStringBuilder(connection)
    {
        Timeout = 3,
        CommandTimeout = 5,
        MaxAutoPrepare = 200,
        AutoPrepareMinUsages = 2,
        NoResetOnClose = true,
        Options = "-c jit=off -c idle_in_transaction_session_timeout=4000 -c tcp_keepalives_idle=3 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 -c tcp_user_timeout=6000",
    }.ConnectionString;

    /// <summary>A wrong schema, role or key stops the start; a database or HSM that is merely away does not: they may come later.</summary>
    internal static async Task RequireReadyAsync(this WebApplication app)
    {
        await app.Services.GetRequiredService<ReadinessCheck>().TryAsync(CancellationToken.None);
        try { await app.Services.GetRequiredService<Pkcs11Hsm>().CheckAsync(CancellationToken.None); }
        catch (HsmUnavailableException e) { StartupLog.HsmAway(app.Logger, e); }
        _ = app.Services.GetRequiredService<CertificateAuthorities>();
    }
}

internal static partial class StartupLog
{
    [LoggerMessage(LogLevel.Warning, "the HSM does not answer; starting without it")]
    internal static partial void HsmAway(ILogger log, Exception e);
}
