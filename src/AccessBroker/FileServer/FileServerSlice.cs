using System.Net;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.History;
using AccessBroker.Policies;
using AccessBroker.Sessions;
using AccessBroker.Web;

namespace AccessBroker.FileServer;

internal static class FileServerSlice
{
    internal static void AddFileServer(this IServiceCollection services, BrokerOptions options)
    {
        if (options.ListenFiles.Length == 0) return;
        services.AddSingleton(new Disk(options.FileRoot)).AddSingleton<Fitness>().AddSingleton<FileVisitors>().AddSingleton<FileReading>().AddSingleton<FileListing>().AddSingleton<FileServerApp>();
        services.AddSingleton<FileChanges>().AddSingleton<IHealthReport>(p => p.GetRequiredService<FileChanges>()).AddHostedService(p => p.GetRequiredService<FileChanges>());
        services.AddSingleton<FileStreams>().AddHostedService(p => p.GetRequiredService<FileStreams>());
        // What is in the pipes when a transfer is cut still arrives: little.
        var port = IPEndPoint.Parse(options.ListenFiles).Port;
        services.Configure<Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets.SocketTransportOptions>(sockets => sockets.CreateBoundListenSocket = endpoint =>
        {
            var socket = Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets.SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
            if (endpoint is IPEndPoint { Port: var own } && own == port) socket.SendBufferSize = 64 * 1024;
            return socket;
        });
        if (options.FileOrigin.Length > 0) services.AddSingleton(new MenuEntry("ファイルを開く(ファイルサーバー)", options.FileOrigin + "/", 12, []));
        services.AddSingleton(new Sweep("delete from file_server.entries where ctid in (select ctid from file_server.entries where expires_at < clock_timestamp() limit 500)"));
    }

    /// <summary>The listener for the file server's nginx: everything that comes there is a question about a file.</summary>
    internal static void UseFileServer(this WebApplication app, BrokerOptions options)
    {
        if (options.ListenFiles.Length == 0) return;
        var (port, files) = (IPEndPoint.Parse(options.ListenFiles).Port, app.Services.GetRequiredService<FileServerApp>());
        app.Use(async (context, next) =>
        {
            if (context.Connection.LocalPort == port) await files.RunAsync(context);
            else await next(context);
        });
    }

    /// <summary>At the broker's own origin: whoever is signed in is let through to the file server, with a code for the browser that asked.</summary>
    internal static void MapFileServer(this IEndpointRouteBuilder app, BrokerOptions options)
    {
        if (options.ListenFiles.Length == 0) return;
        app.MapGet("/file-server/enter", async (HttpContext context, string? state, string? to, FileVisitors visitors, Store store, Active<AssurancePolicy> assurance, TimeProvider time, CancellationToken ct) =>
        {
            if (state is not { Length: 64 } || !state.All(char.IsAsciiHexDigitLower) || FilePermissions.FilePath.Parse(to) is not { } path) return Results.BadRequest();
            var session = LiveSession.Of(context)!;
            // As at every relying party: what policy asks of the client "file-server", and the operating standard is read.
            if (!AssuranceRule.Judge(new(Factors.OfAmr(session.Amr), session.Attested, time.GetUtcNow() - session.AuthTime), assurance.Now.Needed(options.Segment, "file-server", null)).Enough) return Problems.Json(StatusCodes.Status403Forbidden, "files.stronger-sign-in", "このサインインでは、ファイルサーバーを使えません。より強い方法でサインインし直してください。");
            if (await store.AskAsync(Standard.IsUnread(session.Person, time.GetUtcNow()), ct)) return Results.Redirect("/standard");
            var code = await visitors.AdmitAsync(session, Convert.FromHexString(state), FileServerApp.Escape(path), ct);
            return Results.Redirect($"{options.FileOrigin}{FileServerApp.Reserved}callback?code={code}&lang={System.Globalization.CultureInfo.CurrentUICulture.TwoLetterISOLanguageName}");
        }).RequireAuthorization().WithMetadata(new AuditedAttribute("files.enter"));
    }
}
